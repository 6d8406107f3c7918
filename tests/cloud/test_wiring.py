"""What `cloud.main` gives to the ways: promises that none of them can hold alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from cloud.database.models.devices import Device
from cloud.database.models.jobs import Job
from cloud.jobs.core import Terms, queued
from cloud.operators.access import Actor
from contract.jobs import RETRIES_MAX, Status

TERMS = Terms(queued_expiry=timedelta(hours=1), in_progress_timeout=timedelta(minutes=1))


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


def test_a_recorder_that_never_answered_gets_another_job(ground, ways):
    at = datetime.now(UTC)
    with ground.sessions.begin() as database:
        database.add(Device(device="hall-mute", kind="recorder", site="Hall", registered_at=at))
        database.flush()
        session = ways.captions.create(database, device="hall-mute", title="Assembly", lang="sq").session
        ways.captions.change(database, session, "open", reason="", note="")
    job = f"set-sitting-{session}-1"
    for status in (Status.TIMED_OUT, Status.FAILED):
        ways.jobs.tell("hall-mute", replace(queued(job, 1, TERMS, at), status=status))
    with ground.sessions() as database:
        assert ways.jobs.waiting(database, "hall-mute") == [job, f"{job}r1"]


def test_a_newer_version_of_a_sitting_cancels_the_jobs_of_older_ones(ground, ways):
    """A recorder that was away would play them one by one, and listen for a moment in each part."""
    with ground.sessions.begin() as database:
        database.add(
            Device(device="hall-away", kind="recorder", site="Hall", registered_at=datetime.now(UTC))
        )
        database.flush()
        first = ways.captions.create(database, device="hall-away", title="First", lang="sq").session
        ways.captions.change(database, first, "open", reason="", note="")
        ways.captions.change(database, first, "end", reason="", note="")
        second = ways.captions.create(database, device="hall-away", title="Second", lang="sq").session
        for event in ("open", "pause", "open"):
            ways.captions.change(database, second, event, reason="", note="")
    with ground.sessions() as database:
        assert ways.jobs.waiting(database, "hall-away") == [
            f"set-sitting-{first}-2",
            f"set-sitting-{second}-3",
        ]
        assert ways.jobs.status(database, f"set-sitting-{second}-1", "hall-away") is Status.CANCELED


def test_what_a_device_had_to_do_is_removed_when_it_is_taken_out_of_service(ground, ways):
    now = datetime.now(UTC)
    with ground.sessions.begin() as database:
        database.add(Device(device="kiosk-leaving", kind="kiosk", site="Hall", registered_at=now))
        database.flush()
        terms = {"in_progress_timeout_s": 60.0, "queued_expiry_s": 600.0}
        for job, rate in (("leaving-1", None), ("leaving-2", 1)):
            document = {"operation": "restart-agent"}
            ways.jobs.create(database, job, document, ["kiosk-leaving"], per_minute=rate, **terms)
    ways.members.office.take_out(Actor("ana", now), "kiosk-leaving")
    with ground.sessions() as database:
        for job in ("leaving-1", "leaving-2"):
            assert ways.jobs.status(database, job, "kiosk-leaving") is Status.REMOVED
