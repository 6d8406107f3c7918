"""The durable workflows' engine: DBOS, on the control plane's own database.

DBOS opens its transactions itself: on the engine of `cloud.database.engine`, where each begins IMMEDIATE, its
migration cannot run (`cannot start a transaction within a transaction`), and its polling would take the write
lock again and again. So it has an engine of its own on the same file.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig
from sqlalchemy import event

from cloud.database.engine import POOL_SIZE, PRAGMAS
from cloud.errors import SettingsError

NAME = "civic-fleet"
APPLICATION_VERSION = "1"
"""Pinned: by default any edit of a workflow would strand those that are under way. Changes of a workflow go
through `DBOS.patch`; the version is raised only after all workflows have ended."""
POLL_S = 0.2
"""How often DBOS looks for messages to workflows on SQLite; stopping takes as long."""

_EXECUTOR = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@contextmanager
def running(
    url: str,
    executor_id: str,
    *,
    name: str = NAME,
    version: str = APPLICATION_VERSION,
    queues: Sequence[str] = (),
    queue_poll_s: float = 1.0,
    poll_s: float = POLL_S,
) -> Iterator[None]:
    """Run workflows until the block is left; those that this executor had begun go on by themselves.

    Programs with another `name` never touch each other's workflows, also on one database. Of each of
    `queues`, and of no other, one workflow at a time is taken and run here. No two names have one `version`.

    Two live processes must never have the same `executor_id`: the newcomer would run the other's workflows
    a second time. Whoever holds workflows as objects makes them before entering.

    Raises:
        SettingsError: the executor id has a form that it cannot have.
    """
    if not _EXECUTOR.fullmatch(executor_id):
        raise SettingsError(f"executor_id {executor_id!r:.80}: use lower-case letters, digits and '-'")
    engine = _engine(url)
    config: DBOSConfig = {
        "name": name,
        "system_database_url": url,
        "application_version": version,
        "executor_id": executor_id,
        "log_level": "WARNING",
        "notification_listener_polling_interval_sec": poll_s,
        "enable_otlp": False,
    }
    if engine is not None:
        config["system_database_engine"] = engine
    DBOS(config=config)
    _log_as_we_do()
    DBOS.listen_queues(queues)
    DBOS.launch()
    try:
        for queue in queues:
            DBOS.register_queue(queue, worker_concurrency=1, polling_interval_sec=queue_poll_s)
        yield
    finally:
        DBOS.destroy()
        if engine is not None:
            engine.dispose()


def _engine(url: str) -> sa.Engine | None:
    """DBOS's own engine on SQLite, with our pragmas; None elsewhere, where it makes a good one itself."""
    if not url.startswith("sqlite"):
        return None
    engine = sa.create_engine(url, pool_size=POOL_SIZE, hide_parameters=True)
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    connection.isolation_level = "IMMEDIATE"  # the driver begins a transaction at its first write
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _log_as_we_do() -> None:
    """Let DBOS log through our handler; its own would write lines that are no JSON."""
    logger = logging.getLogger("dbos")
    logger.handlers.clear()
    logger.propagate = True
