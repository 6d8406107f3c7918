"""The ledger says of every message what became of it, in both databases and after restarts."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud import arrivals
from cloud.broker import Received
from cloud.database.models.devices import Device
from cloud.database.models.link import DeclaredRange, WatermarkRow
from cloud.link import declared, one_device
from cloud.link.books import Books
from cloud.link.core import Numbers
from cloud.refusals import Reason, refusal
from cloud.telemetry.core import Member, Sorted, sort_out
from cloud.telemetry.ledger import Ledger
from cloud.watermark import Key, Watermark, note, tally
from contract.errors import MalformedError
from contract.link import Dropped, DroppedRange, Why
from contract.messages import Envelope, Lane, encode, open_envelope, seal
from contract.telemetry import Sample, TelemetryBatch
from tests.cloud.conftest import Clock
from tests.cloud.link.conftest import Register

BOOT = "boot-1"
AT = 1_790_000_000_000
MEMBERS = {name: Member("Prishtina", "kiosk") for name in ("kiosk-01", "kiosk-02", "kiosk-03")}


def come(
    session: Session,
    device: str,
    seq: int,
    now: datetime,
    *,
    kept_from: int = 0,
    refused: bool = False,
    boot: str = BOOT,
) -> None:
    """A message of the events lane has come, as `cloud.broker` stores it."""
    key = Key(device, boot, Lane.EVENTS.value)
    before = arrivals.load(session, key)
    after, verdict = note(before or Watermark(), seq, kept_from=kept_from)
    counted = tally(before or Watermark(), after, verdict, seq, kept_from=kept_from, refused=refused)
    arrivals.save(session, {key: after}, {key: counted}, now)
    session.flush()
    if before is None:
        arrivals.forget_old_boots(session, device, Lane.EVENTS.value)


def sample(seq: int, *, boot: str = BOOT, kept_from: int = 0, sent: int = AT, body: bytes = b"") -> bytes:
    """A message of the telemetry lane."""
    told = body or encode(TelemetryBatch(samples=[Sample(at=AT, values={"cpu_pct": 1.0})]))
    return seal(
        told,
        boot=boot,
        lane=Lane.TELEMETRY,
        seq=seq,
        at=AT,
        sent=sent,
        historical=False,
        kept_from=kept_from,
    )


def measure(ledger: Ledger, now: datetime, *messages: tuple[str, bytes]) -> Sorted:
    """Messages of the telemetry lane have come, as the ingest stores them."""
    outcome = sort_out(messages, MEMBERS, ledger.standing, int(now.timestamp() * 1000))
    ledger.record(outcome, now)
    return outcome


def declare(session: Session, device: str, now: datetime, *ranges: DroppedRange) -> None:
    """A declaration has come."""
    payload = seal(
        encode(Dropped(ranges=list(ranges))),
        boot=BOOT,
        lane=Lane.EVENTS,
        seq=1,
        at=AT,
        sent=AT,
        historical=False,
    )
    envelope: Envelope = open_envelope(payload)
    declared.take(Received(device, {"device": device}, payload, envelope, now, session))


def dropped(first: int, last: int, *, boot: str = BOOT, why: Why = Why.ROWS, count: int = 0) -> DroppedRange:
    """All messages of the telemetry lane from `first` to `last`, or `count` of them."""
    return DroppedRange(
        boot=boot,
        lane=Lane.TELEMETRY,
        from_seq=first,
        to_seq=last,
        count=count or last - first + 1,
        why=why,
    )


def test_both_lanes_are_put_together_and_nothing_is_counted_twice(
    books: Books, telemetry: Ledger, sessions: sessionmaker[Session], register: Register, clock: Clock
) -> None:
    register("kiosk-01", "kiosk-02")
    with sessions.begin() as session:
        for seq in (1, 2, 2, 5):
            come(session, "kiosk-01", seq, clock.at)
        come(session, "kiosk-01", 6, clock.at, refused=True)
    measure(
        telemetry,
        clock.at,
        *(("kiosk-01", sample(seq)) for seq in (1, 2)),
        ("kiosk-01", sample(6, kept_from=5)),
        ("kiosk-01", sample(7, body=b'{"samples":[]}')),
        ("kiosk-01", b"garbage"),
        ("kiosk-02", sample(1)),
    )
    ledger = books.ledger()
    first, second = ledger.accounts
    assert (first.device, second.device) == ("kiosk-01", "kiosk-02"), "with something missing first"
    assert first.numbers == Numbers(
        stored=6, refused=2, missing=3, dropped=2, undeclared=2, lost=0, repeated=1
    )
    assert first.refused == {"malformed": 1, "not-an-envelope": 1}
    assert second.numbers == Numbers(stored=1)
    assert ledger.numbers == first.numbers.plus(second.numbers)
    assert ledger.with_missing == 1
    one = one_device.read(books, "kiosk-01")
    assert one is not None
    assert one.numbers == first.numbers
    assert {(boot.lane, boot.seq, tuple(boot.gaps)) for boot in one.boots} == {
        ("events", 2, ((3, 4),)),
        ("telemetry", 4, ((5, 5),)),
    }


def test_a_declaration_says_why_and_is_reconciled_with_what_the_mark_passed_over(
    books: Books, telemetry: Ledger, sessions: sessionmaker[Session], register: Register, clock: Clock
) -> None:
    register("kiosk-01")
    measure(telemetry, clock.at, ("kiosk-01", sample(1)), ("kiosk-01", sample(10, kept_from=10)))
    with sessions.begin() as session:
        declare(session, "kiosk-01", clock.at, dropped(2, 6), dropped(7, 8, why=Why.AGE))
    one = one_device.read(books, "kiosk-01")
    assert one is not None
    assert (one.numbers.dropped, one.numbers.undeclared, one.numbers.missing) == (8, 1, 0)
    assert one.why == {"rows": 5, "age": 2}
    assert [(drop.from_seq, drop.to_seq, drop.why) for drop in one.drops] == [(7, 8, "age"), (2, 6, "rows")]
    with sessions.begin() as session:
        without_number = replace_range(dropped(1, 1), from_seq=0, to_seq=0, count=4, why=Why.CLOCK)
        declare(session, "kiosk-01", clock.at, dropped(9, 9), without_number)
    one = one_device.read(books, "kiosk-01")
    assert one is not None
    assert (one.numbers.dropped, one.numbers.undeclared) == (12, 0)
    clock.forward(10)
    assert books.ledger().numbers == one.numbers


def test_a_stretch_without_captions_is_told_as_dropped_and_nothing_is_missing_for_it(
    books: Books, sessions: sessionmaker[Session], register: Register, clock: Clock
) -> None:
    register("hall-1")
    with sessions.begin() as session:
        declare(session, "hall-1", clock.at, replace_range(dropped(0, 0, why=Why.CLOCK), lane=Lane.LIVE))
    one = one_device.read(books, "hall-1")
    assert one is not None
    assert (one.numbers.dropped, one.numbers.missing, one.numbers.lost) == (1, 0, 0)
    assert [(drop.lane, drop.count, drop.why) for drop in one.drops] == [("live", 1, "clock")]


def replace_range(each: DroppedRange, **changes: object) -> DroppedRange:
    fields = {name: getattr(each, name) for name in each.__struct_fields__}
    return DroppedRange(**(fields | changes))


def test_a_declaration_that_comes_before_its_gap_is_passed_over_ends_the_waiting(
    books: Books, telemetry: Ledger, sessions: sessionmaker[Session], register: Register, clock: Clock
) -> None:
    register("kiosk-01")
    measure(telemetry, clock.at, ("kiosk-01", sample(1)), ("kiosk-01", sample(10)))
    assert books.ledger().numbers.missing == 8
    with sessions.begin() as session:
        declare(session, "kiosk-01", clock.at, dropped(2, 9))
    clock.forward(10)
    assert books.ledger().numbers == Numbers(stored=2, dropped=8)
    measure(telemetry, clock.at, ("kiosk-01", sample(11, kept_from=10)))
    clock.forward(10)
    assert books.ledger().numbers == Numbers(stored=3, dropped=8)


def test_a_long_outage_is_one_range(
    books: Books, sessions: sessionmaker[Session], register: Register, clock: Clock
) -> None:
    register("kiosk-01")
    with sessions.begin() as session:
        for first in range(1, 100, 10):
            declare(session, "kiosk-01", clock.at, dropped(first, first + 9))
        declare(session, "kiosk-01", clock.at, dropped(101, 102, why=Why.AGE))
    one = one_device.read(books, "kiosk-01")
    assert one is not None
    assert [(drop.from_seq, drop.to_seq, drop.count) for drop in one.drops] == [(101, 102, 2), (1, 100, 100)]
    assert one.numbers.dropped == 102


def test_what_came_although_it_was_declared_is_not_counted_twice(
    books: Books, telemetry: Ledger, sessions: sessionmaker[Session], register: Register, clock: Clock
) -> None:
    register("kiosk-01")
    measure(telemetry, clock.at, *(("kiosk-01", sample(seq)) for seq in (1, 2, 3)))
    with sessions.begin() as session:
        declare(session, "kiosk-01", clock.at, dropped(2, 5))
    one = one_device.read(books, "kiosk-01")
    assert one is not None
    assert one.numbers == books.ledger().numbers == Numbers(stored=3, dropped=2)


def test_what_says_the_impossible_is_malformed(
    sessions: sessionmaker[Session], register: Register, clock: Clock
) -> None:
    register("kiosk-01")
    with sessions() as session:
        for wrong in (dropped(2, 1, count=1), dropped(1, 2, count=3)):
            with pytest.raises(MalformedError):
                declare(session, "kiosk-01", clock.at, wrong)


def test_numbers_survive_the_boots_that_are_forgotten(
    books: Books,
    sessions: sessionmaker[Session],
    register: Register,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register("kiosk-01")
    monkeypatch.setattr(arrivals, "BOOTS_MAX", 3)
    for boot in range(8):
        clock.forward(60)
        with sessions.begin() as session:
            for seq, kept_from in ((1, 1), (5, 3), (7, 3)):
                come(session, "kiosk-01", seq, clock.at, kept_from=kept_from, boot=f"boot-{boot}")
    with sessions() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(WatermarkRow)) == 3
    numbers = books.ledger().numbers
    assert (numbers.stored, numbers.dropped) == (24, 8)
    assert (numbers.missing, numbers.lost) == (9, 15), "what was missing of a forgotten boot is lost"
    one = one_device.read(books, "kiosk-01")
    assert one is not None
    assert (one.numbers, one.forgotten_boots, len(one.boots)) == (numbers, 5, 3)


def test_few_ranges_and_boots_are_kept_and_every_count(
    books: Books,
    sessions: sessionmaker[Session],
    register: Register,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register("kiosk-01")
    monkeypatch.setattr(declared, "BOOTS_MAX", 2)
    monkeypatch.setattr(declared, "RANGES_MAX", 5)
    for boot in range(9):
        clock.forward(60)
        with sessions.begin() as session:
            declare(session, "kiosk-01", clock.at, dropped(1, 10, boot=f"boot-{boot}"))
    one = one_device.read(books, "kiosk-01")
    assert one is not None
    assert (one.numbers.dropped, one.why, len(one.drops)) == (90, {"rows": 90}, 5)
    assert books.ledger().numbers.dropped == 90


def test_totals_keep_what_a_device_out_of_service_has_sent(
    books: Books, telemetry: Ledger, sessions: sessionmaker[Session], register: Register, clock: Clock
) -> None:
    register("kiosk-01", "kiosk-02")
    measure(telemetry, clock.at, ("kiosk-01", sample(1)), ("kiosk-02", sample(1)))
    with sessions.begin() as session:
        session.get_one(Device, "kiosk-02").decommissioned_at = clock.at
    ledger = books.ledger()
    assert [account.device for account in ledger.accounts] == ["kiosk-01"]
    assert ledger.numbers.stored == 2


def test_pages_of_the_list_hold_every_device_once_and_those_with_gaps_first(
    books: Books, telemetry: Ledger, register: Register, clock: Clock
) -> None:
    register(*MEMBERS)
    measure(telemetry, clock.at, ("kiosk-03", sample(4)), ("kiosk-01", sample(1)))
    ledger = books.ledger()
    seen, after = [], ""
    for _ in range(3):
        page, following = ledger.page(after, 1)
        seen += [account.device for account in page]
        after = following or ""
    assert seen == ["kiosk-03", "kiosk-01", "kiosk-02"]
    assert following is None


def test_a_flood_is_counted_and_not_described(
    books: Books, telemetry: Ledger, register: Register, clock: Clock
) -> None:
    register("kiosk-01")
    telemetry.record(Sorted(excess={"kiosk-01": 400}), clock.at)
    telemetry.record(Sorted(excess={"kiosk-01": 7}), clock.at)
    many = [refusal("kiosk-01", "telemetry", Reason.MALFORMED, b"x") for _ in range(120)]
    telemetry.record(Sorted(refused=many), clock.at)
    (account,) = books.ledger().accounts
    assert account.refused == {"excess": 407, "malformed": 120}


def test_the_skew_is_stored_and_found_again_after_a_restart(
    books: Books, telemetry: Ledger, tmp_path: Path, register: Register, clock: Clock
) -> None:
    register("kiosk-01")
    for seq in range(1, 41):
        now_ms = int(clock.at.timestamp() * 1000)
        measure(telemetry, clock.at, ("kiosk-01", sample(seq, sent=now_ms - 20_000 - 100 * (seq % 7))))
        clock.forward(10)
    (account,) = books.ledger().accounts
    assert account.skew_ms == -20_000
    again = Ledger(tmp_path / "telemetry.db")
    now_ms = int(clock.at.timestamp() * 1000)
    measure(again, clock.at, ("kiosk-01", sample(41, sent=now_ms - 90_000)))
    again.close()
    clock.forward(10)
    assert books.ledger().accounts[0].skew_ms == -20_000, "one slow message proves nothing"


def test_a_database_of_an_earlier_release_is_widened(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "old.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TABLE link_watermarks (device VARCHAR(63) NOT NULL, boot VARCHAR(64) NOT NULL, "
                "lane VARCHAR(16) NOT NULL, seq BIGINT NOT NULL, above JSON NOT NULL, "
                "moved_at DATETIME NOT NULL, PRIMARY KEY (device, boot, lane))"
            )
        )
        connection.execute(
            sa.text(
                "INSERT INTO link_watermarks VALUES "
                f"('kiosk-01', '{BOOT}', 'telemetry', 7, '[9, 10]', '2026-11-23 09:00:00')"
            )
        )
    engine.dispose()
    for _ in range(2):
        ledger = Ledger(path)
        ledger.close()
    ledger = Ledger(path)
    measure(ledger, clock.at, ("kiosk-01", sample(8)))
    with ledger.sessions() as session:
        row = session.get_one(WatermarkRow, ("kiosk-01", BOOT, "telemetry"))
        assert (row.seq, row.stored, row.missing) == (10, 10, 0)
    ledger.close()


def test_every_declared_range_is_listed_with_its_device(
    sessions: sessionmaker[Session], register: Register, clock: Clock
) -> None:
    register("kiosk-01", "kiosk-02")
    with sessions.begin() as session:
        declare(session, "kiosk-01", clock.at, dropped(1, 2))
        declare(session, "kiosk-02", clock.at, dropped(1, 3))
    with sessions() as session:
        rows = session.scalars(sa.select(DeclaredRange).order_by(DeclaredRange.device)).all()
        assert [(row.device, row.count) for row in rows] == [("kiosk-01", 2), ("kiosk-02", 3)]


def test_the_book_is_read_once_for_many_who_look(
    books: Books, telemetry: Ledger, register: Register, clock: Clock
) -> None:
    register("kiosk-01")
    first = books.ledger()
    measure(telemetry, clock.at, ("kiosk-01", sample(1)))
    assert books.ledger() is first
    assert replace(first) == first
    clock.forward(10)
    assert books.ledger().numbers.stored == 1
