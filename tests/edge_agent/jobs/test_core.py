"""The jobs core: begun once, resumed after a stop, reported until heard, and the cloud has the last word."""

from typing import Literal

import pytest

from contract.jobs import DETAIL_VALUE_LENGTH_MAX, DETAILS_MAX, ErrorCode, Execution, State, Status
from edge_agent.jobs.core import (
    ANSWER_WAIT_S,
    ATTEMPTS_MAX,
    OPERATION_MAX_S,
    POLL_S,
    REPORTS_MAX,
    Accepted,
    Ask,
    Attempt,
    Begin,
    Conclude,
    Connected,
    Described,
    Disconnected,
    Effect,
    Ended,
    Entry,
    GiveUp,
    Handed,
    Jobs,
    Look,
    NotBegun,
    Notified,
    Perform,
    Rejected,
    Report,
    Resume,
    Settle,
    TimePassed,
    Unanswerable,
)
from edge_agent.ports import Outcome

KNOWN = frozenset({"restart-agent", "print-document", "collect-diagnostics"})
UNSTOPPABLE = frozenset({"print-document"})
DONE = Outcome(Status.SUCCEEDED, {"sheets": "1"})


def execution(
    job: str = "job-1",
    *,
    number: int = 1,
    version: int = 2,
    operation: str = "print-document",
    status: Status = Status.IN_PROGRESS,
    seconds: int | None = None,
) -> Execution:
    return Execution(
        job_id=job,
        thing_name="kiosk-001",
        status=status,
        version_number=version,
        execution_number=number,
        queued_at=1,
        last_updated_at=1,
        job_document={"operation": operation},
        approximate_seconds_before_timed_out=seconds,
    )


def jobs(*entries: Entry) -> Jobs:
    return Jobs("boot", KNOWN, entries, UNSTOPPABLE)


def asked(core: Jobs, now: float = 0.0) -> str:
    """Connect; the token of the request that follows."""
    effects = core.handle(Connected(), now)
    asks = [effect for effect in effects if isinstance(effect, Ask)]
    assert len(asks) == 1
    return asks[0].token


def report(effects: list[Effect]) -> Report:
    found = [effect for effect in effects if isinstance(effect, Report)]
    assert len(found) == 1
    return found[0]


def look(effects: list[Effect]) -> Look:
    assert [type(effect) for effect in effects] == [Look]
    return next(effect for effect in effects if isinstance(effect, Look))


def at_work(core: Jobs) -> None:
    token = asked(core)
    core.handle(Handed(token, execution()), 1.0)
    assert core.running is not None


def done(core: Jobs) -> Report:
    at_work(core)
    return report(core.handle(Ended(("job-1", 1), DONE), 2.0))


def test_it_asks_when_connected_when_told_and_each_minute() -> None:
    core = jobs()
    token = asked(core)
    assert core.handle(Handed(token, None), 1.0) == []
    assert core.deadline() == 1.0 + POLL_S
    assert [type(e) for e in core.handle(Notified(), 5.0)] == [Ask]
    core.handle(Handed("boot-2", None), 6.0)
    assert [type(e) for e in core.handle(TimePassed(), 6.0 + POLL_S)] == [Ask]


def test_it_does_not_ask_while_the_link_is_down() -> None:
    core = jobs()
    assert core.handle(Notified(), 1.0) == []
    assert core.deadline() is None


def test_a_job_is_written_down_before_it_is_begun() -> None:
    core = jobs()
    assert core.handle(Handed(asked(core), execution()), 1.0) == [Begin(execution()), Perform(execution())]


def test_while_one_runs_no_other_is_asked_for_only_how_that_one_stands() -> None:
    core = jobs()
    at_work(core)
    assert look(core.handle(Notified(), 2.0)).key == ("job-1", 1)
    assert [type(e) for e in core.handle(TimePassed(), 2.0 + 10 * POLL_S)] == [Look]


def test_an_outcome_is_written_down_before_it_is_reported() -> None:
    core = jobs()
    at_work(core)
    conclude, told = core.handle(Ended(("job-1", 1), DONE), 2.0)
    assert conclude == Conclude(("job-1", 1), DONE)
    assert isinstance(told, Report)
    assert (told.job, told.update.status, told.update.expected_version) == ("job-1", Status.SUCCEEDED, 2)


def test_an_accepted_report_settles_and_asks_for_the_next() -> None:
    core = jobs()
    told = done(core)
    effects = core.handle(Accepted(told.update.client_token), 3.0)
    assert effects[0] == Settle(("job-1", 1), overruled=False)
    assert isinstance(effects[1], Ask)


def test_an_answer_to_another_request_settles_nothing() -> None:
    core = jobs()
    done(core)
    assert core.handle(Accepted("other"), 3.0) == []
    assert core.handle(Accepted(""), 3.0) == []
    assert core.handle(Handed("other", execution("job-2")), 3.0) == []


def test_a_report_without_an_answer_is_repeated_and_then_rests() -> None:
    core = jobs()
    done(core)
    reports = 1
    while (deadline := core.deadline()) is not None and reports < 100:
        effects = core.handle(TimePassed(), deadline)
        if any(isinstance(effect, Ask) for effect in effects):
            break
        reports += len([effect for effect in effects if isinstance(effect, Report)])
    assert reports == REPORTS_MAX


def test_a_resting_report_wakes_with_a_new_connection() -> None:
    core = jobs()
    done(core)
    for n in range(20):
        core.handle(TimePassed(), 100.0 + n * ANSWER_WAIT_S)
    core.handle(Disconnected(), 1000.0)
    assert report(core.handle(Connected(), 1001.0)).job == "job-1"


def test_an_execution_that_is_handed_over_again_is_reported_and_not_repeated() -> None:
    core = jobs()
    told = done(core)
    effects = core.handle(Accepted(told.update.client_token), 3.0)
    token = next(effect.token for effect in effects if isinstance(effect, Ask))
    again = core.handle(Handed(token, execution(version=5)), 4.0)
    assert report(again).update.expected_version == 5
    assert not [effect for effect in again if isinstance(effect, Perform | Begin)]


def test_another_execution_of_the_same_job_is_done_again() -> None:
    core = jobs(Entry(execution(), 1, DONE, settled=True))
    effects = core.handle(Handed(asked(core), execution(number=2)), 1.0)
    assert effects == [Begin(execution(number=2)), Perform(execution(number=2))]


def test_a_stale_version_is_corrected_by_what_the_cloud_says() -> None:
    core = jobs()
    told = done(core)
    state = State(status=Status.IN_PROGRESS, version_number=9)
    effects = core.handle(Rejected(told.update.client_token, ErrorCode.VERSION_MISMATCH, state), 3.0)
    assert report(effects).update.expected_version == 9


@pytest.mark.parametrize(
    ("code", "state"),
    [
        (ErrorCode.VERSION_MISMATCH, State(status=Status.CANCELED, version_number=3)),
        (ErrorCode.TERMINAL_STATE_REACHED, State(status=Status.TIMED_OUT, version_number=3)),
        (ErrorCode.INVALID_STATE_TRANSITION, None),
        (ErrorCode.RESOURCE_NOT_FOUND, None),
        (ErrorCode.INVALID_REQUEST, None),
    ],
)
def test_the_cloud_has_the_last_word(code: ErrorCode, state: State | None) -> None:
    core = jobs()
    told = done(core)
    effects = core.handle(Rejected(told.update.client_token, code, state), 3.0)
    assert effects[0] == Settle(("job-1", 1), overruled=True)


@pytest.mark.parametrize("code", [ErrorCode.INTERNAL_ERROR, ErrorCode.REQUEST_THROTTLED])
def test_a_cloud_in_trouble_is_asked_again_later(code: ErrorCode) -> None:
    core = jobs()
    told = done(core)
    assert core.handle(Rejected(told.update.client_token, code, None), 3.0) == []
    assert report(core.handle(TimePassed(), 2.0 + ANSWER_WAIT_S)).job == "job-1"


@pytest.mark.parametrize("document", [None, {}, {"operation": "fly"}, {"operation": 7}])
def test_what_the_device_cannot_do_is_rejected_with_a_sentence(document: dict[str, str] | None) -> None:
    core = jobs()
    base = execution()
    strange = Execution(
        job_id="job-1",
        thing_name="kiosk-001",
        status=base.status,
        version_number=2,
        queued_at=1,
        last_updated_at=1,
        job_document=document,
    )
    effects = core.handle(Handed(asked(core), strange), 1.0)
    assert effects[0] == Begin(strange)
    update = report(effects).update
    assert update.status is Status.REJECTED
    assert "does not know the operation" in update.status_details["reason"]


def test_what_had_begun_is_resumed_at_the_next_start_before_any_connection() -> None:
    core = jobs(Entry(execution(), 1, None, settled=False))
    assert core.handle(TimePassed(), 0.0) == [Attempt(("job-1", 1), 2), Resume(execution())]


def test_what_had_ended_is_reported_at_the_next_start() -> None:
    core = jobs(Entry(execution(), 1, DONE, settled=False))
    assert core.handle(TimePassed(), 0.0) == []
    assert report(core.handle(Connected(), 1.0)).update.status is Status.SUCCEEDED


def test_an_operation_that_ends_the_agent_each_time_is_given_up() -> None:
    core = jobs(Entry(execution(), ATTEMPTS_MAX, None, settled=False))
    effects = core.handle(TimePassed(), 0.0)
    assert [type(effect) for effect in effects] == [Attempt, Conclude]
    assert isinstance(effects[1], Conclude)
    assert effects[1].outcome.status is Status.FAILED


def test_an_operation_that_does_not_end_is_given_up() -> None:
    core = jobs()
    at_work(core)
    assert core.handle(TimePassed(), OPERATION_MAX_S)[0] != GiveUp(("job-1", 1))
    effects = core.handle(TimePassed(), 1.0 + OPERATION_MAX_S)
    assert effects[0] == GiveUp(("job-1", 1))
    assert report(effects).update.status is Status.FAILED
    assert core.handle(Ended(("job-1", 1), DONE), 3000.0)[:1] != [Conclude(("job-1", 1), DONE)]


def test_a_beginning_that_the_disk_did_not_take_is_tried_later() -> None:
    core = jobs()
    at_work(core)
    assert core.handle(NotBegun(("job-1", 1)), 2.0) == []
    assert core.running is None
    effects = core.handle(TimePassed(), 2.0 + POLL_S)
    assert [type(effect) for effect in effects] == [Ask]


def test_a_rejected_request_is_made_again_later() -> None:
    core = jobs()
    token = asked(core)
    assert core.handle(Unanswerable(token), 1.0) == []
    assert core.deadline() == 1.0 + POLL_S


def test_a_request_without_an_answer_is_made_again() -> None:
    core = jobs()
    first = asked(core)
    effects = core.handle(TimePassed(), ANSWER_WAIT_S)
    assert [type(effect) for effect in effects] == [Ask]
    assert core.handle(Handed(first, execution()), ANSWER_WAIT_S + 1) == []


@pytest.mark.parametrize("status", [Status.CANCELED, Status.TIMED_OUT])
def test_an_execution_that_has_ended_already_is_left_alone(
    status: Literal[Status.CANCELED, Status.TIMED_OUT],
) -> None:
    core = jobs()
    ended = Execution(
        job_id="job-1",
        thing_name="kiosk-001",
        status=status,
        version_number=2,
        queued_at=1,
        last_updated_at=1,
    )
    assert core.handle(Handed(asked(core), ended), 1.0) == []


def test_details_are_cut_to_what_the_protocol_takes() -> None:
    core = jobs()
    at_work(core)
    details = {f"key-{n}": "x" * 2000 for n in range(20)}
    update = report(core.handle(Ended(("job-1", 1), Outcome(Status.FAILED, details)), 2.0)).update
    assert len(update.status_details) == DETAILS_MAX
    assert all(len(value) == DETAIL_VALUE_LENGTH_MAX for value in update.status_details.values())


def collecting(seconds: int | None = 300) -> tuple[Jobs, Execution]:
    """A device at work on something that can be stopped, with so many seconds by the cloud's timer."""
    core = jobs()
    handed = execution(operation="collect-diagnostics", seconds=seconds)
    core.handle(Handed(asked(core), handed), 1.0)
    return core, handed


def test_what_the_cloud_allows_is_the_devices_deadline_less_a_margin() -> None:
    core, _ = collecting(300)
    assert core.handle(TimePassed(), 1.0 + 289.9)[0:1] != [GiveUp(("job-1", 1))]
    effects = core.handle(TimePassed(), 1.0 + 290.0)
    assert effects[0] == GiveUp(("job-1", 1))
    update = report(effects).update
    assert (update.status, update.status_details["reason"]) == (
        Status.FAILED,
        "it did not end within 290 s",
    )


def test_of_a_short_time_the_margin_is_a_share() -> None:
    core, _ = collecting(60)
    assert core.deadline() == 1.0 + 54.0


@pytest.mark.parametrize("status", [Status.CANCELED, Status.TIMED_OUT, Status.REMOVED, None])
def test_what_has_ended_in_the_cloud_is_stopped_and_told_as_it_was(status: Status | None) -> None:
    core, handed = collecting()
    asking = look(core.handle(Notified(), 5.0))
    ended = None if status is None else execution(status=status)
    effects = core.handle(Described(asking.token, ended), 6.0)
    assert effects[0] == GiveUp(("job-1", 1))
    assert isinstance(effects[1], Conclude)
    update = report(effects).update
    assert update.status is Status.FAILED
    assert f"it is {status or 'unknown'} in the control plane" in update.status_details["reason"]
    rejected = core.handle(Rejected(update.client_token, ErrorCode.INVALID_STATE_TRANSITION, None), 7.0)
    assert rejected[0] == Settle(("job-1", 1), overruled=True)
    assert isinstance(rejected[1], Ask), "and then it asks for the next"
    assert core.handle(Ended(("job-1", 1), DONE), 8.0) == [], "its end counts no more"
    assert handed.job_id == "job-1"


def test_what_cannot_be_stopped_runs_to_its_end_and_says_so() -> None:
    core = jobs()
    at_work(core)
    asking = look(core.handle(Notified(), 5.0))
    assert core.handle(Described(asking.token, execution(status=Status.CANCELED)), 6.0) == []
    assert core.running is not None
    assert core.handle(TimePassed(), 6.0 + 2 * POLL_S) == [], "it has nothing more to learn"
    assert report(core.handle(Ended(("job-1", 1), DONE), 200.0)).update.status is Status.SUCCEEDED


def test_what_goes_on_in_the_cloud_goes_on_here_by_the_clouds_clock() -> None:
    core, handed = collecting(300)
    asking = look(core.handle(Notified(), 5.0))
    on = execution(operation="collect-diagnostics", seconds=100)
    assert core.handle(Described(asking.token, on), 6.0) == []
    assert core.handle(TimePassed(), 6.0 + 90.0)[0] == GiveUp(("job-1", 1))
    assert handed.approximate_seconds_before_timed_out == 300


def test_it_looks_each_minute_and_again_where_there_is_no_answer() -> None:
    core, _ = collecting()
    assert core.deadline() == 1.0 + POLL_S
    first = look(core.handle(TimePassed(), 1.0 + POLL_S))
    second = look(core.handle(TimePassed(), 1.0 + POLL_S + ANSWER_WAIT_S))
    late = core.handle(Described(first.token, execution(status=Status.CANCELED)), 80.0)
    assert late == [], "an answer to a look that was given up"
    core.handle(Unanswerable(second.token), 81.0)
    assert core.deadline() == 81.0 + POLL_S


def test_it_does_not_look_while_the_link_is_down_and_does_at_once_when_it_is_back() -> None:
    core, _ = collecting()
    core.handle(Disconnected(), 2.0)
    assert core.handle(Notified(), 3.0) == []
    assert look(core.handle(Connected(), 9.0)).key == ("job-1", 1)


def test_what_is_resumed_is_looked_at_as_soon_as_there_is_a_link() -> None:
    begun = execution(operation="collect-diagnostics", seconds=300)
    core = jobs(Entry(begun, 1, None, settled=False))
    assert [type(effect) for effect in core.handle(TimePassed(), 0.0)] == [Attempt, Resume]
    assert look(core.handle(Connected(), 1.0)).key == ("job-1", 1)
