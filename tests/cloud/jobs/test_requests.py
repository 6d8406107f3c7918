"""The job topics answer as AWS IoT Jobs does."""

import pytest
import sqlalchemy as sa

from cloud.database.models.jobs import JobExecution
from cloud.database.models.link import RefusalCount
from tests.cloud.jobs.conftest import Fleet


def test_nothing_pending_is_an_answer_without_an_execution(fleet: Fleet) -> None:
    answers = fleet.ask("kiosk-01", "job-start-next", {"clientToken": "t-1"})
    assert answers == [
        ("job-start-next-accepted", {"timestamp": int(fleet.clock.at.timestamp()), "clientToken": "t-1"})
    ]


def test_a_job_from_the_queue_to_its_end(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01")
    fleet.create("job-2", "kiosk-01")
    (_, listed), *_ = fleet.ask("kiosk-01", "job-get")
    assert [each["jobId"] for each in listed["queuedJobs"]] == ["job-1", "job-2"]
    assert listed["inProgressJobs"] == []

    answers = fleet.ask("kiosk-01", "job-start-next")
    assert [topic for topic, _ in answers] == ["job-start-next-accepted", "job-notify"]
    execution = answers[0][1]["execution"]
    assert (execution["jobId"], execution["status"]) == ("job-1", "IN_PROGRESS")
    assert execution["versionNumber"] == 2
    assert answers[1][1]["jobs"].keys() == {"IN_PROGRESS", "QUEUED"}
    assert fleet.ask("kiosk-01", "job-start-next")[0][1]["execution"] == execution

    done = {
        "status": "SUCCEEDED",
        "expectedVersion": 2,
        "statusDetails": {"sheets": "1"},
        "includeJobExecutionState": True,
    }
    answers = fleet.ask("kiosk-01", "job-update", done, job="job-1")
    assert [topic for topic, _ in answers] == ["job-update-accepted", "job-notify", "job-notify-next"]
    assert answers[0][1]["executionState"] == {
        "status": "SUCCEEDED",
        "versionNumber": 3,
        "statusDetails": {"sheets": "1"},
    }
    assert answers[2][1]["execution"]["jobId"] == "job-2"


def test_an_update_that_came_twice_is_confirmed_twice_and_told_once(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01")
    done = {"status": "SUCCEEDED", "expectedVersion": 1}
    assert len(fleet.ask("kiosk-01", "job-update", done, job="job-1")) == 3
    again = fleet.ask("kiosk-01", "job-update", done, job="job-1")
    assert [topic for topic, _ in again] == ["job-update-accepted"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"status": "FAILED", "expectedVersion": 7}, "VersionMismatch"),
        ({"status": "CANCELED"}, "InvalidRequest"),
        ({"status": "WELL"}, "InvalidRequest"),
        (b"{not json", "InvalidJson"),
        (b"\xff\xfe", "InvalidJson"),
        (b"[" * 100_000, "InvalidJson"),
    ],
)
def test_a_wrong_update_is_rejected_with_its_code_and_changes_nothing(
    fleet: Fleet, body: object, code: str
) -> None:
    fleet.create("job-1", "kiosk-01")
    ((topic, rejection),) = fleet.ask("kiosk-01", "job-update", body, job="job-1")
    assert (topic, rejection["code"]) == ("job-update-rejected", code)
    assert rejection["message"]
    ((_, described),) = fleet.ask("kiosk-01", "job-describe", job="job-1")
    assert described["execution"]["versionNumber"] == 1


def test_a_version_mismatch_tells_the_current_state(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01")
    fleet.ask("kiosk-01", "job-start-next")
    ((_, rejection),) = fleet.ask(
        "kiosk-01", "job-update", {"status": "FAILED", "expectedVersion": 1, "clientToken": "t"}, job="job-1"
    )
    assert rejection["executionState"] == {"status": "IN_PROGRESS", "versionNumber": 2}
    assert rejection["clientToken"] == "t"


def test_a_device_sees_only_its_own_jobs(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01")
    for name, body in (("job-describe", {}), ("job-update", {"status": "SUCCEEDED"})):
        ((topic, rejection),) = fleet.ask("kiosk-02", name, body, job="job-1")
        assert (topic, rejection["code"]) == (f"{name}-rejected", "ResourceNotFound")
    assert fleet.ask("kiosk-02", "job-get")[0][1]["queuedJobs"] == []


def test_describe_finds_the_next_and_leaves_out_the_document_on_request(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01")
    ((topic, answer),) = fleet.ask("kiosk-01", "job-describe", {"includeJobDocument": False}, job="$next")
    assert topic == "job-describe-accepted"
    assert answer["execution"]["jobId"] == "job-1"
    assert "jobDocument" not in answer["execution"]


def test_a_request_that_is_no_json_is_counted(fleet: Fleet) -> None:
    fleet.ask("kiosk-01", "job-get", b"garbage")
    with fleet.sessions() as session:
        row = session.scalars(sa.select(RefusalCount)).one()
        assert (row.device, row.reason, row.count) == ("kiosk-01", "malformed", 1)


def test_a_request_that_is_none_is_refused_with_its_token(fleet: Fleet) -> None:
    """AWS's client finds the answer to its request by the token alone."""
    fleet.create("job-1", "kiosk-01")
    body = {"status": "WELL", "clientToken": "t-1"}
    ((_, told),) = fleet.ask("kiosk-01", "job-update", body, job="job-1")
    assert told["clientToken"] == "t-1"
    ((_, told),) = fleet.ask("kiosk-01", "job-get", {"clientToken": 7})
    assert "clientToken" not in told


def test_the_number_of_an_execution_is_always_said(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01")
    ((_, told),) = fleet.ask("kiosk-01", "job-describe", {}, job="job-1")
    assert told["execution"]["executionNumber"] == 1


def test_a_device_is_told_how_long_it_has(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01")
    ((_, waiting),) = fleet.ask("kiosk-01", "job-describe", job="job-1")
    assert "approximateSecondsBeforeTimedOut" not in waiting["execution"]
    fleet.clock.forward(5)
    begun = fleet.ask("kiosk-01", "job-start-next")[0][1]["execution"]
    assert begun["approximateSecondsBeforeTimedOut"] == 60
    fleet.clock.forward(20)
    ((_, later),) = fleet.ask("kiosk-01", "job-describe", {"executionNumber": 1}, job="job-1")
    assert later["execution"]["approximateSecondsBeforeTimedOut"] == 40


def test_a_device_that_looks_at_a_cancelled_execution_sees_it(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01")
    fleet.ask("kiosk-01", "job-start-next")
    with fleet.sessions.begin() as session:
        fleet.jobs.cancel(session, "job-1", force=True)
    assert fleet.told[-1][1] == "job-notify-next"
    ((_, answer),) = fleet.ask("kiosk-01", "job-describe", {"executionNumber": 1}, job="job-1")
    assert answer["execution"]["status"] == "CANCELED"


def test_a_report_after_the_control_planes_end_is_refused_and_noted_once(fleet: Fleet) -> None:
    fleet.create("job-1", "kiosk-01", retries=1)
    fleet.ask("kiosk-01", "job-start-next")
    fleet.clock.forward(61)
    fleet.sweep(fleet.clock.at)
    done = {"status": "SUCCEEDED", "executionNumber": 1, "statusDetails": {"sheets": "1"}}
    for details in ({"sheets": "1"}, {"sheets": "2"}):
        late = fleet.ask("kiosk-01", "job-update", done | {"statusDetails": details}, job="job-1")
        assert [(topic, body["code"]) for topic, body in late] == [
            ("job-update-rejected", "InvalidStateTransition")
        ]
    with fleet.sessions() as session:
        rows = session.scalars(sa.select(JobExecution).order_by(JobExecution.number)).all()
    assert [(row.status, row.afterwards) for row in rows] == [
        ("TIMED_OUT", {"status": "SUCCEEDED", "details": {"sheets": "1"}}),
        ("QUEUED", None),
    ]
