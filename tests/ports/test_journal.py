"""The outbox's journal: one suite for the one in memory and the one on the disk."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from contract.link import DroppedRange, Why
from contract.messages import Lane
from edge_agent.errors import SettingsError, UnavailableError
from edge_agent.link.journal import (
    BOOTS_KEPT,
    SCHEMA_VERSION,
    Deletion,
    Journal,
    Kept,
    MemoryJournal,
    Message,
    SqliteJournal,
)

AT = 1_763_900_000_000
Reopen = Callable[[Journal], Journal]


def message(boot: str, lane: Lane, seq: int, *, must: bool = True, body: bytes = b"{}") -> Message:
    return Message(boot, lane, seq, must, AT + seq, f"fleet/topic/{seq}", body)


@pytest.fixture(params=["memory", "sqlite"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def journal(kind: str, tmp_path: Path) -> Journal:
    journal: Journal = MemoryJournal() if kind == "memory" else SqliteJournal(tmp_path / "link.db")
    journal.begin("b1", AT)
    return journal


@pytest.fixture
def reopen(kind: str, tmp_path: Path) -> Reopen:
    """The journal as the next start of the agent finds it."""

    def again(journal: Journal) -> Journal:
        if kind == "memory":
            return journal
        journal.close()
        return SqliteJournal(tmp_path / "link.db")

    return again


def test_what_is_written_is_read_again(journal: Journal, reopen: Reopen) -> None:
    journal.write([message("b1", Lane.EVENTS, 1, body=b'{"a": 1}')], [])
    journal = reopen(journal)
    assert journal.read("b1", Lane.EVENTS, 1) == replace(
        message("b1", Lane.EVENTS, 1, body=b'{"a": 1}'), origin=AT
    )
    assert journal.kept() == [Kept("b1", Lane.EVENTS, 1, True, AT + 1, 8, AT)]
    journal.close()


def test_boots_stand_in_the_order_of_their_beginning(journal: Journal, reopen: Reopen) -> None:
    journal.write([message("b1", Lane.EVENTS, 2), message("b1", Lane.TELEMETRY, 1, must=False)], [])
    journal = reopen(journal)
    journal.begin("a0", AT)
    journal.write([message("a0", Lane.EVENTS, 1), message("b1", Lane.EVENTS, 3)], [])
    assert [(k.boot, k.lane, k.seq) for k in journal.kept()] == [
        ("b1", Lane.EVENTS, 2),
        ("b1", Lane.EVENTS, 3),
        ("b1", Lane.TELEMETRY, 1),
        ("a0", Lane.EVENTS, 1),
    ]
    journal.close()


def test_deletions_take_a_range_of_one_boot_and_lane(journal: Journal) -> None:
    rows = [message("b1", lane, seq) for lane in (Lane.EVENTS, Lane.TELEMETRY) for seq in range(1, 6)]
    journal.write(rows, [])
    journal.write([], [Deletion("b1", Lane.EVENTS, 0, 3), Deletion("b1", Lane.TELEMETRY, 4, 4)])
    left = [(k.lane, k.seq) for k in journal.kept()]
    assert left == [(Lane.EVENTS, 4), (Lane.EVENTS, 5)] + [(Lane.TELEMETRY, n) for n in (1, 2, 3, 5)]
    journal.close()


def test_a_boot_is_dated_later_and_then_its_messages_can_be(journal: Journal, reopen: Reopen) -> None:
    journal.begin("b2", 0)
    journal.write([replace(message("b2", Lane.TELEMETRY, 1), at=1500)], [])
    assert journal.kept()[0].origin is None
    journal.date("b2", AT)
    journal = reopen(journal)
    assert [(k.at, k.origin) for k in journal.kept()] == [(1500, AT)]
    found = journal.read("b2", Lane.TELEMETRY, 1)
    assert found is not None
    assert (found.at, found.origin) == (1500, AT)
    journal.close()


def test_what_is_not_declared_yet_stands_until_it_is_replaced(journal: Journal, reopen: Reopen) -> None:
    ranges = [
        DroppedRange(boot="b1", lane=Lane.TELEMETRY, from_seq=1, to_seq=7, count=7, why=Why.ROWS),
        DroppedRange(boot="b1", lane=Lane.EVENTS, from_seq=0, to_seq=0, count=2, why=Why.DISK),
    ]
    assert journal.pending() == []
    journal.write([], [Deletion("b1", Lane.TELEMETRY, 1, 7)], ranges)
    journal.write([message("b1", Lane.EVENTS, 1)], [])
    journal = reopen(journal)
    assert journal.pending() == ranges
    journal.write([], [], [])
    assert journal.pending() == []
    journal.close()


def test_an_agent_of_before_opens_the_file(tmp_path: Path) -> None:
    """Updates are taken back: what is new stands beside the layout, and its version is the same."""
    SqliteJournal(tmp_path / "link.db").close()
    with sqlite3.connect(tmp_path / "link.db") as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == 1
    db.close()


def test_a_message_may_be_written_and_deleted_in_one_turn(journal: Journal) -> None:
    journal.write([message("b1", Lane.EVENTS, 1)], [Deletion("b1", Lane.EVENTS, 1, 1)])
    assert journal.kept() == []
    journal.close()


def test_giving_room_back_changes_nothing_that_is_kept(journal: Journal, reopen: Reopen) -> None:
    journal.write([message("b1", Lane.EVENTS, seq, body=b"x" * 60_000) for seq in range(1, 101)], [])
    journal.write([], [Deletion("b1", Lane.EVENTS, 0, 90)])
    kept = journal.kept()
    while journal.loose:
        journal.give_back()
        assert journal.kept() == kept
    journal = reopen(journal)
    assert journal.kept() == kept
    assert not journal.loose
    journal.close()


def test_what_is_not_there_is_none(journal: Journal) -> None:
    assert journal.read("b1", Lane.EVENTS, 9) is None
    assert journal.read("never", Lane.EVENTS, 1) is None
    journal.close()


def test_commits_are_synced(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "link.db")
    pragma = {
        name: journal._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
    }
    assert pragma == {"journal_mode": "wal", "synchronous": 2}
    journal.close()


def test_a_full_disk_is_said_and_changes_nothing(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "link.db")
    journal.begin("b1", AT)
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(UnavailableError, match="disk is full"):
        journal.write([message("b1", Lane.EVENTS, n, body=b"x" * 3000) for n in range(1, 9)], [])
    assert journal.kept() == []
    journal._db.execute(f"PRAGMA max_page_count = {pages + 100}")
    journal.write([message("b1", Lane.EVENTS, 1)], [])
    assert len(journal.kept()) == 1
    journal.close()


def test_only_the_last_boots_are_remembered(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "link.db")
    journal.begin("first", AT)
    journal.write([message("first", Lane.EVENTS, 1)], [])
    for number in range(BOOTS_KEPT + 20):
        journal.begin(f"boot-{number}", AT)
    boots = [row[0] for row in journal._db.execute("SELECT boot FROM boots ORDER BY number")]
    assert boots[0] == "first"
    assert len(boots) == BOOTS_KEPT + 1
    journal.close()


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="data_dir must be a folder"):
        SqliteJournal(tmp_path / "file" / "link.db")


def test_a_file_that_is_no_database_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "link.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(SettingsError, match=r"link\.db"):
        SqliteJournal(tmp_path / "link.db")


def test_a_newer_layout_is_left_alone(tmp_path: Path) -> None:
    SqliteJournal(tmp_path / "link.db").close()
    with sqlite3.connect(tmp_path / "link.db") as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(SettingsError, match="run the agent that wrote it"):
        SqliteJournal(tmp_path / "link.db")
