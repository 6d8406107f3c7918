"""The command line: what it refuses, and that a city that cannot start says so and leaves nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulators.__main__ import main
from simulators.city.folder import Folder


@pytest.mark.parametrize("words", [[], ["village"], ["city", "--once"], ["city", "--report", "x"]])
def test_wrong_words_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 64
    assert capsys.readouterr().err


def test_a_folder_is_for_one_city(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Folder(tmp_path):
        assert main(["city", "--data", str(tmp_path)]) == 1
    assert "another city runs" in capsys.readouterr().err


def test_a_city_that_cannot_start_says_what_failed(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = ["--data", str(tmp_path / "city"), "--cache", str(tmp_path), "--kiosks", "1", "--halls", "0"]
    done = subprocess.run(  # a process of its own: a city ends everything that its process has started
        [sys.executable, "-m", "simulators", "city", *words, "--once", "--report", str(report)],
        env={**os.environ, "FLEET_NO_SUCH_KEY": "1"},  # every program of ours refuses it
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    told = json.loads(report.read_text())
    assert told["ok"] is False
    assert told["processes_left"] == 0
    assert "no_such_key" in told["steps"][0]["detail"]
    assert "NOT every step held" in done.stdout
