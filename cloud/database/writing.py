"""Writing while others write too.

SQLite lets one transaction write at a time, so there whoever reads in order to write is alone. PostgreSQL
lets all of them run, and each sees what the others have committed in the meantime: what is read in order to
write must be held first. What belongs to a device (its messages, jobs, certificates, tokens) is held by the
device's row; a sitting or a document by its own row, taken after its device's.
"""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from cloud.database.models.devices import Device


def hold(session: Session, devices: Iterable[str]) -> None:
    """Let nobody else change what belongs to `devices` until the transaction ends; read after this.

    Always in the same order, so that two who hold several never wait for each other.
    """
    if session.get_bind().dialect.name == "sqlite":
        return
    rows = sa.select(Device.device).where(Device.device.in_(list(devices))).order_by(Device.device)
    session.execute(rows.with_for_update(key_share=True))  # rows that only refer to a device need not wait


def insert(session: Session, table: type[Any]) -> Any:
    """An INSERT into `table` which knows `ON CONFLICT`, in the words of the session's database."""
    dialect = session.get_bind().dialect.name
    return (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)
