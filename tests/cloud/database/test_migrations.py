"""The migrations lead to exactly the models, forward and back."""

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from cloud.database import migrate
from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.errors import SettingsError


@pytest.fixture
def empty(empty_url):
    engine = connect(empty_url)
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
    assert sa.inspect(empty).get_table_names() == ["alembic_version"]
