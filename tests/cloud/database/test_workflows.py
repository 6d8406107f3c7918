"""The durable workflows' engine: beside our own transactions, and gone when it is stopped."""

import logging
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from dbos import DBOS, SetWorkflowID

from cloud.database.engine import connect
from cloud.database.workflows import running
from cloud.errors import SettingsError


@DBOS.workflow()
def count_to_one() -> int:
    return 1


@pytest.mark.parametrize("executor_id", ["", "Control 1", "a/b", "x" * 65])
def test_an_executor_id_that_cannot_be_is_said(executor_id: str, tmp_path: Path) -> None:
    with (
        pytest.raises(SettingsError, match="executor_id"),
        running(f"sqlite:///{tmp_path / 'fleet.db'}", executor_id),
    ):
        pass


def test_workflows_run_beside_our_own_transactions(empty_url: str) -> None:
    url = empty_url
    engine = connect(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE ours (n INTEGER)"))
    with running(url, "control-1"):
        for number in range(10):
            with engine.begin() as connection:
                connection.execute(sa.text("INSERT INTO ours VALUES (1)"))
            with SetWorkflowID(f"run-{number}"):
                assert DBOS.start_workflow(count_to_one).get_result() == 1
        assert not logging.getLogger("dbos").handlers, "it logs as we do"
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM ours")).scalar() == 10
    engine.dispose()
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("dbos")]
    assert left == [], "stopping waits for nobody and leaves nobody"
