"""How Alembic finds the tables and the database; `cloud.database.migrate` runs it."""

from typing import Any, Literal

import sqlalchemy as sa
from alembic import context

from cloud.database.metadata import complete


def run() -> None:
    """Bring the database behind the given connection to the wanted revision."""
    connection: sa.Connection = context.config.attributes["connection"]
    context.configure(
        connection=connection, target_metadata=complete(), render_as_batch=True, render_item=plain_type
    )
    with context.begin_transaction():
        context.run_migrations()


def plain_type(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Our own column types as what they are in the database: a migration outlives the classes of today."""
    if kind == "type" and isinstance(item, sa.types.TypeDecorator):
        return f"sa.{item.impl!r}"
    return False


run()
