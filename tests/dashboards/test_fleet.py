"""The committed dashboard is the typed panels', and Grafana will find in it what it needs."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import units

from contract.telemetry import METRICS
from dashboards.__main__ import FILE
from dashboards.grafana import GRID_WIDTH, fleet, text
from dashboards.panels import ROWS, Aggregation, Panel, Row

BOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
UNITS = {value for name, value in vars(units).items() if name[0].isupper() and isinstance(value, str)}


def faults(board: dict[str, Any]) -> list[str]:
    """What is wrong with a dashboard: places, ids, words, units, sources."""
    found = []
    ids = [panel.get("id") for panel in board["panels"]]
    if None in ids or len(set(ids)) != len(ids):
        found.append("ids are missing or used twice")
    cells: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        title, place = panel.get("title"), panel["gridPos"]
        if place["x"] < 0 or place["x"] + place["w"] > GRID_WIDTH:
            found.append(f"{title} runs over the edge")
        across, down = (range(place[at], place[at] + place[size]) for at, size in (("x", "w"), ("y", "h")))
        for cell in itertools.product(across, down):
            if cells.setdefault(cell, title) != title:
                found.append(f"{title} lies on {cells[cell]}")
                break
        if panel["type"] == "row":
            continue
        if len(panel.get("description", "")) < 60:
            found.append(f"{title} does not say what to do")
        if panel["fieldConfig"]["defaults"].get("unit") not in UNITS:
            found.append(f"{title} has no unit that Grafana knows")
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        values = [step["value"] for step in steps]
        if values[0] is not None or values[1:] != sorted(values[1:]) or len(values) < 2:
            found.append(f"{title} has no rising thresholds")
        if any(ask["datasource"]["uid"] != "${metrics}" or not ask["expr"] for ask in panel["targets"]):
            found.append(f"{title} asks no source or nothing")
    return found


def test_what_is_committed_is_what_the_panels_say() -> None:
    assert FILE.read_text(encoding="utf-8") == text(fleet()), "run python -m dashboards and commit fleet.json"


def test_the_command_writes_it(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "dashboards", "--out", str(tmp_path / "board.json")]
    told = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout == "board.json written\n"
    assert (tmp_path / "board.json").read_bytes() == FILE.read_bytes()


def test_the_layout_has_no_faults() -> None:
    assert faults(BOARD) == []
    assert len({panel["title"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_the_layout_wraps_before_the_edge() -> None:
    crowded = Row("All", tuple(panel for row in ROWS for panel in row.panels))
    assert faults(json.loads(text(fleet((crowded, *ROWS))))) == []


@pytest.mark.parametrize(
    ("at", "key", "value", "fault"),
    [
        (1, "id", None, "ids are missing"),
        (1, "id", 3, "ids are missing or used twice"),
        (1, "gridPos", {"x": 22, "y": 1, "w": 4, "h": 1}, "runs over the edge"),
        (1, "gridPos", {"x": 4, "y": 1, "w": 4, "h": 4}, "lies on"),
        (1, "description", "", "does not say what to do"),
        (1, "fieldConfig", {"defaults": {"thresholds": {"steps": [{"value": 1}]}}}, "has no unit"),
    ],
)
def test_the_lint_finds_planted_faults(at: int, key: str, value: object, fault: str) -> None:
    board = json.loads(FILE.read_text(encoding="utf-8"))
    board["panels"][at][key] = value
    assert any(fault in found for found in faults(board)), faults(board)


def test_every_metric_of_the_contract_is_seen() -> None:
    shown = {panel.metric for row in ROWS for panel in row.panels}
    assert shown == {metric.name for metric in METRICS}


def test_a_panel_with_an_unknown_metric_cannot_be_written() -> None:
    with pytest.raises(AssertionError, match="no metric of the contract"):
        Panel(
            title="Coffee",
            metric="coffee_pct",
            unit="percent",
            aggregation=Aggregation.LOWEST,
            description="",
            thresholds=(),
        )


def test_grafanas_own_types_read_it_without_loss() -> None:
    register_default_plugins()
    again = model.Dashboard.from_json(json.loads(FILE.read_text(encoding="utf-8")))
    assert again.uid == "fleet"
    assert again.panels is not None
    assert [panel.id_val for panel in again.panels] == list(range(1, len(BOARD["panels"]) + 1))
