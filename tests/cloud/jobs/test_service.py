"""The engine: jobs are created once, reach their end in time, and whoever waits is told."""

import pytest
import sqlalchemy as sa

from cloud.database.models.jobs import Job
from cloud.errors import MalformedError, RefusedError
from cloud.jobs.service import PENDING_MAX
from contract.jobs import Status
from tests.cloud.jobs.conftest import Fleet


def status(fleet: Fleet, job: str, device: str) -> Status | None:
    with fleet.sessions() as session:
        return fleet.jobs.status(session, job, device)


def test_a_job_is_told_to_its_devices_after_the_commit(fleet: Fleet) -> None:
    with fleet.sessions.begin() as session:
        fleet.jobs.create(
            session,
            "job-1",
            {"operation": "restart-agent"},
            ["kiosk-01", "kiosk-02"],
            in_progress_timeout_s=60,
            queued_expiry_s=600,
        )
        assert fleet.told == []
    assert [(device, topic) for device, topic, _ in fleet.told] == [
        ("kiosk-01", "job-notify"),
        ("kiosk-01", "job-notify-next"),
        ("kiosk-02", "job-notify"),
        ("kiosk-02", "job-notify-next"),
    ]
    execution = fleet.told[1][2]["execution"]
    assert execution["jobId"] == "job-1"
    assert execution["jobDocument"] == {"operation": "restart-agent"}


def test_the_same_job_again_changes_nothing_and_another_document_is_refused(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01")
    fleet.told.clear()
    fleet.create("job-1", "kiosk-01")
    assert fleet.told == []
    with pytest.raises(RefusedError, match="another document"):
        fleet.create("job-1", "kiosk-01", other=True)


def test_nothing_is_left_of_a_job_that_was_refused(fleet: Fleet) -> None:
    with pytest.raises(RefusedError, match="ghost-01 is not a registered device"):
        fleet.create("job-1", "kiosk-01", "ghost-01")
    for job, targets in (("job 1", ["kiosk-01"]), ("$next", ["kiosk-01"]), ("job-1", [])):
        with pytest.raises(MalformedError):
            fleet.create(job, *targets)
    with fleet.sessions() as session:
        assert session.scalars(sa.select(Job)).all() == []


def test_a_device_takes_no_more_than_its_bound(fleet: Fleet) -> None:
    for number in range(PENDING_MAX):
        fleet.create(f"job-{number}", "kiosk-01")
    with pytest.raises(RefusedError, match="kiosk-01 has 100 jobs waiting"):
        fleet.create("job-more", "kiosk-01")
    fleet.create("job-more", "kiosk-02")


def test_cancel_ends_whatever_has_not_ended(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01", "kiosk-02", "recorder-01")
    fleet.ask("kiosk-01", "job-start-next")
    fleet.ask("kiosk-02", "job-update", {"status": "SUCCEEDED"}, job="job-1")
    with fleet.sessions.begin() as session:
        assert fleet.jobs.cancel(session, "job-1", force=True) == 2
    assert status(fleet, "job-1", "kiosk-01") is Status.CANCELED
    assert status(fleet, "job-1", "kiosk-02") is Status.SUCCEEDED
    assert fleet.told[-1][1] == "job-notify-next"
    assert "execution" not in fleet.told[-1][2]
    with fleet.sessions.begin() as session:
        assert fleet.jobs.cancel(session, "job-1", force=True) == 0
    with fleet.sessions.begin() as session, pytest.raises(RefusedError, match="no job job-9"):
        fleet.jobs.cancel(session, "job-9")


def test_the_sweep_ends_what_is_over_time(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01", "kiosk-02")
    fleet.ask("kiosk-01", "job-start-next")
    fleet.clock.forward(60)
    assert fleet.sweep(fleet.clock.at) == 1
    assert status(fleet, "job-1", "kiosk-01") is Status.TIMED_OUT
    assert status(fleet, "job-1", "kiosk-02") is Status.QUEUED
    fleet.clock.forward(540)
    assert fleet.sweep(fleet.clock.at) == 1
    assert status(fleet, "job-1", "kiosk-02") is Status.TIMED_OUT
    assert fleet.sweep(fleet.clock.at) == 0


def test_a_failure_is_tried_again_as_often_as_the_job_says(fleet: Fleet) -> None:
    ended: list[tuple[str, str, Status]] = []
    fleet.jobs.on_ended(lambda *end: ended.append(end))
    fleet.create("job-1", "kiosk-01", retries=1)
    fleet.ask("kiosk-01", "job-update", {"status": "FAILED"}, job="job-1")
    assert ended == []
    answers = fleet.ask("kiosk-01", "job-start-next")
    assert answers[0][1]["execution"]["executionNumber"] == 2
    fleet.ask("kiosk-01", "job-update", {"status": "FAILED", "executionNumber": 2}, job="job-1")
    assert ended == [("job-1", "kiosk-01", Status.FAILED)]


def test_an_end_that_could_not_be_told_is_told_by_the_sweep(fleet: Fleet) -> None:
    ended: list[tuple[str, str, Status]] = []
    down = [True]

    def hook(job: str, device: str, status: Status) -> None:
        if down[0]:
            raise ConnectionError("the waiting side is down")
        ended.append((job, device, status))

    fleet.jobs.on_ended(hook)
    fleet.create("job-1", "kiosk-01")
    fleet.ask("kiosk-01", "job-update", {"status": "SUCCEEDED"}, job="job-1")
    fleet.sweep(fleet.clock.at)
    assert ended == []
    down[0] = False
    fleet.sweep(fleet.clock.at)
    fleet.sweep(fleet.clock.at)
    assert ended == [("job-1", "kiosk-01", Status.SUCCEEDED)]


def test_after_a_break_every_device_with_work_is_told_again(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01", "recorder-01")
    fleet.told.clear()
    fleet.jobs.notices.announce_all()
    assert [(device, topic) for device, topic, _ in fleet.told if topic == "job-notify-next"] == [
        ("kiosk-01", "job-notify-next"),
        ("recorder-01", "job-notify-next"),
    ]
