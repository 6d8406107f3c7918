"""The journal's file: it becomes small again, step by step, and a cut anywhere loses nothing."""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from contract.messages import Lane
from edge_agent.errors import UnavailableError
from edge_agent.jobs.journal import SqliteJournal as JobJournal
from edge_agent.link import compaction, journal
from edge_agent.link.journal import Deletion, MemoryJournal, Message, SqliteJournal
from edge_agent.link.keeping import GIVE_BACK_AGAIN_S, Keeper
from edge_agent.link.outbox import Bounds, Outbox
from edge_agent.link.reserve import NoReserve
from tests.edge_agent.link.test_run import BATCH, DEADLINE_S, FakeTransport, make, running

AT = 1_763_900_000_000
MANY, LARGE = 4000, 3000
"""Messages, and the bytes of each: a queue of 12 MB."""
ACKNOWLEDGED_AT_ONCE = 20
SMALL = compaction.FREE_BYTES_KEPT + 2 * compaction.STEP_BYTES
"""A file in which next to nothing is left is no longer than this."""
LOG_MAX = 5 * 2**20
"""A thousand pages, and a transaction."""
EVERY_INSTRUCTIONS, EVERY_FEW_INSTRUCTIONS = 100, 20
"""Of SQLite's machine, between two cuts within a statement."""


def message(seq: int, size: int = LARGE) -> Message:
    return Message(
        "b1", Lane.EVENTS, seq, True, AT + seq, "fleet/v1/kiosk-001/t", b"%08d" % seq * (size // 8)
    )


def keep(kept: SqliteJournal, last: int) -> None:
    """Messages 1 to `last`, in turns."""
    for first in range(1, last + 1, 50):
        kept.write([message(seq) for seq in range(first, min(first + 50, last + 1))], [])


def acknowledge(kept: SqliteJournal, first: int, last: int) -> None:
    """Forget all from `first` to `last` as answers come in, with what the link does after each."""
    for upto in range(first + ACKNOWLEDGED_AT_ONCE - 1, last + 1, ACKNOWLEDGED_AT_ONCE):
        kept.write([], [Deletion("b1", Lane.EVENTS, 0, min(upto, last))])
        while kept.loose and kept.give_back():
            pass
    kept.write([], [Deletion("b1", Lane.EVENTS, 0, last)])


def sizes(path: Path) -> tuple[int, int]:
    """Bytes of the file and of its log."""
    log = path.with_name(f"{path.name}-wal")
    return path.stat().st_size, log.stat().st_size if log.exists() else 0


def pragma(path: Path, name: str) -> object:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f"PRAGMA {name}").fetchone()[0]


def write_as_before(path: Path, last: int) -> None:
    """The file of an agent that knew nothing of giving back, which was killed with `last` messages in it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(f"BEGIN; {journal._SCHEMA} PRAGMA user_version = {journal.SCHEMA_VERSION}; COMMIT;")
        db.execute("INSERT INTO boots (boot, at) VALUES ('b1', ?)", (AT,))
        db.execute("BEGIN")
        rows = [(1, m.lane, m.seq, m.must, m.at, m.topic, m.body) for m in map(message, range(1, last + 1))]
        db.executemany("INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        db.execute("COMMIT")
    assert pragma(path, "auto_vacuum") == 0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "link.db"


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few hundred kilobytes show what megabytes do."""
    monkeypatch.setattr(compaction, "FREE_BYTES_KEPT", 64 * 2**10)
    monkeypatch.setattr(compaction, "STEP_BYTES", 64 * 2**10)


def test_a_queue_of_many_megabytes_leaves_a_small_file_once_it_is_acknowledged(path: Path) -> None:
    kept = SqliteJournal(path)
    kept.begin("b1", AT)
    keep(kept, MANY)
    whole, _ = sizes(path)
    assert whole > 10 * 2**20
    acknowledge(kept, 1, MANY // 2)
    assert sizes(path)[0] < whole / 2 + SMALL, "what is left does not hold back what is free"
    assert [row.seq for row in kept.kept()] == list(range(MANY // 2 + 1, MANY + 1))
    acknowledge(kept, MANY // 2 + 1, MANY)
    file, log = sizes(path)
    assert file < SMALL
    assert log < LOG_MAX
    kept.close()
    assert sizes(path) == (file, 0)


def test_a_step_is_bounded_in_the_file_and_in_the_log(path: Path) -> None:
    kept = SqliteJournal(path)
    kept.begin("b1", AT)
    keep(kept, MANY)
    kept.write([], [Deletion("b1", Lane.EVENTS, 0, MANY // 2)])
    steps = 0
    while kept.loose:
        kept._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        before = sizes(path)
        kept.give_back()
        file, log = sizes(path)
        assert before[0] - file <= compaction.STEP_BYTES
        assert log < 1.1 * compaction.STEP_BYTES
        steps += 1
    assert steps > 5
    kept.close()


def test_a_log_that_one_large_turn_has_made_long_is_cut(path: Path) -> None:
    kept = SqliteJournal(path)
    kept.begin("b1", AT)
    kept.write([message(seq, 90_000) for seq in range(1, 101)], [])
    assert sizes(path)[1] > 1.5 * compaction.LOG_BYTES_KEPT
    kept.write([message(101)], [])
    assert sizes(path)[1] <= compaction.LOG_BYTES_KEPT
    kept.close()


def test_a_queue_that_comes_and_goes_moves_nothing(path: Path) -> None:
    kept = SqliteJournal(path)
    kept.begin("b1", AT)
    for first in range(1, 2001, 100):
        kept.write([message(seq) for seq in range(first, first + 100)], [])
        kept.write([], [Deletion("b1", Lane.EVENTS, 0, first + 99)])
        assert not kept.loose
    kept.close()


class Cuts:
    """Copies of a database's files, as a kill at that moment would leave them, and what must be in each."""

    def __init__(self, kept: SqliteJournal, path: Path, folder: Path, every: int) -> None:
        self._path = path
        self._folder = folder
        self.kept_from = 0
        self.taken: list[tuple[Path, int]] = []
        kept._db.set_trace_callback(lambda _: self.take())
        kept._db.set_progress_handler(self.take, every)

    def take(self) -> None:
        copy = self._folder / f"{len(self.taken)}" / self._path.name
        copy.parent.mkdir(parents=True)
        for name in (self._path.name, f"{self._path.name}-wal"):
            if self._path.with_name(name).exists():
                shutil.copy(self._path.with_name(name), copy.with_name(name))
        self.taken.append((copy, self.kept_from))

    def check(self, last: int) -> None:
        """Each one opens and has all that was not acknowledged; the file is whole."""
        for copy, kept_from in self.taken:
            again = SqliteJournal(copy)
            found = [row.seq for row in again.kept()]
            assert found == list(range(found[0], last + 1)) if found else kept_from > last, copy
            assert not found or found[0] <= kept_from, f"{copy}: lost from {kept_from} to {found[0]}"
            for seq in found[:: len(found) // 5 + 1]:
                row = again.read("b1", Lane.EVENTS, seq)
                assert row is not None
                assert row.body == message(seq).body
            again.close()
            assert pragma(copy, "integrity_check") == "ok"
            shutil.rmtree(copy.parent)


@pytest.mark.usefixtures("small_steps")
def test_a_cut_at_any_statement_and_within_leaves_all_that_was_not_acknowledged(
    path: Path, tmp_path: Path
) -> None:
    last = 200
    kept = SqliteJournal(path)
    kept.begin("b1", AT)
    keep(kept, last)
    cuts = Cuts(kept, path, tmp_path / "cuts", EVERY_INSTRUCTIONS)
    for upto in (60, 120, 180):
        cuts.kept_from = upto + 1  # from its commit on; before it there is more
        kept.write([], [Deletion("b1", Lane.EVENTS, 0, upto)])
        while kept.loose:
            kept.give_back()
    kept._db.set_trace_callback(None)
    kept._db.set_progress_handler(None, 0)
    kept.close()
    assert len(cuts.taken) > 100
    cuts.check(last)


@pytest.mark.usefixtures("small_steps")
def test_a_cut_while_a_file_from_before_is_written_anew_loses_nothing(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = 60
    write_as_before(path, last)
    with monkeypatch.context() as before:
        before.setattr(compaction, "REWRITE_BYTES_MAX", 0)
        kept = SqliteJournal(path)
    assert pragma(path, "auto_vacuum") == 0
    cuts = Cuts(kept, path, tmp_path / "cuts", EVERY_FEW_INSTRUCTIONS)
    cuts.kept_from = 1
    compaction.begin(kept._db, path)
    kept.close()
    assert pragma(path, "auto_vacuum") == 2
    assert len(cuts.taken) > 20
    cuts.check(last)


def test_a_journal_from_before_is_converted_at_a_start(path: Path) -> None:
    write_as_before(path, MANY)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM outbox WHERE seq <= ?", (MANY - 10,))
        db.commit()
    assert sizes(path)[0] > 10 * 2**20
    kept = SqliteJournal(path)
    assert pragma(path, "auto_vacuum") == 2
    assert sizes(path)[0] < 2**20
    assert [row.seq for row in kept.kept()] == list(range(MANY - 9, MANY + 1))
    kept.begin("b2", AT)
    kept.close()


def test_one_with_much_in_it_goes_on_as_it_is_and_is_converted_once_it_is_sent(path: Path) -> None:
    write_as_before(path, MANY)
    kept = SqliteJournal(path)
    assert pragma(path, "auto_vacuum") == 0
    assert len(kept.kept()) == MANY
    acknowledge(kept, 1, MANY)
    assert pragma(path, "auto_vacuum") == 2
    assert sum(sizes(path)) < SMALL + LOG_MAX
    kept.close()


def test_one_without_room_for_its_copy_goes_on_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_as_before(path, 100)
    disk = shutil.disk_usage(path.parent)
    monkeypatch.setattr(compaction.shutil, "disk_usage", lambda _: disk._replace(free=2**18))
    kept = SqliteJournal(path)
    assert len(kept.kept()) == 100
    kept.close()
    assert pragma(path, "auto_vacuum") == 0
    monkeypatch.undo()
    SqliteJournal(path).close()
    assert pragma(path, "auto_vacuum") == 2


def test_somebody_who_reads_the_file_holds_nothing_up(path: Path) -> None:
    kept = SqliteJournal(path)
    kept.begin("b1", AT)
    keep(kept, MANY // 4)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM outbox").fetchone() == (MANY // 4,)
        acknowledge(kept, 1, MANY // 4)
        assert other.execute("SELECT count(*) FROM outbox").fetchone() == (MANY // 4,)
        assert sizes(path)[0] > SMALL, "nothing is taken from under who reads it"
        other.execute("COMMIT")
    keep(kept, 1)
    acknowledge(kept, 1, 1)
    while kept.loose:
        kept.give_back()
    assert sizes(path)[0] < SMALL
    kept.close()


def test_a_file_is_made_so_that_it_can_give_back_and_a_start_writes_nothing_for_that(path: Path) -> None:
    heard: list[str] = []
    for _ in range(2):
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.set_trace_callback(heard.append)
            compaction.allow(db)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("CREATE TABLE IF NOT EXISTS one (number INTEGER)")
            compaction.begin(db, path)
    assert pragma(path, "auto_vacuum") == 2
    assert "VACUUM" not in heard
    assert heard.count("PRAGMA auto_vacuum = INCREMENTAL") == 1


def test_the_journal_of_jobs_is_converted_in_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE executions (number INTEGER PRIMARY KEY AUTOINCREMENT, handed BLOB)")
        db.executemany("INSERT INTO executions (handed) VALUES (?)", [(b"x" * 60_000,)] * 100)
        db.execute("DELETE FROM executions")
        db.execute("PRAGMA user_version = 1")
        db.commit()
    assert sizes(path)[0] > 5 * 2**20
    JobJournal(path).close()
    assert sizes(path)[0] < 2**16


class Loose(MemoryJournal):
    """A journal with `steps` to give back, on a disk that is too full for it while it is `full`."""

    def __init__(self, steps: int, done: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.steps = steps
        self.full = False
        self.tries = 0
        self._done = done

    @property
    def loose(self) -> bool:  # type: ignore[override]
        return self.steps > 0

    def give_back(self) -> bool:
        self.tries += 1
        if self.full:
            raise UnavailableError("link.db: the disk is full; free some space")
        self.steps -= 1
        if not self.loose:
            self._done()
        return self.loose


async def test_all_steps_are_done_although_nothing_happens() -> None:
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    kept = Loose(5, lambda: loop.call_soon_threadsafe(done.set) and None)
    async with running(make(kept, FakeTransport())) as link:
        await link.send("telemetry", {}, BATCH, lane=Lane.EVENTS, must=True)
        async with asyncio.timeout(DEADLINE_S):
            await done.wait()
    assert kept.tries == 5


async def test_one_that_finds_no_room_is_tried_again_later_or_with_the_reserve() -> None:
    kept = Loose(2)
    kept.full = True
    bounds = Bounds(100, 100_000, 20, 20.0)
    keeper = Keeper(kept, NoReserve(), Outbox("b1", [], bounds))
    assert not await keeper.give_back(0.0)
    assert not await keeper.give_back(GIVE_BACK_AGAIN_S - 1)
    assert kept.tries == 1
    assert not await keeper.give_back(GIVE_BACK_AGAIN_S)
    assert kept.tries == 2
    await keeper.make_reserve()
    kept.full = False
    assert await keeper.give_back(GIVE_BACK_AGAIN_S + 1)
    assert not await keeper.give_back(GIVE_BACK_AGAIN_S + 1)
    assert kept.steps == 0
