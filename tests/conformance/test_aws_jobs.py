"""AWS's own Jobs client drives our jobs: nothing of it knows that we are not AWS."""

from collections.abc import Iterator

import pytest
from awsiot.iotjobs import (
    DescribeJobExecutionRequest,
    GetPendingJobExecutionsRequest,
    JobExecutionsChangedEvent,
    JobExecutionsChangedSubscriptionRequest,
    NextJobExecutionChangedEvent,
    NextJobExecutionChangedSubscriptionRequest,
    StartNextPendingJobExecutionRequest,
    UpdateJobExecutionRequest,
)

from tests.conformance.things import AwsClient, Stream, Things, refused, taken

NAMES = iter(f"aws-jobs-{number}" for number in range(99))


@pytest.fixture
def thing(things: Things) -> Iterator[AwsClient]:
    """A device without jobs."""
    client = things.client(next(NAMES))
    yield client
    things.opened.remove(client)
    client.stop()


def pending(thing: AwsClient) -> tuple[list[str], list[str]]:
    """Jobs in progress, and queued."""
    told = taken(
        thing.jobs.get_pending_job_executions(GetPendingJobExecutionsRequest(thing_name=thing.device))
    )
    return [each.job_id for each in told.in_progress_jobs], [each.job_id for each in told.queued_jobs]


def start_next(thing: AwsClient):  # type: ignore[no-untyped-def] # the SDK has no types
    request = StartNextPendingJobExecutionRequest(thing_name=thing.device, status_details={"step": "begun"})
    return taken(thing.jobs.start_next_pending_job_execution(request)).execution


def update(thing: AwsClient, job: str, status: str, **more: object):  # type: ignore[no-untyped-def] # as above
    request = UpdateJobExecutionRequest(thing_name=thing.device, job_id=job, status=status, **more)
    return thing.jobs.update_job_execution(request)


def describe(thing: AwsClient, job: str):  # type: ignore[no-untyped-def] # as above
    request = DescribeJobExecutionRequest(thing_name=thing.device, job_id=job, include_job_document=True)
    return thing.jobs.describe_job_execution(request)


def test_without_jobs_there_is_nothing_to_start(thing: AwsClient) -> None:
    assert pending(thing) == ([], [])
    assert start_next(thing) is None
    assert taken(describe(thing, "$next")).execution is None


def test_a_job_from_its_order_to_its_end(things: Things, thing: AwsClient) -> None:
    job = things.job(thing.device)
    assert pending(thing) == ([], [job])
    queued = taken(describe(thing, job)).execution
    assert (queued.status, queued.version_number, queued.execution_number) == ("QUEUED", 1, 1)
    assert queued.job_document["operation"] == "restart-agent"

    begun = start_next(thing)
    assert (begun.job_id, begun.thing_name, begun.status) == (job, thing.device, "IN_PROGRESS")
    assert (begun.version_number, begun.status_details) == (2, {"step": "begun"})
    assert begun.started_at is not None
    assert pending(thing) == ([job], [])
    assert start_next(thing).job_id == job, "what has begun is handed out again"

    ended = taken(
        update(
            thing,
            job,
            "SUCCEEDED",
            expected_version=2,
            status_details={"restarted": "true"},
            include_job_execution_state=True,
            include_job_document=True,
        )
    )
    assert (ended.execution_state.status, ended.execution_state.version_number) == ("SUCCEEDED", 3)
    assert ended.execution_state.status_details == {"restarted": "true"}
    assert ended.job_document["operation"] == "restart-agent"
    assert pending(thing) == ([], [])
    assert things.status(job, thing.device) == "SUCCEEDED"


def test_an_update_of_an_older_version_is_told_the_present_state(things: Things, thing: AwsClient) -> None:
    job = things.job(thing.device)
    start_next(thing)
    conflict = refused(update(thing, job, "SUCCEEDED", expected_version=1))
    assert conflict.code == "VersionMismatch"
    assert (conflict.execution_state.status, conflict.execution_state.version_number) == ("IN_PROGRESS", 2)
    again = update(thing, job, "FAILED", expected_version=conflict.execution_state.version_number)
    taken(again)
    assert things.status(job, thing.device) == "FAILED"


def test_what_has_ended_stays_as_it_is(things: Things, thing: AwsClient) -> None:
    job = things.job(thing.device)
    start_next(thing)
    taken(update(thing, job, "REJECTED"))
    assert things.status(job, thing.device) == "REJECTED"
    after = refused(update(thing, job, "IN_PROGRESS"))
    assert after.code in ("TerminalStateReached", "InvalidStateTransition")
    assert after.execution_state.status == "REJECTED"


def test_a_job_of_somebody_else_is_not_there(things: Things, thing: AwsClient) -> None:
    other = things.job(things.client(next(NAMES)).device)
    assert refused(describe(thing, other)).code == "ResourceNotFound"
    assert refused(update(thing, other, "SUCCEEDED")).code == "ResourceNotFound"
    assert refused(describe(thing, "no-such-job")).code == "ResourceNotFound"


def test_a_state_that_only_the_cloud_sets_is_refused(things: Things, thing: AwsClient) -> None:
    job = things.job(thing.device)
    start_next(thing)
    assert refused(update(thing, job, "CANCELED")).code == "InvalidRequest"
    assert refused(update(thing, job, "NO_SUCH_STATE")).code == "InvalidRequest"
    taken(update(thing, job, "SUCCEEDED", step_timeout_in_minutes=5))


def test_what_comes_next_is_told_and_a_cancelled_job_is_not(things: Things, thing: AwsClient) -> None:
    request = NextJobExecutionChangedSubscriptionRequest(thing_name=thing.device)
    heads = Stream[NextJobExecutionChangedEvent]().open(
        lambda options: thing.jobs.create_next_job_execution_changed_stream(request, options)
    )
    lists = Stream[JobExecutionsChangedEvent]().open(
        lambda options: thing.jobs.create_job_executions_changed_stream(
            JobExecutionsChangedSubscriptionRequest(thing_name=thing.device), options
        )
    )
    first = things.job(thing.device)
    told = heads.until(lambda event: event.execution is not None).execution
    assert (told.job_id, told.status, told.job_document["operation"]) == (first, "QUEUED", "restart-agent")
    second = things.job(thing.device)
    both = lists.until(lambda event: len(event.jobs.get("QUEUED", [])) == 2)
    assert [each.job_id for each in both.jobs["QUEUED"]] == [first, second]
    things.cancel(first)
    assert heads.until(lambda event: event.execution is not None).execution.job_id == second
    assert refused(update(thing, first, "SUCCEEDED")).execution_state.status == "CANCELED"
    things.cancel(second)
    heads.until(lambda event: event.execution is None)
    assert lists.until(lambda event: not any(event.jobs.values())).jobs == {}
