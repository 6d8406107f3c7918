"""The engine: jobs are created once, reach their end in time, and whoever waits is told."""

import pytest
import sqlalchemy as sa

from cloud.database.models.devices import Device
from cloud.database.models.jobs import Job
from cloud.errors import MalformedError, RefusedError
from cloud.jobs import store
from cloud.jobs.service import PENDING_MAX
from contract.jobs import JobState, Status
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


def state(fleet: Fleet, job: str) -> JobState | None:
    with fleet.sessions() as session:
        found = session.scalar(sa.select(Job.state).where(Job.job == job))
    return JobState(found) if found else None


def shown(fleet: Fleet, job: str) -> list[str]:
    """The devices that have seen a job so far."""
    with fleet.sessions() as session:
        return [each.device for each in store.of_job(session, job) if each.execution.status is Status.QUEUED]


def cancel(fleet: Fleet, job: str, *, force: bool = False) -> int:
    with fleet.sessions.begin() as session:
        return fleet.jobs.cancel(session, job, force=force)


def test_a_job_is_completed_with_its_last_execution(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01", "kiosk-02", retries=1)
    assert state(fleet, "job-1") is JobState.IN_PROGRESS
    fleet.ask("kiosk-01", "job-update", {"status": "SUCCEEDED"}, job="job-1")
    fleet.ask("kiosk-02", "job-update", {"status": "FAILED"}, job="job-1")
    assert state(fleet, "job-1") is JobState.IN_PROGRESS, "one try is left"
    fleet.ask("kiosk-02", "job-update", {"status": "REJECTED", "executionNumber": 2}, job="job-1")
    assert state(fleet, "job-1") is JobState.COMPLETED
    assert cancel(fleet, "job-1", force=True) == 0
    assert state(fleet, "job-1") is JobState.COMPLETED


def test_devices_see_a_job_at_its_rate(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01", "kiosk-02", "recorder-01", per_minute=2)
    assert (state(fleet, "job-1"), shown(fleet, "job-1"), fleet.told) == (JobState.SCHEDULED, [], [])
    fleet.sweep(fleet.clock.at)
    assert (state(fleet, "job-1"), shown(fleet, "job-1")) == (JobState.IN_PROGRESS, ["kiosk-01"])
    assert [(device, topic) for device, topic, _ in fleet.told] == [
        ("kiosk-01", "job-notify"),
        ("kiosk-01", "job-notify-next"),
    ]
    assert "execution" not in fleet.ask("kiosk-02", "job-start-next")[0][1]
    fleet.clock.forward(29)
    fleet.sweep(fleet.clock.at)
    assert shown(fleet, "job-1") == ["kiosk-01"]
    fleet.clock.forward(1)
    fleet.sweep(fleet.clock.at)
    assert shown(fleet, "job-1") == ["kiosk-01", "kiosk-02"]
    fleet.clock.forward(30)
    fleet.sweep(fleet.clock.at)
    assert shown(fleet, "job-1") == ["kiosk-01", "kiosk-02", "recorder-01"]


def test_the_time_to_begin_counts_from_when_a_device_sees_it(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01", "kiosk-02", per_minute=1)
    fleet.sweep(fleet.clock.at)
    fleet.clock.forward(60)
    fleet.sweep(fleet.clock.at)
    fleet.clock.forward(540)
    assert fleet.sweep(fleet.clock.at) == 1
    assert status(fleet, "job-1", "kiosk-01") is Status.TIMED_OUT
    assert status(fleet, "job-1", "kiosk-02") is Status.QUEUED


def test_a_cancel_stops_the_roll_out_and_whoever_waits_is_told_of_every_device(fleet: Fleet) -> None:
    ended: list[tuple[str, str, Status]] = []
    fleet.jobs.on_ended(lambda *end: ended.append(end))
    fleet.create("job-1", "kiosk-01", "kiosk-02", "recorder-01", per_minute=1)
    fleet.sweep(fleet.clock.at)
    fleet.ask("kiosk-01", "job-start-next")
    fleet.told.clear()
    assert cancel(fleet, "job-1") == 2
    assert state(fleet, "job-1") is JobState.CANCELED
    fleet.clock.forward(50)
    fleet.sweep(fleet.clock.at)
    assert fleet.told == [], "who has seen nothing of it is told nothing"
    assert status(fleet, "job-1", "kiosk-01") is Status.IN_PROGRESS, "what has begun goes on"
    assert sorted(ended) == [
        ("job-1", "kiosk-02", Status.CANCELED),
        ("job-1", "recorder-01", Status.CANCELED),
    ]
    assert cancel(fleet, "job-1", force=True) == 1
    assert ended[-1] == ("job-1", "kiosk-01", Status.CANCELED)
    assert state(fleet, "job-1") is JobState.CANCELED


def test_nothing_is_tried_again_after_a_cancel(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01", retries=3)
    fleet.ask("kiosk-01", "job-start-next")
    cancel(fleet, "job-1")
    fleet.ask("kiosk-01", "job-update", {"status": "FAILED"}, job="job-1")
    assert "execution" not in fleet.ask("kiosk-01", "job-start-next")[0][1]
    assert status(fleet, "job-1", "kiosk-01") is Status.FAILED


def test_what_waits_for_a_device_counts_as_its_work(fleet: Fleet) -> None:
    for number in range(PENDING_MAX):
        fleet.create(f"job-{number}", "kiosk-01", per_minute=1)
    with pytest.raises(RefusedError, match="kiosk-01 has 100 jobs waiting"):
        fleet.create("job-more", "kiosk-01")


def test_what_has_waited_too_long_is_not_begun_though_no_sweep_came_by(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01")
    fleet.create("job-2", "kiosk-01")
    fleet.clock.forward(599)
    fleet.create("job-3", "kiosk-01")
    fleet.clock.forward(1)
    answers = fleet.ask("kiosk-01", "job-start-next")
    execution = next(body["execution"] for topic, body in answers if topic == "job-start-next-accepted")
    assert execution["jobId"] == "job-3"
    assert status(fleet, "job-1", "kiosk-01") is Status.TIMED_OUT
    ((_, rejection),) = [
        (topic, body)
        for topic, body in fleet.ask("kiosk-01", "job-update", {"status": "IN_PROGRESS"}, job="job-2")
        if topic == "job-update-rejected"
    ]
    assert rejection["executionState"]["status"] == "TIMED_OUT"


def leave(fleet: Fleet, device: str) -> None:
    with fleet.sessions.begin() as session:
        session.get_one(Device, device).decommissioned_at = fleet.clock.at


def test_what_a_device_had_to_do_is_removed_when_it_leaves_the_fleet(fleet: Fleet) -> None:
    ended: list[tuple[str, str, Status]] = []
    fleet.jobs.on_ended(lambda *end: ended.append(end))
    fleet.create("job-1", "kiosk-01", "kiosk-02", retries=2)
    fleet.create("job-2", "kiosk-01")
    fleet.create("job-3", "kiosk-01", "recorder-01", per_minute=1)
    fleet.ask("kiosk-01", "job-start-next")
    leave(fleet, "kiosk-01")
    fleet.sweep(fleet.clock.at)
    assert {status(fleet, f"job-{number}", "kiosk-01") for number in (1, 2, 3)} == {Status.REMOVED}
    assert [state(fleet, f"job-{number}") for number in (1, 2, 3)] == [
        JobState.IN_PROGRESS,
        JobState.COMPLETED,
        JobState.IN_PROGRESS,
    ]
    assert sorted(ended) == [(f"job-{number}", "kiosk-01", Status.REMOVED) for number in (1, 2, 3)]
    assert shown(fleet, "job-3") == ["recorder-01"], "the others do not wait for the one that has left"


def test_only_a_job_that_has_ended_everywhere_is_deleted(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01")
    with fleet.sessions.begin() as session, pytest.raises(RefusedError, match="has not ended"):
        fleet.jobs.delete(session, "job-1")
    fleet.ask("kiosk-01", "job-start-next")
    cancel(fleet, "job-1")
    with fleet.sessions.begin() as session, pytest.raises(RefusedError, match="still works on job job-1"):
        fleet.jobs.delete(session, "job-1")
    cancel(fleet, "job-1", force=True)
    for _ in range(2):
        with fleet.sessions.begin() as session:
            fleet.jobs.delete(session, "job-1")
        assert state(fleet, "job-1") is JobState.DELETION_IN_PROGRESS
    fleet.sweep(fleet.clock.at)
    assert state(fleet, "job-1") is None
    ((topic, rejection),) = fleet.ask("kiosk-01", "job-describe", job="job-1")
    assert (topic, rejection["code"]) == ("job-describe-rejected", "ResourceNotFound")
    assert fleet.create("job-1", "kiosk-01"), "its id is free again"


def test_a_deleted_job_stays_until_its_ends_are_told(fleet: Fleet) -> None:
    down = [True]

    def hook(*_end: object) -> None:
        if down[0]:
            raise ConnectionError("the waiting side is down")

    fleet.jobs.on_ended(hook)
    fleet.create("job-1", "kiosk-01")
    fleet.ask("kiosk-01", "job-update", {"status": "SUCCEEDED"}, job="job-1")
    with fleet.sessions.begin() as session:
        fleet.jobs.delete(session, "job-1")
    fleet.sweep(fleet.clock.at)
    assert state(fleet, "job-1") is JobState.DELETION_IN_PROGRESS
    down[0] = False
    fleet.sweep(fleet.clock.at)
    fleet.sweep(fleet.clock.at)
    assert state(fleet, "job-1") is None


@pytest.mark.parametrize(
    "terms",
    [{"retries": 11}, {"retries": -1}, {"per_minute": 0}, {"per_minute": 1001}],
)
def test_tries_and_rates_have_bounds(fleet: Fleet, terms: dict[str, int]) -> None:
    with pytest.raises(MalformedError):
        fleet.create("job-1", "kiosk-01", **terms)
