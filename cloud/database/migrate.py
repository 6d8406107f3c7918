"""The database's schema: bringing it up to date, and making a new migration from changed models.

`python -m cloud.database.migrate "What changes and why"` writes the migration; read it before committing.
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from cloud.database.engine import connect
from cloud.errors import SettingsError, UnavailableError

FOLDER = Path(__file__).parent / "migrations"


def upgrade(engine: sa.Engine) -> None:
    """Bring the schema to the newest revision; does nothing where it is there already.

    Raises:
        UnavailableError: the database does not answer.
    """
    with _answering(), engine.begin() as connection:
        command.upgrade(_config(connection), "head")


def check(engine: sa.Engine) -> None:
    """Hold the schema against the newest revision.

    Raises:
        SettingsError: it is another one.
        UnavailableError: the database does not answer.
    """
    found = revision(engine)
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if found != newest:
        raise SettingsError(
            f"the database is at revision {found or 'none'} and the program needs {newest}; "
            "run `python -m cloud init`"
        )


def revision(engine: sa.Engine) -> str | None:
    """The revision that the schema has; None where there are no tables yet.

    Raises:
        UnavailableError: the database does not answer.
    """
    with _answering(), engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def revise(message: str) -> None:
    """Write a migration that leads from the newest revision to the models as they are."""
    with tempfile.TemporaryDirectory() as folder:
        engine = connect(f"sqlite:///{folder}/scratch.db")
        upgrade(engine)
        with engine.begin() as connection:
            count = len(list(ScriptDirectory.from_config(_config()).walk_revisions()))
            command.revision(
                _config(connection), message=message, autogenerate=True, rev_id=f"{count + 1:04d}"
            )
        engine.dispose()


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except sa.exc.OperationalError as error:
        said = " ".join(str(error.orig).split())
        raise UnavailableError(
            f"the database does not answer: {said:.300}; start it, or correct database_url"
        ) from error


def _config(connection: sa.Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["connection"] = connection
    return config


if __name__ == "__main__":
    revise(sys.argv[1])
