"""What the captioner decides: when nothing may go out, how lines are numbered, what follows a failure."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.captions import SITTING, CaptionState, SetSitting
from edge_agent.captions.bearing import Moment
from edge_agent.captions.child_protocol import Failed, Guess, Heard, Message, Ready, Said
from edge_agent.captions.core import (
    LOADING_S_MAX,
    MICROPHONE_BACKOFF_S,
    RECOGNISER_BACKOFF_S,
    RESEND_S,
    SILENT_S_MAX,
    STABLE_S,
    UNSENT_MAX,
    Answer,
    Captioner,
    DropSound,
    Effect,
    FinalRefused,
    KeepSound,
    LeaveOut,
    MarkGap,
    MicrophoneHeard,
    MicrophoneLost,
    Note,
    NotRemembered,
    RecogniserLost,
    RecogniserSpoke,
    Remember,
    SendFinal,
    ShowPartial,
    SittingSet,
    Started,
    StartMicrophone,
    StartRecogniser,
    StopRecogniser,
    TellSitting,
    TellTime,
    TimePassed,
    TimeTold,
)
from edge_agent.captions.memory import SITTINGS_MAX, Memory, Sitting

RATE = 48_000
OPENED_AT = 1_790_000_000_000


def told(state: str = "open", version: int = 1, session: str = "s1", lang: str = "en") -> SetSitting:
    return SetSitting(
        session=session, channel="floor", state=state, version=version, lang=lang, opened_at=OPENED_AT
    )


def set_to(sitting: SetSitting, position: int = 0) -> SittingSet:
    return SittingSet(sitting, position)


def time_is(ms: int, position: int = 0, uncertain_ms: int = 0) -> TimeTold:
    """The server says that it is so many ms after the opening."""
    return TimeTold(position, Moment(OPENED_AT + ms, OPENED_AT + ms + uncertain_ms))


def guess(text: str, start: int = 0, end: int = RATE, stable: int = 0) -> Guess:
    return Guess(start=start, end=end, text=text, stable=stable)


def said(text: str, start: int = 0, end: int = RATE) -> Said:
    return Said(start=start, end=end, text=text)


class Hall:
    """A captioner that has started, with a clock."""

    def __init__(
        self, memory: Memory | None = None, languages: tuple[str, ...] = ("en",), *, timed: bool = True
    ) -> None:
        self.captioner = Captioner(memory or Memory(), languages, RATE)
        self.now = 100.0
        self.generation = 0
        self.memory = memory or Memory()
        self.effects = self.tell(Started())
        if timed:
            self.effects += self.tell(time_is(0))

    def tell(self, event: object) -> list[Effect]:
        effects = self.captioner.handle(event, self.now)  # type: ignore[arg-type]  # any event
        for effect in effects:
            if isinstance(effect, StartRecogniser):
                self.generation = effect.generation
            if isinstance(effect, Remember):
                self.memory = effect.memory
        return effects

    def hear(self, message: Message) -> list[Effect]:
        return self.tell(RecogniserSpoke(self.generation, message))

    def wait(self) -> list[Effect]:
        """Until the next deadline."""
        deadline = self.captioner.deadline()
        assert deadline is not None
        self.now = deadline
        return self.tell(TimePassed())


def open_hall() -> Hall:
    hall = Hall()
    hall.tell(set_to(told()))
    hall.hear(Ready(engine="test"))
    return hall


def kinds(effects: list[Effect]) -> list[type]:
    return [type(effect) for effect in effects]


def only(effects: list[Effect], kind: type) -> object:
    (found,) = [effect for effect in effects if isinstance(effect, kind)]
    return found


def final(effects: list[Effect]) -> SendFinal:
    effect = only(effects, SendFinal)
    assert isinstance(effect, SendFinal)
    return effect


def partial(effects: list[Effect]) -> ShowPartial:
    effect = only(effects, ShowPartial)
    assert isinstance(effect, ShowPartial)
    return effect


# Sittings


def test_the_microphone_runs_from_the_start_and_nothing_is_recognised():
    assert kinds(Hall().effects) == [StartMicrophone, TellTime]


def test_an_open_sitting_is_remembered_before_anything_is_heard():
    effects = Hall().tell(set_to(told(), position=7))
    assert kinds(effects) == [TellSitting, Remember, KeepSound, StartRecogniser, Answer]
    assert only(effects, StartRecogniser) == StartRecogniser(1, "en", 7)
    assert only(effects, Answer) == Answer("recognising en")


@pytest.mark.parametrize("state", [state for state in SITTING.states if state != "open"])
def test_a_sitting_that_is_not_open_is_not_recognised(state):
    effects = Hall().tell(set_to(told(state)))
    assert not {KeepSound, StartRecogniser} & set(kinds(effects))


@pytest.mark.parametrize("state", ["paused", "closed_to_public", "ended"])
def test_no_word_comes_out_once_a_sitting_has_closed(state):
    hall = open_hall()
    hall.hear(guess("and the name is"))
    effects = hall.tell(set_to(told(state, version=2)))
    assert kinds(effects)[:3] == [TellSitting, StopRecogniser, DropSound]
    assert not {ShowPartial, SendFinal} & set(kinds(effects))
    for late in (guess("and the name is secret"), said("And the name is secret.")):
        assert hall.hear(late) == []
    assert hall.captioner.deadline() is None


def test_it_is_not_opened_again_by_a_child_that_dies_after_closing():
    hall = open_hall()
    hall.tell(set_to(told("paused", version=2)))
    assert hall.tell(RecogniserLost(hall.generation, "killed")) == []
    assert hall.captioner.deadline() is None


def test_a_final_that_the_link_could_not_take_is_not_sent_after_closing():
    hall = open_hall()
    line = final(hall.hear(said("One."))).segment
    hall.tell(FinalRefused(line))
    effects = hall.tell(set_to(told("closed_to_public", version=2)))
    assert only(effects, Note) == Note("captions_dropped", {"count": "1"})
    assert hall.captioner.deadline() is None
    assert hall.tell(FinalRefused(line)) == [Note("captions_dropped", {"count": "1"})]
    assert hall.captioner.finals_dropped == 2


def test_a_language_without_a_model_is_told_and_not_recognised():
    hall = Hall()
    effects = hall.tell(set_to(told(lang="sq")))
    assert StartRecogniser not in kinds(effects)
    assert only(effects, Answer) == Answer("no captions: this recorder has no model for sq, only for en")
    assert only(effects, Note) == Note("recognition_refused", {"session": "s1", "lang": "sq"})


def test_an_older_version_changes_nothing():
    hall = open_hall()
    hall.tell(set_to(told("paused", version=5)))
    assert hall.tell(set_to(told("open", version=4))) == [Answer("a newer state is known: paused, version 5")]


def test_versions_may_be_skipped_but_an_end_is_an_end():
    hall = Hall()
    hall.tell(set_to(told("planned")))
    hall.tell(set_to(told("ended", version=6)))
    effects = hall.tell(set_to(told("open", version=7)))
    assert effects == [Answer("a sitting that is ended cannot become open", refused=True)]


def test_an_unknown_state_is_refused():
    assert Hall().tell(set_to(told("secret"))) == [Answer("'secret' is no state of a sitting", refused=True)]


def test_a_new_version_of_the_same_state_does_not_interrupt():
    hall = open_hall()
    hall.hear(guess("the budget"))
    assert kinds(hall.tell(set_to(told(version=2)))) == [TellSitting, Remember, Answer]
    assert final(hall.hear(said("The budget."))).segment.text == "The budget."


def test_another_sitting_takes_the_microphone_when_it_opens():
    hall = open_hall()
    effects = hall.tell(set_to(told(session="s2")))
    assert kinds(effects) == [
        TellSitting,
        StopRecogniser,
        DropSound,
        Remember,
        KeepSound,
        StartRecogniser,
        Answer,
    ]
    hall.hear(said("Two."))
    assert hall.tell(set_to(told("ended", version=2, session="s1")))[-1] == Answer(
        "noted; the microphone belongs to another sitting"
    )
    assert final(hall.hear(said("Three."))).segment.session == "s2"


def test_an_open_sitting_goes_on_after_a_restart_of_the_agent():
    hall = open_hall()
    hall.hear(guess("unfinished"))
    again = Hall(hall.memory)
    assert kinds(again.effects) == [
        *(StartMicrophone, Note, TellSitting, LeaveOut),
        *(TellTime, Note, TellSitting, KeepSound, StartRecogniser),
    ]
    assert final(again.hear(said("One."))).segment.segment == 2


def test_a_sitting_that_another_has_replaced_is_not_taken_up_after_a_restart():
    hall = open_hall()
    hall.tell(set_to(told(session="s2")))
    hall.tell(set_to(told("ended", version=2, session="s2")))
    again = Hall(hall.memory)
    assert kinds(again.effects) == [StartMicrophone, TellSitting, TellTime]
    assert only(again.effects, TellSitting).told.state == "ended"


def test_the_memory_is_bounded():
    hall = Hall()
    for number in range(SITTINGS_MAX + 3):
        hall.tell(set_to(told(session=f"s{number}")))
    assert len(hall.memory.sittings) == SITTINGS_MAX
    assert hall.memory.sittings[-1].told.session == f"s{SITTINGS_MAX + 2}"


# Lines


def test_a_line_grows_by_revisions_and_then_stands():
    hall = open_hall()
    first = hall.hear(guess("The roof", stable=3))
    assert kinds(first) == [Remember, ShowPartial]
    assert hall.memory.sittings[-1].last_segment == 1
    second = hall.hear(guess("The roof is", stable=8))
    last = hall.hear(said("The roof is old."))
    lines = [partial(first).segment, partial(second).segment, final(last).segment]
    assert [(line.segment, line.revision, line.state) for line in lines] == [
        (1, 1, CaptionState.PARTIAL),
        (1, 2, CaptionState.PARTIAL),
        (1, 3, CaptionState.FINAL),
    ]
    assert [line.stable for line in lines] == [3, 8, len("The roof is old.")]
    assert final(hall.hear(said("Next."))).segment.segment == 2


def test_times_count_from_the_opening_of_the_sitting_by_the_server_s_clock():
    hall = Hall(timed=False)
    hall.tell(time_is(2_000, position=10 * RATE, uncertain_ms=1_000))
    hall.tell(set_to(told(), position=10 * RATE))
    line = final(hall.hear(said("Hello.", start=12 * RATE, end=14 * RATE))).segment
    # Not before and not after, with 500 ppm of 2 and of 4 seconds.
    assert (line.start_ms, line.end_ms) == (3_999, 7_002)


def test_words_are_not_dated_before_the_part_in_which_they_are_heard():
    hall = Hall(timed=False)
    hall.tell(time_is(2_000, uncertain_ms=1_000))
    part = msgspec.structs.replace(told(), changed_at=OPENED_AT + 2_800)
    hall.tell(set_to(part, position=RATE // 10))
    hall.tell(time_is(20_000, position=18 * RATE, uncertain_ms=1_000))
    line = final(hall.hear(said("Hello.", start=RATE // 10, end=RATE))).segment
    assert line.start_ms == 2_800


def test_a_clock_before_the_opening_gives_no_negative_times():
    hall = Hall(timed=False)
    hall.tell(time_is(-50_000))
    hall.tell(set_to(told()))
    assert final(hall.hear(said("Hello."))).segment.start_ms == 0


# Before the server has told its time


def test_an_open_sitting_is_recorded_at_once_after_a_restart_and_recognised_once_the_time_is_known():
    again = Hall(open_hall().memory, timed=False)
    assert again.effects == [
        StartMicrophone(),
        Note("time_awaited", {"session": "s1"}),
        TellSitting(told(), 0, None),
        LeaveOut("s1"),
    ]
    effects = again.tell(time_is(90_000, position=3 * RATE, uncertain_ms=1000))
    assert kinds(effects) == [TellTime, Note, TellSitting, KeepSound, StartRecogniser]
    assert only(effects, Note) == Note("captions_left_out", {"session": "s1", "lost_ms": "3000"})
    at = Moment(OPENED_AT + 90_000, OPENED_AT + 91_000)
    assert only(effects, TellTime) == TellTime(3 * RATE, at)
    assert only(effects, TellSitting) == TellSitting(told(), 3 * RATE, at)
    assert only(effects, StartRecogniser) == StartRecogniser(1, "en", 3 * RATE)
    assert again.tell(time_is(95_000, position=8 * RATE)) == []


@pytest.mark.parametrize("state", ["paused", "closed_to_public", "ended"])
def test_a_sitting_that_was_not_open_at_the_last_word_is_not_recorded_after_a_restart(state):
    hall = open_hall()
    hall.tell(set_to(told(state, version=2)))
    again = Hall(hall.memory, timed=False)
    assert again.effects == [StartMicrophone(), TellSitting(told(state, version=2), 0, None)]


def test_a_sitting_that_is_set_before_the_time_is_known_is_remembered_and_recorded():
    hall = Hall(timed=False)
    effects = hall.tell(set_to(told(), position=7))
    assert kinds(effects) == [Note, TellSitting, LeaveOut, Remember, Answer]
    assert only(effects, TellSitting) == TellSitting(told(), 7, None)
    assert only(effects, Answer) == Answer("recognising en as soon as the server has told its time")
    assert kinds(hall.tell(time_is(0))) == [TellTime, Note, TellSitting, KeepSound, StartRecogniser]


def test_captions_of_a_stretch_without_the_time_are_declared_once_and_only_if_there_would_be_any():
    hall = Hall(timed=False)
    assert only(hall.tell(set_to(told())), LeaveOut) == LeaveOut("s1")
    assert LeaveOut not in kinds(hall.tell(set_to(told(version=2)))), "the stretch goes on"
    hall.tell(set_to(told("paused", version=3)))
    assert LeaveOut in kinds(hall.tell(set_to(told(version=4)))), "this is another"
    hall.tell(time_is(1000))
    hall.tell(set_to(told("paused", version=5)))
    assert LeaveOut not in kinds(hall.tell(set_to(told(version=6)))), "the time is known"
    assert LeaveOut not in kinds(Hall(timed=False).tell(set_to(told(lang="xx")))), "nobody could have read it"


def test_a_sitting_that_has_closed_while_the_time_was_awaited_is_not_listened_to():
    hall = Hall(open_hall().memory, timed=False)
    assert kinds(hall.tell(set_to(told("closed_to_public", version=2)))) == [TellSitting, Remember, Answer]
    assert kinds(hall.tell(time_is(0))) == [TellTime]


def test_what_was_heard_while_a_closing_went_unheard_is_not_carried_on():
    """Version 2, which was not told, may have been a closed part."""
    hall = open_hall()
    hall.hear(guess("and the name is"))
    old = hall.generation
    assert StopRecogniser in kinds(hall.tell(set_to(told(version=3), position=RATE)))
    assert hall.tell(RecogniserSpoke(old, said("And the name is secret."))) == []


def test_what_was_no_speech_after_all_is_taken_back_and_its_number_used_again():
    hall = open_hall()
    assert hall.hear(said("")) == []
    assert hall.hear(guess("")) == []
    hall.hear(guess("Hm"))
    back = partial(hall.hear(said(""))).segment
    assert (back.segment, back.revision, back.text) == (1, 2, "")
    line = final(hall.hear(said("Hello."))).segment
    assert (line.segment, line.revision) == (1, 3)


# The recogniser


def test_a_child_that_dies_is_started_again_from_the_end_of_the_last_line():
    hall = open_hall()
    hall.hear(said("One.", end=5 * RATE))
    hall.hear(guess("two", start=6 * RATE, end=8 * RATE))
    effects = hall.tell(RecogniserLost(hall.generation, "killed"))
    assert effects == [StopRecogniser(), Note("recogniser_lost", {"reason": "killed"})]
    old = hall.generation
    assert hall.wait() == [StartRecogniser(old + 1, "en", 5 * RATE)]
    assert hall.tell(RecogniserSpoke(old, said("Ghost."))) == []
    line = final(hall.hear(said("Two.", start=6 * RATE, end=9 * RATE))).segment
    assert (line.segment, line.revision, line.text) == (2, 2, "Two.")


def test_quiet_need_not_be_heard_again():
    hall = open_hall()
    hall.hear(Heard(position=4 * RATE, quiet=False))
    hall.hear(Heard(position=9 * RATE, quiet=True))
    hall.tell(RecogniserLost(hall.generation, "killed"))
    assert hall.wait() == [StartRecogniser(2, "en", 9 * RATE)]


def test_a_child_that_dies_again_and_again_is_tried_less_and_less_often():
    hall = open_hall()
    waits = []
    for _ in range(len(RECOGNISER_BACKOFF_S) + 1):
        hall.tell(RecogniserLost(hall.generation, "no model"))
        before = hall.now
        hall.wait()
        waits.append(round(hall.now - before, 3))
    assert waits == [*RECOGNISER_BACKOFF_S, RECOGNISER_BACKOFF_S[-1]]


def test_after_a_good_time_the_backoff_begins_anew():
    hall = open_hall()
    for _ in range(3):
        hall.tell(RecogniserLost(hall.generation, "killed"))
        hall.wait()
    hall.hear(Ready(engine="test"))
    hall.now += STABLE_S + 1
    hall.tell(RecogniserLost(hall.generation, "killed"))
    assert hall.captioner.deadline() == hall.now + RECOGNISER_BACKOFF_S[0]


def test_a_child_that_hangs_is_killed_and_started_again():
    hall = open_hall()
    hall.now += 5
    hall.hear(Heard(position=RATE, quiet=True))
    assert hall.captioner.deadline() == hall.now + SILENT_S_MAX
    assert hall.wait() == [StopRecogniser(), Note("recogniser_hung", {})]
    assert hall.tell(RecogniserLost(hall.generation, "killed")) == []
    assert kinds(hall.wait()) == [StartRecogniser]
    assert hall.captioner.deadline() == hall.now + LOADING_S_MAX


def test_the_reason_of_a_child_that_gives_up_is_noted():
    assert open_hall().hear(Failed(reason="no model")) == [Note("recogniser_failed", {"reason": "no model"})]


# The microphone


def test_a_lost_microphone_leaves_a_gap_and_is_tried_again():
    hall = open_hall()
    hall.tell(MicrophoneHeard())
    effects = hall.tell(MicrophoneLost("unplugged"))
    assert effects == [MarkGap(), Note("microphone_lost", {"reason": "unplugged"})]
    assert hall.captioner.deadline() == hall.now + MICROPHONE_BACKOFF_S[0]
    assert hall.wait() == [StartMicrophone()]
    assert hall.tell(MicrophoneLost("still unplugged")) == [MarkGap()]
    assert hall.captioner.deadline() == hall.now + MICROPHONE_BACKOFF_S[1]
    hall.wait()
    assert hall.tell(MicrophoneHeard()) == [Note("microphone_returned", {})]


# A full outbox


def test_a_final_that_was_refused_is_sent_again():
    hall = open_hall()
    line = final(hall.hear(said("One."))).segment
    assert hall.tell(FinalRefused(line)) == []
    hall.now += RESEND_S
    assert hall.tell(TimePassed()) == [SendFinal(line)]


def test_a_memory_that_the_disk_refused_is_written_again_and_before_any_line():
    hall = open_hall()
    line = final(hall.hear(said("One."))).segment
    hall.tell(NotRemembered())
    hall.tell(FinalRefused(line))
    hall.now += RESEND_S
    remember, send = hall.tell(TimePassed())
    assert remember == Remember(hall.memory)
    assert hall.memory.sittings[-1].last_segment == line.segment
    assert send == SendFinal(line)
    assert hall.tell(TimePassed()) == []


def test_a_sitting_that_is_told_again_is_written_again_if_the_disk_refused_it():
    hall = open_hall()
    closed = told("closed_to_public", version=2)
    hall.tell(set_to(closed))
    hall.tell(NotRemembered())
    assert kinds(hall.tell(set_to(closed))) == [Remember, Answer]
    assert kinds(hall.tell(set_to(closed))) == [Answer]


def test_what_waits_for_the_outbox_is_bounded_and_counted():
    hall = open_hall()
    line = final(hall.hear(said("One."))).segment
    for number in range(UNSENT_MAX + 2):
        hall.tell(FinalRefused(msgspec.structs.replace(line, segment=number)))
    assert hall.captioner.finals_dropped == 2
    hall.now += RESEND_S
    first = next(effect for effect in hall.tell(TimePassed()) if isinstance(effect, SendFinal))
    assert first.segment.segment == 2


# Whatever happens

MESSAGES = st.one_of(
    st.builds(
        Guess, start=st.just(0), end=st.just(9), text=st.sampled_from(["", "a", "a b"]), stable=st.just(0)
    ),
    st.builds(Said, start=st.just(0), end=st.just(9), text=st.sampled_from(["", "a."])),
    st.builds(Heard, position=st.integers(0, 99), quiet=st.booleans()),
    st.just(Ready(engine="test")),
)
EVENTS = st.one_of(
    st.tuples(st.just("set"), st.sampled_from(SITTING.states), st.sampled_from(["s1", "s2"])),
    st.tuples(st.just("hear"), MESSAGES),
    st.tuples(st.just("hear of old"), MESSAGES),
    st.just(("die",)),
    st.just(("wait",)),
    st.just(("restart",)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_only_an_open_sitting_speaks_and_no_number_is_used_twice(events):
    hall, states, version = Hall(), {}, 0
    finished: set[tuple[str, int]] = set()
    revisions: dict[tuple[str, int], int] = {}
    current = None
    for event in events:
        match event:
            case ("set", state, session):
                version += 1
                effects = hall.tell(set_to(told(state, version, session)))
                answer = only(effects, Answer)
                assert isinstance(answer, Answer)
                if not answer.refused:
                    states[session] = state
                    current = session if state == "open" else current
            case ("hear", message):
                effects = hall.hear(message)
            case ("hear of old", message):
                effects = hall.tell(RecogniserSpoke(hall.generation - 1, message))
                assert effects == []
            case ("die",):
                effects = hall.tell(RecogniserLost(hall.generation, "killed"))
            case ("wait",):
                effects = hall.wait() if hall.captioner.deadline() is not None else []
            case _:
                generation = hall.generation
                hall = Hall(hall.memory)
                hall.generation = max(hall.generation, generation if not hall.generation else 0)
                effects = []
        for effect in effects:
            if isinstance(effect, ShowPartial | SendFinal):
                line = effect.segment
                key = (line.session, line.segment)
                assert line.session == current
                assert states[line.session] == "open"
                assert key not in finished
                assert line.revision > revisions.get(key, 0)
                sitting = next(s for s in hall.memory.sittings if s.told.session == line.session)
                assert sitting.last_segment >= line.segment
                revisions[key] = line.revision
                if isinstance(effect, SendFinal):
                    finished.add(key)


def test_the_first_number_after_a_restart_is_one_that_was_never_shown():
    memory = Memory(sittings=(Sitting(told=told(), last_segment=41),))
    assert partial(Hall(memory).hear(guess("Hello"))).segment.segment == 42
