"""The launcher as a process: it counts before it starts, ends what hangs, and always starts something."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from edge_agent.updates import release
from edge_agent.updates.slots import Slots, State, Trial
from tests.edge_agent.updates.bundles import agent_wheel, bundle, lock

VERSION = "2.0.0"
DEADLINE_S = 60
SAY = """
import json, os, sys, pathlib, edge_agent
print(json.dumps({"file": edge_agent.__file__, "slot": os.environ["EDGE_AGENT_SLOT"],
                  "base": os.environ["EDGE_AGENT_BASE"], "words": sys.argv[1:], "pid": os.getpid()}))
"""
HANG = "import time\ntime.sleep(600)\n"
COMMIT = """
import os, pathlib, time
state = pathlib.Path(os.environ["STATE"])
state.write_text('{"running": "a"}')
time.sleep(2.5)
"""


class Place:
    """A device's folder with one release in slot a, on trial."""

    def __init__(self, folder: Path, main: str) -> None:
        self.slots = Slots(folder / "data" / "slots")
        image = bundle(folder / "r.zip", VERSION, [agent_wheel(folder / "w", VERSION, textwrap.dedent(main))])
        self.slots.folder.mkdir(parents=True)
        release.install(image, self.slots.path("a"), version=VERSION, kind="kiosk", lock=lock("kiosk"))
        self.slots.save(State(trial=Trial(slot="a", version=VERSION)))
        self.settings = folder / "agent.toml"
        self.settings.write_text(
            f'data_dir = "{folder / "data"}"\nnew_key = 1\n[updates]\ntrial_silence_s = 1.5\nother = 2\n'
        )

    def launch(self, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "edge_agent.updates.launcher", "--settings", str(self.settings)],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
            env={**os.environ, "STATE": str(self.slots.folder / "state.json"), **more},
        )


def test_the_agent_of_the_slot_takes_the_launchers_place(tmp_path: Path) -> None:
    place = Place(tmp_path, SAY)
    done = place.launch()
    told = json.loads(done.stdout)
    assert told["file"] == str(place.slots.site("a") / "edge_agent" / "__init__.py")
    assert (told["slot"], told["words"]) == ("a", ["--settings", str(place.settings)])
    assert (Path(told["base"]) / "edge_agent" / "updates" / "launcher.py").is_file()
    state = place.slots.load()
    assert state.trial is not None
    assert state.trial.starts == 1


def test_an_agent_that_does_not_start_is_given_up_and_the_base_is_started(tmp_path: Path) -> None:
    place = Place(tmp_path, "raise SystemExit(3)")
    assert [place.launch().returncode for _ in range(3)] == [3, 3, 3]
    last = place.launch()
    assert last.returncode == os.EX_CONFIG  # the base's own agent, which does not know these settings
    assert "unknown field" in last.stderr
    state = place.slots.load()
    assert state.trial is None
    assert state.undone is not None
    assert state.undone.version == VERSION
    assert '"trial_given_up"' in last.stderr


def test_an_agent_that_hangs_is_ended_by_the_guard(tmp_path: Path) -> None:
    place = Place(tmp_path, HANG)
    done = place.launch()
    assert done.returncode == -signal.SIGKILL
    assert '"trial_hangs"' in done.stderr


def test_the_guard_goes_when_the_trial_is_over(tmp_path: Path) -> None:
    """Longer than the silence that it allows: were it still there, the agent would be killed."""
    place = Place(tmp_path, COMMIT)
    assert place.launch().returncode == 0
    assert not [
        each
        for each in psutil.process_iter(["cmdline"])
        if str(place.settings) in " ".join(each.info["cmdline"] or [])
    ]


@pytest.mark.parametrize("damage", [b"", b'{"running": "z"}', b'{"v": 9}'])
def test_with_a_damaged_state_the_base_is_started(tmp_path: Path, damage: bytes) -> None:
    place = Place(tmp_path, SAY)
    (place.slots.folder / "state.json").write_bytes(damage)
    done = place.launch()
    assert done.returncode == os.EX_CONFIG
    assert '"slots_damaged"' in done.stderr
    assert place.slots.load() == State()


def test_an_empty_slot_is_not_started(tmp_path: Path) -> None:
    place = Place(tmp_path, SAY)
    (place.slots.site("a") / "edge_agent" / "__main__.py").unlink()
    assert place.launch().returncode == os.EX_CONFIG
    state = place.slots.load()
    assert state.undone is not None
    assert "empty" in state.undone.sentence


def test_settings_that_cannot_be_read_are_one_sentence(tmp_path: Path) -> None:
    place = Place(tmp_path, SAY)
    place.settings.write_text("[updates]\n")
    done = place.launch()
    assert done.returncode == os.EX_CONFIG
    assert "data_dir" in done.stderr
    assert len(done.stderr.splitlines()) == 1
