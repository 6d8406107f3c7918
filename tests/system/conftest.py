"""A small city of real processes on real mosquitto with mutual TLS, for the tests of this folder."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
OPEN_S = 120.0
STOP_S = 60.0
LOOK_S = 0.1
SIGN = "The city is open"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder carries the mark `system`."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.system)


@dataclass
class Town:
    """A running city: its folder, its addresses, its terminal."""

    folder: Path
    process: subprocess.Popen[str]
    said: list[str]
    addresses: dict[str, Any]

    def press(self, action: str, device: str = "", person: str = "") -> None:
        """Press a button of the start page."""
        answer = httpx.post(
            f"{self.addresses['start_page']}/en/do",
            data={"action": action, "device": device, "person": person},
        )
        assert answer.status_code == 303, answer.text
        assert "done=" in answer.headers["location"], f"the city refused {action} {device} {person}"

    def log(self, name: str) -> list[dict[str, Any]]:
        """What a program has logged so far."""
        events = []
        for line in (self.folder / "logs" / f"{name}.log").read_text(errors="replace").splitlines():
            try:
                events.append(json.loads(line))
            except ValueError:
                continue
        return events

    def count(self, name: str, event: str) -> int:
        """How often a program has logged an event."""
        return sum(line.get("event") == event for line in self.log(name))

    def cloud(self, *words: str) -> dict[str, Any]:
        """Run a command of the control plane."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "cloud", words[0]),
                *("--settings", str(self.folder / "cloud" / "cloud.toml"), *words[1:]),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    @property
    def one_time_password(self) -> str:
        """The administrator's."""
        told: dict[str, Any] = json.loads((self.folder / "administrator.json").read_text())
        return str(told["text"])

    def stop(self) -> int:
        """Ctrl-C; the city's exit code."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(STOP_S)
        finally:
            self.process.kill()


def wait_until(holds: Callable[[], Any], within_s: float, what: str) -> Any:
    """Wait until `holds()` is true and give what it gave.

    Raises:
        AssertionError: it was not within its time.
    """
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        found = holds()
        if found:
            return found
        time.sleep(LOOK_S)
    raise AssertionError(f"not within {within_s:g} s: {what}")


OpenCity = Callable[..., Town]


@pytest.fixture(scope="module")
def open_city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenCity]:
    """`open_city(kiosks=2, halls=1)`: a city that is open when this returns; closed after the module."""
    assert shutil.which("mosquitto"), "mosquitto is missing: make test installs it as root"
    towns: list[Town] = []

    def start(*, kiosks: int = 2, halls: int = 1, folder: Path | None = None) -> Town:
        folder = folder or tmp_path_factory.mktemp("city")
        words = ["--data", str(folder), "--cache", str(ROOT / "build"), "--broker", "mosquitto"]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "simulators", "city", *words),
                *("--kiosks", str(kiosks), "--halls", str(halls)),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        said: list[str] = []
        opened = threading.Event()

        def listen() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                said.append(line)
                if SIGN in line:
                    opened.set()
            opened.set()

        threading.Thread(target=listen, daemon=True).start()
        town = Town(folder, process, said, {})
        towns.append(town)
        assert opened.wait(OPEN_S), "".join(said)
        assert process.poll() is None, "".join(said)
        town.addresses = json.loads((folder / "addresses.json").read_text())
        return town

    yield start
    for town in towns:
        if town.process.poll() is None:
            town.stop()


@pytest.fixture(scope="module")
def town(open_city: OpenCity) -> Town:
    """The city of this module."""
    return open_city()
