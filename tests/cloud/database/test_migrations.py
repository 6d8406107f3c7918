"""The migrations lead to exactly the models, forward and back."""

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from cloud.database import migrate
from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.errors import SettingsError


@pytest.fixture
def empty(tmp_path):
    engine = connect(f"sqlite:///{tmp_path / 'new.db'}")
    yield engine
    engine.dispose()


def test_migrations_lead_to_the_models(empty):
    migrate.upgrade(empty)
    with empty.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, complete())
    assert differences == [], 'run `python -m cloud.database.migrate "What changed"`'


def test_a_database_is_brought_up_to_date_once(empty):
    with pytest.raises(SettingsError, match="python -m cloud init"):
        migrate.check(empty)
    migrate.upgrade(empty)
    migrate.upgrade(empty)
    migrate.check(empty)


def test_every_migration_can_be_taken_back(empty):
    migrate.upgrade(empty)
    with empty.begin() as connection:
        command.downgrade(migrate._config(connection), "base")
    with empty.connect() as connection:
        names = (
            connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type='table'").scalars().all()
        )
    assert [name for name in names if not name.startswith("sqlite_")] == ["alembic_version"]
