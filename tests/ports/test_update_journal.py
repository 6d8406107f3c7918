"""One suite for the journal of updates: in memory, and on the disk."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.updates import ApplyUpdate, Component, UpdateCode
from edge_agent.updates.core import KEPT_ENDED
from edge_agent.updates.journal import DAMAGED, Journal, MemoryJournal, SqliteJournal
from edge_agent.updates.messages import Entry


@pytest.fixture(params=[MemoryJournal, SqliteJournal])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    made: Journal = request.param() if request.param is MemoryJournal else request.param(tmp_path / "u.db")
    yield made
    made.close()


def entry(update: str, state: str = "assigned", component: Component = Component.AGENT, **more: int) -> Entry:
    order = ApplyUpdate(update=update, component=component, path=f"{component}/x", version="1.0")
    return Entry(order=order, state=state, **more)


def test_entries_come_back_in_the_order_of_their_assignment(journal: Journal) -> None:
    for update in ("z", "a", "m"):
        journal.save(entry(update))
    journal.save(entry("z", "downloading", revision=2))
    journal.save(entry("f", component=Component.FIRMWARE))
    assert [each.update for each in journal.entries(Component.AGENT)] == ["z", "a", "m"]
    assert journal.entries(Component.AGENT)[0] == entry("z", "downloading", revision=2)
    assert [each.update for each in journal.entries(Component.FIRMWARE)] == ["f"]


def test_only_what_ended_and_was_told_is_forgotten(journal: Journal) -> None:
    journal.save(entry("open"))
    journal.save(entry("untold", "failed", revision=3, told=2))
    for number in range(KEPT_ENDED + 5):
        journal.save(entry(f"told-{number}", "committed", revision=3, told=3))
    kept = [each.update for each in journal.entries(Component.AGENT)]
    assert kept[:2] == ["open", "untold"]
    assert kept[2:] == [f"told-{number}" for number in range(5, KEPT_ENDED + 5)]


def test_what_is_on_the_disk_is_there_after_a_restart(tmp_path: Path) -> None:
    first = SqliteJournal(tmp_path / "u.db")
    first.save(entry("u", "trial", attempt=2))
    first.close()
    second = SqliteJournal(tmp_path / "u.db")
    assert second.entries(Component.AGENT) == [entry("u", "trial", attempt=2)]
    second.close()


@pytest.mark.parametrize(("state", "read"), [("trial", DAMAGED), ("committed", "committed")])
def test_a_row_that_cannot_be_read_is_undone_unless_it_has_ended(
    tmp_path: Path, state: str, read: str
) -> None:
    journal = SqliteJournal(tmp_path / "u.db")
    journal.save(entry("u", state))
    with sqlite3.connect(tmp_path / "u.db") as db:
        db.execute("UPDATE updates SET entry = ?", (b'{"code": "of-a-newer-agent"}',))
    db.close()
    (found,) = journal.entries(Component.AGENT)
    assert (found.update, found.state, found.code) == ("u", read, UpdateCode.NONE)
    journal.close()
