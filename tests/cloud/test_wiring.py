"""What `cloud.main` gives to the ways: promises that none of them can hold alone."""

from datetime import UTC, datetime

import sqlalchemy as sa

from cloud.database.models.devices import Device
from cloud.database.models.jobs import Job
from cloud.jobs.core import RETRIES_MAX


def test_a_recorder_that_did_not_answer_is_told_of_its_sitting_again(ground, ways):
    """An answer that is lost must not leave a recorder deaf, or listening to a closed part."""
    with ground.sessions.begin() as database:
        database.add(
            Device(device="hall-wiring", kind="recorder", site="Hall", registered_at=datetime.now(UTC))
        )
        database.flush()
        session = ways.captions.create(database, device="hall-wiring", title="Assembly", lang="sq").session
        ways.captions.change(database, session, "open", reason="", note="")
    with ground.sessions() as database:
        job = database.scalar(sa.select(Job).where(Job.job == f"set-sitting-{session}-1"))
    assert job is not None
    assert job.retries == RETRIES_MAX
