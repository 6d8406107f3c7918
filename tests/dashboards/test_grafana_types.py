"""The dashboards by the types that Grafana itself publishes for TypeScript (`@grafana/schema`)."""

import copy
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dashboards import generate

FOLDER = Path(__file__).parent.parent.parent / "build" / "grafana-types"
COMPILER = FOLDER / "node_modules" / ".bin" / "tsc"
OPTIONS = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022"]
HEAD = """import type { Dashboard } from '@grafana/schema';
type Plain<T> = T extends string ? (string extends T ? string : `${T}`)
  : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
"""
"""JSON has words where TypeScript has enumerations."""
NOISE = ("auto", "auto_count", "auto_min")
"""Of variables of intervals; the SDK writes them for every kind, and Grafana ignores them."""
BOARDS = sorted(generate.FOLDER.glob("fleet-*.json")) + sorted(generate.FOLDER.glob("kiosk-*.json"))


def errors(boards: list[dict[str, Any]]) -> list[str]:
    """What the compiler finds, a line each; the number of the board is that of the constant."""
    if not COMPILER.exists():
        if shutil.which("npm") is None and not os.environ.get("CI"):
            pytest.skip("npm is missing: install it, then make grafana-types")
        pytest.fail("Grafana's types are not there: make grafana-types")
    parts = [HEAD]
    for at, board in enumerate(boards):
        for variable in board["templating"]["list"]:
            for noise in NOISE:
                variable.pop(noise, None)
        parts.append(f"export const board{at} = {json.dumps(board)} satisfies Plain<Dashboard>;\n")
    source = FOLDER / f"boards-{os.getpid()}.ts"
    source.write_text("".join(parts), encoding="utf-8")
    try:
        words = [str(COMPILER), *OPTIONS, source.name]
        told = subprocess.run(words, cwd=FOLDER, capture_output=True, text=True, timeout=120)
    finally:
        source.unlink()
    found = [line for line in told.stdout.splitlines() if ": error " in line]
    assert bool(found) == bool(told.returncode), told.stdout + told.stderr
    return found


def test_grafanas_types_take_every_dashboard_and_find_planted_faults() -> None:
    boards: list[dict[str, Any]] = [json.loads(path.read_text(encoding="utf-8")) for path in BOARDS]
    assert len(boards) == 4
    faulty = [copy.deepcopy(boards[0]) for _ in range(4)]
    faulty[0]["panels"][1]["gridPos"]["w"] = "wide"
    faulty[1]["graphTooltip"] = 7
    faulty[2]["panels"][1]["fieldConfig"]["defaults"]["thresholds"]["mode"] = "relative"
    faulty[3]["colour"] = "blue"
    found = errors(boards + faulty)
    # Each board is on a line of its own, after the six of the head.
    first = len(HEAD.splitlines()) + 1
    lines = {int(line.split("(")[1].split(",")[0]) - first for line in found}
    assert lines == {4, 5, 6, 7}, found
