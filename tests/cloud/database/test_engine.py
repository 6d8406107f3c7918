"""What the engines promise on either database: reading waits for nobody, and any text is taken."""

from datetime import UTC, timedelta, timezone

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import for_reading
from cloud.database.models.devices import Device
from tests.cloud.conftest import START


def test_reading_neither_waits_for_a_writer_nor_keeps_one_waiting(
    engine: sa.Engine, sessions: sessionmaker[Session]
) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE ours (n INTEGER)"))
    count = sa.text("SELECT count(*) FROM ours")
    reading = for_reading(sessions)
    with sessions.begin() as writer:
        writer.execute(sa.text("INSERT INTO ours VALUES (1)"))
        with reading() as reader:
            assert reader.scalar(count) == 0, "what is not committed is not seen"
    with reading() as reader:
        assert reader.scalar(count) == 1
        with sessions.begin() as writer:
            writer.execute(sa.text("INSERT INTO ours VALUES (2)"))
        assert reader.scalar(count) == 1, "one reading sees one moment"
    with reading() as reader:
        assert reader.scalar(count) == 2


def test_a_text_with_a_nul_is_taken_and_found_nowhere(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        assert session.get(Device, "kiosk\0") is None
        session.add(Device(device="kiosk-01", kind="kiosk", site="Squ\0are", registered_at=START))
        session.flush()
        found = session.execute(
            sa.update(Device).where(Device.device.in_(["kiosk-01", "\0"])).values(agent="\0")
        )
        assert found.rowcount == 1
    with sessions() as session:
        assert session.get_one(Device, "kiosk-01").site in ("Squ\0are", "Squ\ufffdare")


def test_a_moment_comes_back_in_utc(sessions: sessionmaker[Session]) -> None:
    there = START.astimezone(timezone(timedelta(hours=5)))
    with sessions.begin() as session:
        session.add(Device(device="kiosk-01", kind="kiosk", site="Square", registered_at=there))
    with sessions() as session:
        found = session.get_one(Device, "kiosk-01").registered_at
    assert (found, found.tzinfo) == (START, UTC)
