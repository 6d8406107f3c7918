"""The worker as a program: its settings, its niceness, its lock, its end."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Timer

import psutil
import pytest
from sqlalchemy.orm import sessionmaker

from cloud.database.engine import connect
from cloud.errors import SettingsError
from cloud.recordings import runs
from cloud.recordings.cards import card
from cloud.recordings.listening import listen_key, size_of
from cloud.recordings.turns import Reason
from cloud.recordings.whisper import Whisper
from cloud.settings import load
from tests import mortals
from tests.cloud.planes import SETTINGS
from tests.cloud.recordings import mortal
from tests.cloud.recordings.halls import RECORDING, Take, arrive, store, tone

ROOT = Path(__file__).parents[3]
COMMAND_S = 60
EXIT_SETTINGS = 78


def words(command: str, settings: Path) -> list[str]:
    return [sys.executable, "-m", "cloud", command, "--settings", str(settings)]


def run(command: str, settings: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words(command, settings), cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_S
    )


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("city")
    path = folder / "cloud.toml"
    path.write_text(SETTINGS.format(folder=folder / "data"))
    assert run("init", path).returncode == 0
    return path


@pytest.fixture
def worker(settings: Path) -> Iterator[subprocess.Popen[str]]:
    """A worker that has said that it started."""
    started = subprocess.Popen(words("worker", settings), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = Timer(COMMAND_S, started.kill)
    deadline.start()
    assert started.stderr is not None
    events = []
    while line := started.stderr.readline():
        events.append(json.loads(line)["event"])
        if events[-1] == "worker_started":
            break
    assert events[-1:] == ["worker_started"], events
    yield started
    started.kill()
    started.wait()
    started.stderr.close()
    deadline.cancel()


def test_a_worker_is_nice_alone_and_ends_when_asked(settings: Path, worker: subprocess.Popen[str]) -> None:
    assert psutil.Process(worker.pid).nice() >= 10
    second = run("worker", settings)
    assert second.returncode == EXIT_SETTINGS
    assert "executor_id transcription-1 runs already" in second.stderr
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(COMMAND_S) == 0


def test_it_takes_what_the_control_plane_hands_over(settings: Path, worker: subprocess.Popen[str]) -> None:
    """The program as it ships, without a model: there is sound to listen to, and a reason for no draft."""
    data = settings.parent / "data"
    sessions = sessionmaker(connect(f"sqlite:///{data / 'fleet.db'}"))
    with sessions.begin() as database:
        arrive(database, store(data / "objects"), [Take(tone(2000), 16_000, 0)], datetime.now(UTC))
    assert mortals.live(mortal.main, "control", str(data), "-", timeout_s=COMMAND_S).returncode == 0
    assert worker.stderr is not None
    while '"transcription_ended"' not in (line := worker.stderr.readline()):
        assert line, "the worker ended"
    with sessions() as database:
        run_ = runs.newest(database, RECORDING)
    sessions.kw["bind"].dispose()
    assert run_ is not None
    assert (run_.state, run_.reason) == ("refused", Reason.NO_MODEL)
    assert size_of(store(data / "objects"), listen_key(RECORDING)) is not None


def test_wrong_settings_say_what_to_do(settings: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"has no model.bin; run `python -m cloud.recordings.models"):
        Whisper(tmp_path, threads=1)
    with pytest.raises(SettingsError, match=r"cards.toml has whisper-base"):
        card("whisper-huge")
    path = tmp_path / "cloud.toml"
    path.write_text(f'{settings.read_text()}\n[transcription]\nlanguages = ["it"]\n')
    with pytest.raises(SettingsError, match="Invalid enum value 'it'"):
        load(path, {})
