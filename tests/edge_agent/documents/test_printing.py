"""The core of a print job: its table, each answer of the world, each restart, and a power cut anywhere."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.documents import PrintOutcome
from contract.errors import IllegalTransitionError
from edge_agent.documents import printing as p
from edge_agent.documents.printer import ENDED, JobState, PrinterJob
from edge_agent.documents.printing import PAPER, Printing, Record, State

DOC, JOB, SHA, SIZE = "doc-1", "print-doc-1", "ab" * 32, 40_000
OK = p.Fetched(SHA, SIZE)
TIMEOUT_S = 120.0


def core(state: State | None = None, ipp_job_id: int | None = None) -> Printing:
    known = None if state is None else Record(DOC, JOB, state, ipp_job_id)
    return Printing(job=JOB, document=DOC, sha256=SHA, size=SIZE, known=known, timeout_s=TIMEOUT_S)


def seen(state: JobState, *reasons: str, sheets: int | None = None, number: int = 7) -> PrinterJob:
    return PrinterJob(number, DOC, state, reasons, sheets)


def printing_core() -> Printing:
    """A core whose paper the printer has taken, at time 0."""
    c = core()
    for event in (p.Began(), OK, p.PrinterSeen(True), p.Accepted(7)):
        c.handle(event, 0.0)
    assert c.record.state == State.PRINTING
    return c


def end_of(effects: list[p.Effect]) -> tuple[State, PrintOutcome]:
    """The state that was kept and the outcome that was told, by the last effects of a job."""
    wipe, keep, tell, finish = effects[-4:]
    assert isinstance(wipe, p.Wipe)
    assert isinstance(keep, p.Keep)
    assert isinstance(tell, p.Tell)
    assert isinstance(finish, p.Finish)
    assert tell.outcome == finish.outcome
    return keep.record.state, tell.outcome


# The table.


def test_every_pair_that_is_not_in_the_table_is_refused() -> None:
    legal = {(state, event) for state, events in PAPER.edges.items() for event in events}
    for state in PAPER.states:
        for event in PAPER.events:
            if (state, event) not in legal:
                with pytest.raises(IllegalTransitionError):
                    PAPER.apply(state, event)
    assert {state.value for state in State} == set(PAPER.states)
    assert PAPER.ends == {"printed", "not-printed"}


# The calm story.


def test_the_ledger_is_written_before_the_printer_gets_a_byte() -> None:
    c = core()
    assert c.handle(p.Began(), 0.0) == [p.Fetch()]
    assert c.handle(OK, 0.1) == [p.Keep(Record(DOC, JOB, State.FETCHED)), p.Check()]
    assert c.handle(p.PrinterSeen(True), 0.1) == [
        p.Keep(Record(DOC, JOB, State.SPOOLING)),
        p.Tell(PrintOutcome.PRINTING),
        p.Spool(),
    ]
    assert c.handle(p.Accepted(7), 0.2) == [p.Wipe(), p.Keep(Record(DOC, JOB, State.PRINTING, 7))]
    assert c.deadline() == pytest.approx(0.2 + p.POLL_FAST_S)
    assert c.handle(p.TimePassed(), 0.45) == [p.AskJob(7)]
    assert c.handle(p.JobSeen(seen(JobState.PROCESSING)), 0.45) == []
    c.handle(p.TimePassed(), 0.7)
    done = c.handle(p.JobSeen(seen(JobState.COMPLETED, "job-completed-successfully", sheets=1)), 0.7)
    assert done == [
        p.Wipe(),
        p.Keep(Record(DOC, JOB, State.PRINTED, 7)),
        p.Tell(PrintOutcome.PRINTED, 7, 9, ("job-completed-successfully",), 1),
        p.Finish(PrintOutcome.PRINTED, "printed"),
    ]
    assert c.deadline() is None
    assert c.handle(p.TimePassed(), 9.0) == []


def test_polls_grow_slow_after_a_while() -> None:
    c = printing_core()
    c.handle(p.TimePassed(), 20.0)
    c.handle(p.JobSeen(seen(JobState.PROCESSING)), 20.0)
    assert c.deadline() == 20.0 + p.POLL_SLOW_S


# Before the bytes go, whatever goes wrong ends with no paper.


@pytest.mark.parametrize(
    "events",
    [
        (p.Fetched("00" * 32, SIZE),),
        (p.Fetched(SHA, SIZE - 1),),
        (OK, p.PrinterSeen(False, ("media-empty",))),
        (OK, p.PrinterSeen(False)),
        (OK, p.Silent("no answer")),
        (OK, p.PrinterSeen(True), p.SpoolRefused("busy")),
        (OK, p.Failed("disk full", (p.Check(),))),
        (OK, p.PrinterSeen(True), p.Failed("disk full", (p.Tell(PrintOutcome.PRINTING), p.Spool()))),
        (OK, p.PrinterSeen(True), p.Failed("outbox full", (p.Spool(),))),
    ],
)
def test_nothing_was_sent(events: tuple[p.Event, ...]) -> None:
    c = core()
    c.handle(p.Began(), 0.0)
    effects: list[p.Effect] = []
    for event in events:
        effects = c.handle(event, 1.0)
    assert end_of(effects) == (State.NOT_PRINTED, PrintOutcome.NOT_PRINTED)
    assert not any(isinstance(effect, p.Spool) for effect in effects)


def test_late_bytes_are_waited_for_and_refused_ones_only_for_a_moment() -> None:
    for final, ends_s in ((False, TIMEOUT_S / 2), (True, p.REFUSALS_S)):
        c, now = core(), 0.0
        effects = c.handle(p.Began(), now)
        while effects == [p.Fetch()]:
            effects = c.handle(p.NotFetched("no", final=final), now)
            if not effects:
                now = c.deadline() or 0.0
                effects = c.handle(p.TimePassed(), now)
        assert end_of(effects) == (State.NOT_PRINTED, PrintOutcome.NOT_PRINTED)
        assert ends_s - 2 * p.FETCH_AGAIN_S <= now <= ends_s


# After the bytes have gone.


@pytest.mark.parametrize(
    ("job", "state"),
    [
        (seen(JobState.COMPLETED, sheets=1), State.PRINTED),
        (seen(JobState.COMPLETED), State.PRINTED),
        (seen(JobState.COMPLETED, "job-completed-with-errors", sheets=1), State.IN_DOUBT),
        (seen(JobState.CANCELED, sheets=0), State.NOT_PRINTED),
        (seen(JobState.ABORTED, sheets=0), State.NOT_PRINTED),
        (seen(JobState.CANCELED, sheets=1), State.IN_DOUBT),
        (seen(JobState.ABORTED), State.IN_DOUBT),
    ],
)
def test_the_printers_word_decides(job: PrinterJob, state: State) -> None:
    c = printing_core()
    c.handle(p.TimePassed(), 1.0)
    assert end_of(c.handle(p.JobSeen(job), 1.0)) == (state, p.OUTCOMES[state])


def test_a_held_job_is_given_up_at_its_time_and_then_asked_once_more() -> None:
    c = printing_core()
    c.handle(p.TimePassed(), TIMEOUT_S)
    held = p.JobSeen(seen(JobState.STOPPED, "media-empty", sheets=0))
    assert c.handle(held, TIMEOUT_S) == [p.GiveUp(7)]
    assert c.handle(p.TimePassed(), TIMEOUT_S + 1) == [p.AskJob(7)]
    assert c.handle(p.JobSeen(seen(JobState.PROCESSING, "processing-to-stop-point")), TIMEOUT_S + 1) == []
    late = TIMEOUT_S + p.CANCEL_SETTLES_S
    c.handle(p.TimePassed(), late)
    assert end_of(c.handle(held, late)) == (State.IN_DOUBT, PrintOutcome.IN_DOUBT)


def test_a_printer_that_falls_silent_is_asked_until_the_time_is_up() -> None:
    c, now = printing_core(), 1.0
    effects: list[p.Effect] = []
    while not effects:
        assert c.handle(p.TimePassed(), now) == [p.AskJob(7)]
        effects = c.handle(p.Silent("no answer"), now)
        now = c.deadline() or now
    assert now >= TIMEOUT_S
    assert end_of(effects) == (State.IN_DOUBT, PrintOutcome.IN_DOUBT)


def test_a_sending_that_broke_off_is_looked_for_by_name_and_never_repeated() -> None:
    c = core()
    for event in (p.Began(), OK, p.PrinterSeen(True)):
        c.handle(event, 0.0)
    assert c.handle(p.Silent("broke off"), 1.0) == []
    assert c.handle(p.TimePassed(), 2.0) == [p.AskByName()]
    assert c.handle(p.JobsSeen(()), 2.0) == []
    assert c.handle(p.TimePassed(), 3.0) == [p.AskByName()]
    assert c.handle(p.JobsSeen((seen(JobState.PROCESSING),)), 3.0) == [
        p.Wipe(),
        p.Keep(Record(DOC, JOB, State.PRINTING, 7)),
    ]
    assert c.handle(p.TimePassed(), 4.0) == [p.AskJob(7)]


def test_a_sending_that_broke_off_and_left_no_trace_is_in_doubt() -> None:
    c = core()
    for event in (p.Began(), OK, p.PrinterSeen(True), p.Silent("broke off")):
        c.handle(event, 0.0)
    c.handle(p.TimePassed(), p.SPOOL_SETTLES_S)
    assert end_of(c.handle(p.JobsSeen(()), p.SPOOL_SETTLES_S)) == (State.IN_DOUBT, PrintOutcome.IN_DOUBT)


def test_a_printer_that_counts_from_one_again_is_asked_by_name() -> None:
    for answer in (None, replace(seen(JobState.COMPLETED, sheets=1), name="somebody-else")):
        c = printing_core()
        c.handle(p.TimePassed(), 1.0)
        assert c.handle(p.JobSeen(answer), 1.0) == [p.AskByName()]
        assert end_of(c.handle(p.JobsSeen(()), 1.0)) == (State.IN_DOUBT, PrintOutcome.IN_DOUBT)


def test_a_ledger_that_fails_after_the_bytes_have_gone_stops_nothing() -> None:
    c = printing_core()
    c.handle(p.TimePassed(), 1.0)
    effects = c.handle(p.JobSeen(seen(JobState.COMPLETED, sheets=1)), 1.0)
    assert c.handle(p.Failed("disk full", tuple(effects[2:])), 1.0) == effects[2:]


# Every restart has a written answer.


@pytest.mark.parametrize(
    ("state", "ipp_job_id", "first"),
    [
        (None, None, [p.Fetch()]),
        (State.WANTED, None, [p.Fetch()]),
        (State.FETCHED, None, [p.Fetch()]),
        (State.SPOOLING, None, [p.AskByName()]),
        (State.PRINTING, 7, [p.AskJob(7)]),
        (State.PRINTING, None, [p.AskByName()]),
    ],
)
def test_restart_in_the_middle(state: State | None, ipp_job_id: int | None, first: list[p.Effect]) -> None:
    assert core(state, ipp_job_id).handle(p.Began(), 0.0) == first


@pytest.mark.parametrize("state", [State.PRINTED, State.NOT_PRINTED, State.IN_DOUBT])
def test_a_duplicate_is_answered_from_the_ledger(state: State) -> None:
    tell, finish = core(state, 7).handle(p.Began(), 0.0)
    assert tell == p.Tell(p.OUTCOMES[state], ipp_job_id=7)
    assert isinstance(finish, p.Finish)
    assert finish.outcome == p.OUTCOMES[state]


def test_after_a_restart_while_sending_the_printer_is_never_sent_the_paper_again() -> None:
    found = core(State.SPOOLING)
    found.handle(p.Began(), 0.0)
    effects = found.handle(p.JobsSeen((seen(JobState.COMPLETED, sheets=1),)), 0.0)
    assert end_of(effects) == (State.PRINTED, PrintOutcome.PRINTED)
    lost = core(State.SPOOLING)
    lost.handle(p.Began(), 0.0)
    assert lost.handle(p.JobsSeen(()), 0.0) == []
    lost.handle(p.TimePassed(), p.SPOOL_SETTLES_S)
    assert end_of(lost.handle(p.JobsSeen(()), p.SPOOL_SETTLES_S)) == (State.IN_DOUBT, PrintOutcome.IN_DOUBT)


@pytest.mark.parametrize(
    ("answer", "state", "again"),
    [
        (p.JobsSeen((seen(JobState.COMPLETED, sheets=1),)), State.PRINTED, False),
        (p.JobsSeen((seen(JobState.ABORTED, sheets=0),)), State.NOT_PRINTED, False),
        (p.JobsSeen((seen(JobState.CANCELED, sheets=1),)), State.IN_DOUBT, False),
        (p.JobsSeen((seen(JobState.PROCESSING),)), State.IN_DOUBT, True),
        (p.JobsSeen(()), State.IN_DOUBT, False),
        (p.Silent("no answer"), State.IN_DOUBT, True),
    ],
)
def test_doubt_is_left_only_by_the_printers_clear_word(answer: p.Event, state: State, again: bool) -> None:
    c = core(State.IN_DOUBT, 7)
    assert c.handle(p.Reconsidered(), 0.0) == [p.AskByName()]
    effects = c.handle(answer, 0.0)
    assert c.record.state == state
    finish = effects[-1]
    assert isinstance(finish, p.Finish)
    assert (finish.outcome, finish.again) == (p.OUTCOMES[state], again)
    assert (state == State.IN_DOUBT) == (len(effects) == 1)


# A power cut anywhere, and any faults.


@dataclass
class World:
    """A printer and a disk that outlive the kiosk; the kiosk is cut off after `cut` effects."""

    ledger: dict[str, Record] = field(default_factory=dict)
    told: list[PrintOutcome] = field(default_factory=list)
    jobs: list[PrinterJob] = field(default_factory=list)
    sheets: int = 0
    now: float = 0.0
    held: bool = False
    silent: bool = False
    swallow: bool = False
    forgetful: bool = False

    def work(self) -> None:
        """The mechanics: one page a look, unless it is held up."""
        for i, job in enumerate(self.jobs):
            if job.state not in ENDED and not self.held:
                self.sheets += 1
                self.jobs[i] = replace(job, state=JobState.COMPLETED, sheets=1)

    def do(self, effect: p.Effect) -> p.Event | None:
        match effect:
            case p.Keep(record):
                self.ledger[record.document] = record
            case p.Tell(outcome):
                self.told.append(outcome)
            case p.Fetch():
                return OK
            case p.Check():
                return p.Silent("") if self.silent else p.PrinterSeen(True)
            case p.Spool():
                assert self.ledger[DOC].state == State.SPOOLING, "the ledger comes first"
                if self.silent:
                    return p.SpoolRefused("off")
                self.jobs.append(PrinterJob(len(self.jobs) + 1, DOC, JobState.PROCESSING, (), 0))
                return p.Silent("broke off") if self.swallow else p.Accepted(len(self.jobs))
            case p.AskJob(number):
                self.work()
                found = next((job for job in self.jobs if job.ipp_job_id == number), None)
                return p.Silent("") if self.silent else p.JobSeen(None if self.forgetful else found)
            case p.AskByName():
                self.work()
                return p.Silent("") if self.silent else p.JobsSeen(() if self.forgetful else tuple(self.jobs))
            case p.GiveUp(number):
                self.jobs = [
                    replace(job, state=JobState.CANCELED)
                    if job.ipp_job_id == number and job.state not in ENDED
                    else job
                    for job in self.jobs
                ]
            case p.Wipe() | p.Finish():
                pass
        return None

    def live(self, cut: int | None, first: p.Event | None = None) -> bool:
        """Run the job until it is over or the power is cut; whether it is over."""
        c = Printing(
            job=JOB, document=DOC, sha256=SHA, size=SIZE, known=self.ledger.get(DOC), timeout_s=TIMEOUT_S
        )
        event: p.Event = first or p.Began()
        done = 0
        while True:
            answer: p.Event | None = None
            for effect in c.handle(event, self.now):
                if cut is not None and done >= cut:
                    return False
                done += 1
                answer = self.do(effect)
                if isinstance(effect, p.Finish):
                    return True
            if answer is None:
                deadline = c.deadline()
                assert deadline is not None
                self.now = max(self.now, deadline)
                answer = p.TimePassed()
            event = answer

    def check(self) -> None:
        """What must hold whatever happened."""
        state = self.ledger[DOC].state
        assert self.sheets <= 1, "printed twice"
        assert len(self.jobs) <= 1, "sent twice"
        assert self.told[-1] == p.OUTCOMES[state]
        if state == State.PRINTED:
            assert self.sheets == 1
        if state == State.NOT_PRINTED:
            self.held = False
            self.work()
            assert self.sheets == 0


@pytest.mark.parametrize("cut", range(16))
def test_a_power_cut_after_each_effect_of_the_calm_story(cut: int) -> None:
    world = World()
    over = world.live(cut)
    assert over == (cut >= 13), "the calm story has 13 effects"
    world.live(None)
    world.check()
    # Between the ledger's word (4) and the first byte (6) nobody can know, so a person decides.
    assert world.ledger[DOC].state == (State.IN_DOUBT if cut in (4, 5) else State.PRINTED)


@settings(max_examples=300, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 14), max_size=4),
    faults=st.lists(
        st.sets(st.sampled_from(["held", "silent", "swallow", "forgetful"]), max_size=2),
        min_size=6,
        max_size=6,
    ),
)
def test_cuts_and_faults_in_any_order_print_at_most_once_and_never_lie(
    cuts: list[int], faults: list[set[str]]
) -> None:
    world = World()
    for i, cut in enumerate([*cuts, None]):
        for fault in ("held", "silent", "swallow", "forgetful"):
            setattr(world, fault, fault in faults[i])
        world.live(cut)
    world.check()
    world.held = world.silent = world.forgetful = False
    if world.ledger[DOC].state == State.IN_DOUBT:
        world.live(None, p.Reconsidered())
        if world.jobs and world.jobs[0].state == JobState.COMPLETED:
            assert world.ledger[DOC].state == State.PRINTED, "the printer knows that it came out"
    assert world.sheets <= 1
