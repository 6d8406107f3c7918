"""Every decision about an execution."""

from datetime import UTC, datetime, timedelta

import pytest

from cloud.jobs import core
from cloud.jobs.core import Execution, Refusal, Repeated, Terms
from contract.jobs import BY_DEVICE, EXECUTION, ErrorCode, Request, Status, Update

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
TERMS = Terms(queued_expiry=timedelta(hours=1), in_progress_timeout=timedelta(minutes=10), retries=1)


def queued(order: int = 1) -> Execution:
    return core.queued(f"job-{order}", order, TERMS, NOW)


def begun(order: int = 1) -> Execution:
    after = core.start(queued(order), Request(), NOW)
    assert isinstance(after, Execution)
    return after


def updated(execution: Execution, status: Status, at: datetime = NOW) -> Execution:
    after = core.update(execution, Update(status=status), at)
    assert isinstance(after, Execution)
    return after


def test_what_was_begun_comes_before_what_has_waited_longest() -> None:
    assert core.next_of([]) is None
    assert core.next_of([queued(2), queued(1)]) == queued(1)
    assert core.next_of([queued(1), begun(2)]) == begun(2)
    assert core.next_of([updated(begun(1), Status.SUCCEEDED), queued(3)]) == queued(3)


def test_to_start_takes_the_details_and_sets_the_timer() -> None:
    later = NOW + timedelta(minutes=3)
    after = core.start(queued(), Request(status_details={"step": "one"}), later)
    assert isinstance(after, Execution)
    assert (after.status, after.version, after.details) == (Status.IN_PROGRESS, 2, {"step": "one"})
    assert (after.started_at, after.deadline) == (later, later + timedelta(minutes=10))


def test_to_start_again_changes_nothing() -> None:
    assert core.start(begun(), Request(status_details={"again": "yes"}), NOW) == begun()


def test_a_step_timer_shortens_the_deadline_and_never_lengthens_it() -> None:
    short = core.start(queued(), Request(step_timeout_in_minutes=2), NOW)
    assert isinstance(short, Execution)
    assert short.deadline == NOW + timedelta(minutes=2)
    wish = Update(status=Status.IN_PROGRESS, step_timeout_in_minutes=60)
    longer = core.update(short, wish, NOW + timedelta(minutes=1))
    assert isinstance(longer, Execution)
    assert longer.deadline == NOW + timedelta(minutes=10)


@pytest.mark.parametrize("status", list(BY_DEVICE))
@pytest.mark.parametrize("before", [queued(), begun()])
def test_a_device_may_report_each_of_its_states(before: Execution, status: Status) -> None:
    after = updated(before, status)
    assert after.status is status
    assert after.version == before.version + 1
    assert (after.deadline is None) == (status.value in EXECUTION.ends)


@pytest.mark.parametrize("status", sorted(set(Status) - set(BY_DEVICE)))
def test_a_device_may_not_set_the_states_of_the_cloud(status: Status) -> None:
    refused = core.update(begun(), Update(status=status), NOW)
    assert isinstance(refused, Refusal)
    assert refused.code is ErrorCode.INVALID_REQUEST


def test_an_old_version_is_refused_and_the_current_state_told() -> None:
    refused = core.update(begun(), Update(status=Status.SUCCEEDED, expected_version=1), NOW)
    assert refused == Refusal(ErrorCode.VERSION_MISMATCH, "the version is 2", begun())


def test_an_end_is_never_left() -> None:
    ended = updated(begun(), Status.SUCCEEDED)
    refused = core.update(ended, Update(status=Status.FAILED), NOW)
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.current) == (ErrorCode.INVALID_STATE_TRANSITION, ended)
    assert core.cancel(ended, NOW, force=True) == ended
    assert core.expire(ended, NOW + timedelta(days=9)) == ended


def test_the_same_end_reported_twice_is_confirmed_twice() -> None:
    ended = updated(begun(), Status.SUCCEEDED)
    for expected in (None, ended.version - 1):
        again = core.update(ended, Update(status=Status.SUCCEEDED, expected_version=expected), NOW)
        assert again == Repeated(ended)
    other = Update(status=Status.SUCCEEDED, status_details={"other": "details"})
    assert isinstance(core.update(ended, other, NOW), Refusal)


@pytest.mark.parametrize(
    "wish",
    [
        Update(status=Status.FAILED, status_details={str(n): "" for n in range(11)}),
        Update(status=Status.FAILED, status_details={"k" * 129: ""}),
        Update(status=Status.FAILED, status_details={"": ""}),
        Update(status=Status.FAILED, status_details={"k": "v" * 1025}),
        Update(status=Status.FAILED, client_token="t" * 65),
        Update(status=Status.FAILED, step_timeout_in_minutes=0),
        Update(status=Status.FAILED, step_timeout_in_minutes=10_081),
    ],
)
def test_what_is_out_of_bounds_is_refused(wish: Update) -> None:
    refused = core.update(begun(), wish, NOW)
    assert isinstance(refused, Refusal)
    assert refused.code is ErrorCode.INVALID_REQUEST


def test_another_try_of_the_execution_is_not_updated() -> None:
    refused = core.update(begun(), Update(status=Status.FAILED, execution_number=2), NOW)
    assert isinstance(refused, Refusal)
    assert refused.code is ErrorCode.RESOURCE_NOT_FOUND


@pytest.mark.parametrize(
    ("execution", "limit"), [(queued(), timedelta(hours=1)), (begun(), timedelta(minutes=10))]
)
def test_every_wait_has_an_end(execution: Execution, limit: timedelta) -> None:
    assert core.expire(execution, NOW + limit - timedelta(seconds=1)) == execution
    ended = core.expire(execution, NOW + limit)
    assert (ended.status, ended.deadline) == (Status.TIMED_OUT, None)


def test_only_failures_and_time_outs_are_tried_again_and_not_for_ever() -> None:
    failed = updated(begun(), Status.FAILED)
    second = core.retry(failed, 9, NOW)
    assert second is not None
    assert (second.number, second.retries_left, second.status) == (2, 0, Status.QUEUED)
    assert core.retry(updated(second, Status.FAILED), 10, NOW) is None
    assert core.retry(updated(begun(), Status.REJECTED), 9, NOW) is None
    assert core.retry(core.cancel(begun(), NOW, force=True), 9, NOW) is None
    assert core.retry(core.expire(queued(), NOW + timedelta(hours=1)), 9, NOW) is not None


def test_a_plain_cancel_leaves_what_has_begun_and_lets_nothing_be_tried_again() -> None:
    assert core.cancel(queued(), NOW, force=False).status is Status.CANCELED
    spared = core.cancel(begun(), NOW, force=False)
    assert (spared.status, spared.version, spared.deadline) == (
        Status.IN_PROGRESS,
        begun().version,
        begun().deadline,
    )
    assert core.retry(updated(spared, Status.FAILED), 9, NOW) is None
    assert core.cancel(begun(), NOW, force=True).status is Status.CANCELED


@pytest.mark.parametrize("before", [queued(), begun()])
def test_what_a_device_had_to_do_is_removed_when_it_leaves(before: Execution) -> None:
    gone = core.remove(before, NOW)
    assert (gone.status, gone.deadline) == (Status.REMOVED, None)
    assert core.remove(gone, NOW) == gone
    assert core.retry(gone, 9, NOW) is None


def test_a_step_timer_starts_anew_with_each_update_that_names_it_and_with_no_other() -> None:
    short = core.start(queued(), Request(step_timeout_in_minutes=2), NOW)
    assert isinstance(short, Execution)
    one = NOW + timedelta(minutes=1)
    again = core.update(short, Update(status=Status.IN_PROGRESS, step_timeout_in_minutes=2), one)
    assert isinstance(again, Execution)
    assert again.deadline == one + timedelta(minutes=2)
    silent = core.update(short, Update(status=Status.IN_PROGRESS), one)
    assert isinstance(silent, Execution)
    assert silent.deadline == short.deadline
    taken_away = core.update(short, Update(status=Status.IN_PROGRESS, step_timeout_in_minutes=-1), one)
    assert isinstance(taken_away, Execution)
    assert taken_away.deadline == NOW + timedelta(minutes=10)


def test_a_device_is_told_how_long_it_may_work_on_and_never_less_than_nothing() -> None:
    assert core.seconds_left(queued(), NOW) is None
    assert core.seconds_left(begun(), NOW) == 600
    assert core.seconds_left(begun(), NOW + timedelta(seconds=599.5)) == 0
    assert core.seconds_left(begun(), NOW + timedelta(days=1)) == 0
    assert core.seconds_left(updated(begun(), Status.FAILED), NOW) is None


def test_how_a_device_really_ended_is_noted_where_the_control_plane_was_first() -> None:
    done = Update(status=Status.SUCCEEDED, status_details={"sheets": "1"})
    for ended in (core.cancel(begun(), NOW, force=True), core.expire(begun(), NOW + timedelta(hours=1))):
        assert core.afterwards(ended, done) == {"status": "SUCCEEDED", "details": {"sheets": "1"}}
        assert core.afterwards(ended, Update(status=Status.IN_PROGRESS)) is None
        assert core.afterwards(ended, Update(status=Status.SUCCEEDED, execution_number=2)) is None
        assert core.afterwards(ended, Update(status=Status.FAILED, status_details={"": ""})) is None
    assert core.afterwards(core.cancel(queued(), NOW, force=False), done) is None, "it never began"
    assert core.afterwards(updated(begun(), Status.FAILED), done) is None, "the device has said it itself"
