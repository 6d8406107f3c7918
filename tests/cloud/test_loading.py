"""What a program does not need it does not load: each start costs what is loaded, a command as a server."""

import json
import subprocess
import sys

import pytest

LOADING_S = 60
HEAVY = {"babel", "dbos", "fastapi", "influxdb_client", "numpy", "pyhanko", "typst"}
"""Each takes a tenth of a second or more."""


@pytest.mark.parametrize(
    ("program", "without"),
    [
        ("cloud.__main__", HEAVY),
        ("cloud.telemetry.run", HEAVY),
        ("cloud.main", {"influxdb_client", "numpy"}),
    ],
)
def test_what_is_heavy_is_loaded_by_who_needs_it(program: str, without: set[str]) -> None:
    told = f"import json, sys, {program}; print(json.dumps(sorted(sys.modules)))"
    words = [sys.executable, "-c", told]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LOADING_S, check=True)
    assert without & set(json.loads(done.stdout)) == set()
