"""The journal of executions: one suite for the one in memory and the one on the disk."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from contract.jobs import Execution, Status
from edge_agent.errors import UnavailableError
from edge_agent.jobs.core import SETTLED_KEPT, Entry
from edge_agent.jobs.journal import Journal, MemoryJournal, SqliteJournal
from edge_agent.ports import Outcome

DONE = Outcome(Status.FAILED, {"reason": "no paper"})


def execution(job: str, number: int = 1) -> Execution:
    return Execution(
        job_id=job,
        thing_name="kiosk-001",
        status=Status.IN_PROGRESS,
        version_number=2,
        execution_number=number,
        queued_at=1,
        last_updated_at=1,
        job_document={"operation": "print-document", "size": 7},
    )


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    return MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "jobs.db")


@pytest.fixture
def reopen(tmp_path: Path) -> Callable[[Journal], Journal]:
    """The journal as the next start of the agent finds it."""

    def again(journal: Journal) -> Journal:
        if isinstance(journal, MemoryJournal):
            return journal
        journal.close()
        return SqliteJournal(tmp_path / "jobs.db")

    return again


def test_an_execution_is_followed_through_its_life(
    journal: Journal, reopen: Callable[[Journal], Journal]
) -> None:
    journal.begin(execution("a"))
    journal = reopen(journal)
    assert journal.entries() == [Entry(execution("a"), 1, None, settled=False)]
    journal.attempt(("a", 1), 2)
    journal.conclude(("a", 1), DONE)
    journal = reopen(journal)
    assert journal.entries() == [Entry(execution("a"), 2, DONE, settled=False)]
    journal.settle(("a", 1))
    journal = reopen(journal)
    assert journal.entries() == [Entry(execution("a"), 2, DONE, settled=True)]
    journal.close()


def test_an_outcome_after_a_lost_one_is_told_again(
    journal: Journal, reopen: Callable[[Journal], Journal]
) -> None:
    journal.begin(execution("a"))
    journal.settle(("a", 1))  # the disk was full when its outcome was to be written
    journal = reopen(journal)
    journal.conclude(("a", 1), DONE)
    assert journal.entries() == [Entry(execution("a"), 1, DONE, settled=False)]
    journal.close()


def test_entries_stand_in_the_order_of_their_beginning(journal: Journal) -> None:
    for job, number in (("b", 1), ("a", 1), ("b", 2)):
        journal.begin(execution(job, number))
    assert [entry.key for entry in journal.entries()] == [("b", 1), ("a", 1), ("b", 2)]
    journal.close()


def test_only_the_last_settled_ones_are_remembered_and_every_open_one(journal: Journal) -> None:
    journal.begin(execution("open"))
    for number in range(SETTLED_KEPT + 5):
        journal.begin(execution(f"job-{number}"))
        journal.conclude((f"job-{number}", 1), DONE)
        journal.settle((f"job-{number}", 1))
    kept = [entry.key[0] for entry in journal.entries()]
    assert kept[:2] == ["open", "job-5"]
    assert len(kept) == SETTLED_KEPT + 1
    journal.close()


def test_what_was_never_begun_cannot_end(journal: Journal) -> None:
    journal.conclude(("a", 1), DONE)
    journal.settle(("a", 1))
    assert journal.entries() == []
    journal.close()


def test_a_full_disk_is_said_and_changes_nothing(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "jobs.db")
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    large = msgspec.structs.replace(execution("large"), status_details={"why": "x" * 50_000})
    with pytest.raises(UnavailableError, match="disk is full"):
        journal.begin(large)
    assert journal.entries() == []
    journal.close()
