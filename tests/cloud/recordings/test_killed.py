"""Control plane and worker are killed at any step: one transcript, one version, no word twice, none lost."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.models.recordings import Recording, Transcript, TranscriptPiece
from cloud.database.models.transcription import TranscriptionRun
from tests import mortals
from tests.cloud.recordings import mortal
from tests.cloud.recordings.halls import RECORDING, Take, arrive, floor, store, tone
from tests.cloud.recordings.mortal import MORE_POINTS, POINTS
from tests.cloud.waiting import until

PROCESS_S = 90
SECONDS = 12
STRETCHES_MIN = 3

Draft = list[tuple[int, int, str | None, str]]


@pytest.fixture(scope="module")
def uploaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one uploaded recording."""
    folder = tmp_path_factory.mktemp("uploaded")
    engine = connect(f"sqlite:///{folder / 'fleet.db'}")
    complete().create_all(engine)
    at = datetime.now(UTC)
    half = SECONDS // 2 * 1000
    takes = [Take(tone(half), 16_000, 0), Take(tone(half), 16_000, half)]
    with Session(engine) as database, database.begin():
        arrive(database, store(folder / "objects"), takes, at)
        floor(database, [("A1", 0, half), ("B2", half, 2 * half)], at)
    engine.dispose()
    return folder


@pytest.fixture(scope="module")
def queued(tmp_path_factory: pytest.TempPathFactory, uploaded: Path) -> Path:
    """The same, when the control plane has handed it to the workers."""
    folder = tmp_path_factory.mktemp("queued") / "city"
    shutil.copytree(uploaded, folder)
    assert live("control", str(folder), "-").returncode == 0
    return folder


@pytest.fixture
def folder(tmp_path: Path, queued: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(queued, tmp_path / "city"))


def live(*arguments: str) -> subprocess.CompletedProcess[str]:
    return mortals.live(mortal.main, *arguments, timeout_s=PROCESS_S)


def one_draft(folder: Path) -> Draft:
    engine = connect(f"sqlite:///{folder / 'fleet.db'}")
    with Session(engine) as database:
        (transcript,) = database.scalars(sa.select(Transcript))
        recording = database.get(Recording, RECORDING)
        (run,) = database.scalars(sa.select(TranscriptionRun))
        lines = list(database.scalars(sa.select(TranscriptPiece).order_by(TranscriptPiece.number)))
    engine.dispose()
    assert recording is not None
    assert (transcript.version, recording.state, run.state) == (1, "drafted", "done")
    return [(line.start_ms, line.end_ms, line.seat, line.text) for line in lines]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, queued: Path) -> Draft:
    """What a run writes that nobody kills."""
    folder = Path(shutil.copytree(queued, tmp_path_factory.mktemp("undisturbed") / "city"))
    assert live("worker", str(folder), "-", "w-1").returncode == 0
    lines = one_draft(folder)
    assert len(lines) >= STRETCHES_MIN
    assert {line[2] for line in lines if line[1] <= SECONDS * 500} == {"A1"}
    assert {line[2] for line in lines if line[0] >= SECONDS * 500} == {"B2"}
    return lines


def long(*points: str) -> list[Any]:
    """Points that only the long form has."""
    return [pytest.param(point, marks=pytest.mark.long) for point in points]


@pytest.mark.parametrize("point", [*POINTS, *long(*MORE_POINTS)])
def test_a_worker_that_is_killed_goes_on(point: str, folder: Path, undisturbed: Draft) -> None:
    first = live("worker", str(folder), point, "w-1")
    assert first.returncode == -signal.SIGKILL, f"{point} was never reached: {first.stderr[-2000:]}"
    second = live("worker", str(folder), "-", "w-1")
    assert second.returncode == 0, second.stderr[-2000:]
    assert one_draft(folder) == undisturbed


@pytest.mark.parametrize("point", ["enqueue after 1", *long("enqueue before 1", "end before 1")])
def test_a_control_plane_that_is_killed_hands_over_once(
    point: str, tmp_path: Path, uploaded: Path, undisturbed: Draft
) -> None:
    folder = Path(shutil.copytree(uploaded, tmp_path / "city"))
    first = live("control", str(folder), point)
    assert first.returncode == -signal.SIGKILL, f"{point} was never reached: {first.stderr[-2000:]}"
    assert live("control", str(folder), "-").returncode == 0
    last = live("worker", str(folder), "-", "w-1")
    assert last.returncode == 0, last.stderr[-2000:]
    assert one_draft(folder) == undisturbed


@contextmanager
def stalled(folder: Path) -> Iterator[mortals.Life]:
    """A worker that has stopped in the middle of its second stretch."""
    with mortals.living(mortal.main, "worker", str(folder), "hear stalls 2", "w-1") as worker:
        until(lambda: worker.said() == "stalled\n" or None, PROCESS_S)
        yield worker


def test_a_control_plane_that_starts_again_meanwhile_takes_nothing(folder: Path, undisturbed: Draft) -> None:
    """Killed and started anew while a worker is at a stretch: the run stays the worker's."""
    with stalled(folder):
        assert live("control", str(folder), "end before 1").returncode == -signal.SIGKILL
        assert live("control", str(folder), "-").returncode == 0
    assert live("worker", str(folder), "-", "w-1").returncode == 0
    assert one_draft(folder) == undisturbed


def test_another_worker_takes_over_and_the_stalled_one_disturbs_nobody(
    folder: Path, undisturbed: Draft
) -> None:
    """A lease runs out while its worker hangs; another writes the draft, and the late one finds it done."""
    with stalled(folder) as late:
        other = live("worker", str(folder), "-", "w-2")
        assert other.returncode == 0, other.stderr[-2000:]
        assert one_draft(folder) == undisturbed
        (folder / "go").touch()
        assert late.wait(PROCESS_S).returncode == 0
    assert one_draft(folder) == undisturbed
