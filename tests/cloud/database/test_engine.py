"""Transactions on SQLite: whoever writes waits for the lock at once, whoever reads never does."""

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import for_reading


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
