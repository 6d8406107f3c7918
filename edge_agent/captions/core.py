"""Decides what the recorder listens to, what it says of it, and what it does when a part fails.

Only while a sitting is open is sound kept, recognised or sent. When it closes, the child is stopped and the
sound dropped, so that nothing of what is in flight can come out. A child that dies is started again and
hears the sound from the end of the last final line on.

What is said is dated by the server's clock, never by the device's own. Before the server has told its time,
which it does with the first answer on a connection, nothing is recognised: words that cannot be dated could
be of a part that was closed meanwhile, and nobody reads along with the past. What is said until then is
recorded all the same, and dated later; that there are no captions of it is declared.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import msgspec

from contract.captions import SITTING, TEXT_LENGTH_MAX, CaptionSegment, CaptionState, SetSitting
from edge_agent.captions.bearing import Bearing, Moment
from edge_agent.captions.child_protocol import Failed, Guess, Heard, Message, Ready, Said
from edge_agent.captions.memory import SITTINGS_MAX, Memory, Sitting

Instant = float
"""Seconds of a clock that never jumps."""

OPEN = "open"
IN_SESSION = frozenset({OPEN, "paused", "closed_to_public"})
SOURCE = "machine"
RECOGNISER_BACKOFF_S = (0.2, 1.0, 2.0, 5.0, 10.0, 20.0)
MICROPHONE_BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
LOADING_S_MAX = 60.0
"""A model on a slow disk takes some seconds."""
SILENT_S_MAX = 15.0
"""A recogniser gives a sign of life every second; one that gives none for so long hangs."""
STABLE_S = 30.0
"""What has run for so long begins its backoff anew."""
RESEND_S = 5.0
UNSENT_MAX = 200
"""Final lines that wait because the outbox is full: about half an hour of debate."""


@dataclass(frozen=True)
class Started:
    """The agent begins; the sound's position is 0."""


@dataclass(frozen=True)
class SittingSet:
    """The cloud tells the state of a sitting; `position` is the newest sample."""

    told: SetSitting
    position: int


@dataclass(frozen=True)
class TimeTold:
    """The server tells its time; `moment` is when the sample at `position` was heard."""

    position: int
    moment: Moment


@dataclass(frozen=True)
class MicrophoneHeard:
    """The first sound of a run of the microphone."""


@dataclass(frozen=True)
class MicrophoneLost:
    """A run of the microphone ended."""

    reason: str


@dataclass(frozen=True)
class RecogniserSpoke:
    """A message of the child that was started as `generation`."""

    generation: int
    message: Message


@dataclass(frozen=True)
class RecogniserLost:
    """That child is gone."""

    generation: int
    reason: str


@dataclass(frozen=True)
class FinalRefused:
    """The link could not take a final line."""

    segment: CaptionSegment


@dataclass(frozen=True)
class NotRemembered:
    """The disk did not take the memory; until it does, no final line goes out under a number in it."""


@dataclass(frozen=True)
class TimePassed:
    """The deadline has come."""


Event = (
    Started
    | SittingSet
    | TimeTold
    | MicrophoneHeard
    | MicrophoneLost
    | RecogniserSpoke
    | RecogniserLost
    | FinalRefused
    | NotRemembered
    | TimePassed
)


@dataclass(frozen=True)
class TellSitting:
    """Tell those who follow the microphone too that this is the state of a sitting now.

    `at` is the server's time at `position`; None where it is not known yet, and where nobody needs it.
    """

    told: SetSitting
    position: int
    at: Moment | None


@dataclass(frozen=True)
class TellTime:
    """Tell them what the server's time was at `position`: it is known from now on."""

    position: int
    at: Moment


@dataclass(frozen=True)
class LeaveOut:
    """Declare that no captions are made of this sitting until the server has told its time."""

    session: str


@dataclass(frozen=True)
class Remember:
    """Save this memory before going on."""

    memory: Memory


@dataclass(frozen=True)
class StartMicrophone:
    """Run the microphone's command."""


@dataclass(frozen=True)
class KeepSound:
    """From now on the ring is filled."""


@dataclass(frozen=True)
class DropSound:
    """Empty the ring, fill it no more."""


@dataclass(frozen=True)
class MarkGap:
    """Put a gap into the ring: the sound after it does not follow on the sound before it."""


@dataclass(frozen=True)
class StartRecogniser:
    """Start a child for `language` and feed it from `position` on."""

    generation: int
    language: str
    position: int


@dataclass(frozen=True)
class StopRecogniser:
    """Kill the child, whatever it is doing."""


@dataclass(frozen=True)
class ShowPartial:
    """Publish a line that may still change; nobody minds if it gets lost."""

    segment: CaptionSegment


@dataclass(frozen=True)
class SendFinal:
    """Send a line that must arrive."""

    segment: CaptionSegment


@dataclass(frozen=True)
class Note:
    """Something for the log; `ids` and reasons only, never what was said."""

    event: str
    details: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """To whoever set the sitting: what the recorder does now, or why it refuses."""

    sentence: str
    refused: bool = False


Effect = (
    TellSitting
    | TellTime
    | LeaveOut
    | Remember
    | StartMicrophone
    | KeepSound
    | DropSound
    | MarkGap
    | StartRecogniser
    | StopRecogniser
    | ShowPartial
    | SendFinal
    | Note
    | Answer
)


@dataclass
class _Restarts:
    """When something that failed is tried again."""

    backoff_s: Sequence[float]
    attempts: int = 0
    up_since: Instant | None = None
    retry_at: Instant | None = None

    def up(self, now: Instant) -> None:
        self.up_since, self.retry_at = now, None

    def down(self, now: Instant) -> None:
        if self.up_since is not None and now - self.up_since >= STABLE_S:
            self.attempts = 0
        self.retry_at = now + self.backoff_s[min(self.attempts, len(self.backoff_s) - 1)]
        self.attempts += 1
        self.up_since = None

    def due(self, now: Instant) -> bool:
        return self.retry_at is not None and now >= self.retry_at


@dataclass
class _Listening:
    """The open sitting; all sound before the sample `settled` is done with."""

    told: SetSitting
    settled: int
    generation: int
    alive_at: Instant
    ready: bool = False
    segment: int | None = None
    revision: int = 0
    shown: bool = False


class Captioner:
    """The captions of one microphone. `languages` are those that the recogniser's model knows."""

    def __init__(self, memory: Memory, languages: Sequence[str], rate_hz: int) -> None:
        self._sittings = {sitting.name: sitting for sitting in memory.sittings}
        self._languages = tuple(languages)
        self._rate_hz = rate_hz
        self._bearing = Bearing(rate_hz)
        self._left_out: tuple[tuple[str, str], int] | None = None
        self._listening: _Listening | None = None
        self._generation = 0
        self._recogniser = _Restarts(RECOGNISER_BACKOFF_S)
        self._microphone = _Restarts(MICROPHONE_BACKOFF_S)
        self._microphone_down = False
        self._unsent: deque[CaptionSegment] = deque()
        self._resend_at: Instant | None = None
        self._remember_at: Instant | None = None
        self.finals_dropped = 0

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """What to do, in this order."""
        effects: list[Effect]
        match event:
            case Started():
                closed = [sitting.told for sitting in self._sittings.values() if sitting.told.state != OPEN]
                effects = [StartMicrophone(), *(TellSitting(told, 0, None) for told in closed)]
                if self._sittings and self._current().told.state == OPEN:
                    effects += self._tell_open(self._current().told, 0)
            case TimeTold(position, moment):
                effects = self._time_told(position, moment, now)
            case SittingSet():
                effects = self._set_sitting(event, now)
            case MicrophoneHeard():
                effects = self._microphone_heard(now)
            case MicrophoneLost(reason):
                effects = self._microphone_lost(reason, now)
            case RecogniserSpoke(generation, message):
                effects = self._recogniser_spoke(generation, message, now)
            case RecogniserLost(generation, reason):
                effects = self._recogniser_lost(generation, reason, now)
            case FinalRefused(segment):
                effects = self._final_refused(segment, now)
            case NotRemembered():
                self._remember_at = now + RESEND_S
                effects = []
            case TimePassed():
                effects = self._time_passed(now)
            case _:
                assert_never(event)
        assert self._listening is None or self._current().told.state == OPEN
        assert len(self._unsent) <= UNSENT_MAX
        return effects

    @property
    def in_session(self) -> bool:
        """Whether a sitting has begun and has not ended: open, paused or closed to the public."""
        return any(sitting.told.state in IN_SESSION for sitting in self._sittings.values())

    def deadline(self) -> Instant | None:
        """When `TimePassed` is due."""
        at = [self._microphone.retry_at, self._recogniser.retry_at, self._resend_at, self._remember_at]
        if self._listening is not None and self._recogniser.retry_at is None:
            at.append(self._hangs_at(self._listening))
        return min((moment for moment in at if moment is not None), default=None)

    # The sitting

    def _time_told(self, position: int, moment: Moment, now: Instant) -> list[Effect]:
        waited = not self._bearing.known
        self._bearing.tell(position, moment)
        if not waited:
            return []
        effects: list[Effect] = [TellTime(position, self._bearing.at(position))]
        if not self._sittings or self._current().told.state != OPEN:
            return effects
        told = self._current().told
        if self._left_out is not None and self._left_out[0] == self._current().name:
            lost_ms = (position - self._left_out[1]) * 1000 // self._rate_hz
            effects.append(Note("captions_left_out", {"session": told.session, "lost_ms": str(lost_ms)}))
        return [*effects, *self._tell_open(told, position), *self._listen(told, position, now)]

    def _tell_open(self, told: SetSitting, position: int) -> list[Effect]:
        """The open sitting has the microphone from `position` on; a recording can be dated later."""
        if not self._bearing.known:
            waits: list[Effect] = [Note("time_awaited", {"session": told.session})]
            return [*waits, TellSitting(told, position, None), *self._leave_out(told, position)]
        if told.changed_at is not msgspec.UNSET:
            self._bearing.not_before(position, told.changed_at)
        return [TellSitting(told, position, self._bearing.at(position))]

    def _leave_out(self, told: SetSitting, position: int) -> list[Effect]:
        """Once for each stretch without the time, and only of what would have been recognised."""
        name = told.session, told.channel
        counted = self._left_out is not None and self._left_out[0] == name
        if counted or told.lang not in self._languages:
            return []
        self._left_out = name, position
        return [LeaveOut(told.session)]

    def _set_sitting(self, event: SittingSet, now: Instant) -> list[Effect]:
        told = event.told
        name = (told.session, told.channel)
        known = self._sittings.get(name)
        if told.state not in SITTING.states:
            return [Answer(f"{told.state!r:.40} is no state of a sitting", refused=True)]
        if known is not None and told == known.told and self._remember_at is not None:
            return [self._remember(), Answer(self._doing(told))]
        if known is not None and told.version <= known.told.version:
            return [Answer(f"a newer state is known: {known.told.state}, version {known.told.version}")]
        if known is not None and told.state not in _reachable(known.told.state) | {known.told.state}:
            return [Answer(f"a sitting that is {known.told.state} cannot become {told.state}", refused=True)]
        current = next(reversed(self._sittings), None)
        sitting = Sitting(told=told, last_segment=known.last_segment if known is not None else 0)
        state = self._listening
        goes_on = state is not None and name == current and _goes_on(state.told, told)
        tell: list[Effect] = [TellSitting(told, event.position, None)]
        if name == current and told.state != OPEN:
            self._left_out = None
        if told.state == OPEN and not goes_on:
            tell = self._tell_open(told, event.position)
        if state is not None and goes_on:
            state.told = told
            self._put_last(sitting)
            return [*tell, self._remember(), Answer(self._doing(told))]
        if told.state == OPEN or name == current:
            # It takes the microphone: what was in flight for another sitting, or for its last state, goes.
            effects = [*tell, *self._stop_listening()]
            self._put_last(sitting)
            effects += [self._remember()]
            effects += self._listen(told, event.position, now) if told.state == OPEN else []
            return [*effects, Answer(self._doing(told))]
        self._put_first(sitting)
        if state is None:
            return [*tell, self._remember(), Answer(self._doing(told))]
        return [*tell, self._remember(), Answer("noted; the microphone belongs to another sitting")]

    def _listen(self, told: SetSitting, position: int, now: Instant) -> list[Effect]:
        if not self._bearing.known:
            return []
        if told.lang not in self._languages:
            return [Note("recognition_refused", {"session": told.session, "lang": told.lang})]
        self._generation += 1
        self._recogniser = _Restarts(RECOGNISER_BACKOFF_S)
        self._listening = _Listening(
            told,
            settled=position,
            generation=self._generation,
            alive_at=now,
        )
        return [KeepSound(), StartRecogniser(self._generation, told.lang, position)]

    def _stop_listening(self) -> list[Effect]:
        if self._listening is None:
            return []
        self._listening = None
        self._recogniser.retry_at = None
        unsent, self._resend_at = len(self._unsent), None
        self._unsent.clear()
        self.finals_dropped += unsent
        notes = [Note("captions_dropped", {"count": str(unsent)})] if unsent else []
        return [StopRecogniser(), DropSound(), *notes]

    def _doing(self, told: SetSitting) -> str:
        if self._listening is not None:
            return f"recognising {told.lang}"
        if told.state == OPEN and not self._bearing.known and told.lang in self._languages:
            return f"recognising {told.lang} as soon as the server has told its time"
        if told.state == OPEN:
            return f"no captions: this recorder has no model for {told.lang}, only for {self._known()}"
        return f"nothing is recognised while the sitting is {told.state}"

    def _known(self) -> str:
        return ", ".join(self._languages) or "no language"

    def _current(self) -> Sitting:
        return next(reversed(self._sittings.values()))

    def _put_last(self, sitting: Sitting) -> None:
        self._sittings.pop(sitting.name, None)
        self._sittings[sitting.name] = sitting
        while len(self._sittings) > SITTINGS_MAX:
            del self._sittings[next(iter(self._sittings))]

    def _put_first(self, sitting: Sitting) -> None:
        others = {name: other for name, other in self._sittings.items() if name != sitting.name}
        if len(others) < SITTINGS_MAX:
            self._sittings = {sitting.name: sitting, **others}

    def _remember(self) -> Remember:
        self._remember_at = None
        return Remember(Memory(sittings=tuple(self._sittings.values())))

    # The microphone

    def _microphone_heard(self, now: Instant) -> list[Effect]:
        self._microphone.up(now)
        if not self._microphone_down:
            return []
        self._microphone_down = False
        return [Note("microphone_returned", {})]

    def _microphone_lost(self, reason: str, now: Instant) -> list[Effect]:
        self._microphone.down(now)
        effects: list[Effect] = [MarkGap()]
        if not self._microphone_down:
            self._microphone_down = True
            effects.append(Note("microphone_lost", {"reason": reason}))
        return effects

    # The recogniser

    def _recogniser_spoke(self, generation: int, message: Message, now: Instant) -> list[Effect]:
        state = self._listening
        if state is None or generation != state.generation:
            return []
        state.alive_at = now
        match message:
            case Ready(engine=engine):
                state.ready = True
                self._recogniser.up(now)
                return [Note("recogniser_ready", {"engine": engine})]
            case Heard(position=position, quiet=quiet):
                if quiet:
                    state.settled = max(state.settled, position)
                return []
            case Guess():
                return self._guess(state, message)
            case Said():
                return self._said(state, message)
            case Failed(reason=reason):
                return [Note("recogniser_failed", {"reason": reason})]

    def _guess(self, state: _Listening, guess: Guess) -> list[Effect]:
        if not guess.text and not state.shown:
            return []
        effects = self._number(state)
        state.shown = bool(guess.text)
        segment = self._segment(state, guess, CaptionState.PARTIAL)
        return [
            *effects,
            ShowPartial(msgspec.structs.replace(segment, stable=min(guess.stable, TEXT_LENGTH_MAX))),
        ]

    def _said(self, state: _Listening, said: Said) -> list[Effect]:
        state.settled = max(state.settled, said.end)
        if not said.text:
            # No speech after all: what was shown is taken back, and its number serves the next line.
            if not state.shown:
                return []
            state.shown = False
            return [ShowPartial(self._segment(state, said, CaptionState.PARTIAL))]
        effects = self._number(state)
        segment = self._segment(state, said, CaptionState.FINAL)
        state.segment, state.revision, state.shown = None, 0, False
        return [*effects, SendFinal(segment)]

    def _number(self, state: _Listening) -> list[Effect]:
        """Give the line that begins a number, written down before anything is sent under it."""
        if state.segment is not None:
            return []
        sitting = self._current()
        state.segment = sitting.last_segment + 1
        self._sittings[sitting.name] = msgspec.structs.replace(sitting, last_segment=state.segment)
        return [self._remember()]

    def _segment(self, state: _Listening, heard: Guess | Said, as_: CaptionState) -> CaptionSegment:
        assert state.segment is not None, "a line gets its number first"
        state.revision += 1
        text = heard.text[:TEXT_LENGTH_MAX]
        return CaptionSegment(
            session=state.told.session,
            channel=state.told.channel,
            segment=state.segment,
            revision=state.revision,
            state=as_,
            text=text,
            start_ms=max(0, self._bearing.at(heard.start).earliest_ms - state.told.opened_at),
            end_ms=max(0, self._bearing.at(heard.end).latest_ms - state.told.opened_at),
            lang=state.told.lang,
            source=SOURCE,
            stable=len(text) if as_ is CaptionState.FINAL else 0,
            confidence=heard.confidence,
        )

    def _recogniser_lost(self, generation: int, reason: str, now: Instant) -> list[Effect]:
        state = self._listening
        if state is None or generation != state.generation or self._recogniser.retry_at is not None:
            return []
        return [*self._recogniser_down(state, now), Note("recogniser_lost", {"reason": reason})]

    def _recogniser_down(self, state: _Listening, now: Instant) -> list[Effect]:
        state.ready = False
        self._recogniser.down(now)
        return [StopRecogniser()]

    def _hangs_at(self, state: _Listening) -> Instant:
        return state.alive_at + (SILENT_S_MAX if state.ready else LOADING_S_MAX)

    # Time, and a full outbox

    def _final_refused(self, segment: CaptionSegment, now: Instant) -> list[Effect]:
        if self._listening is None or self._listening.told.session != segment.session:
            self.finals_dropped += 1
            return [Note("captions_dropped", {"count": "1"})]
        self._resend_at = now + RESEND_S
        self._unsent.append(segment)
        if len(self._unsent) <= UNSENT_MAX:
            return []
        self._unsent.popleft()
        self.finals_dropped += 1
        return [Note("captions_dropped", {"count": "1"})]

    def _time_passed(self, now: Instant) -> list[Effect]:
        effects: list[Effect] = []
        if self._microphone.due(now):
            self._microphone.retry_at = None
            effects.append(StartMicrophone())
        state = self._listening
        if state is not None and self._recogniser.retry_at is None and now >= self._hangs_at(state):
            effects += self._recogniser_down(state, now)
            effects.append(Note("recogniser_hung", {}))
        elif state is not None and self._recogniser.due(now):
            self._generation += 1
            self._recogniser.retry_at = None
            state.generation, state.alive_at = self._generation, now
            effects.append(StartRecogniser(self._generation, state.told.lang, state.settled))
        if self._remember_at is not None and now >= self._remember_at:
            effects.append(self._remember())
        if self._resend_at is not None and now >= self._resend_at:
            self._resend_at = None
            effects += [SendFinal(segment) for segment in self._unsent]
            self._unsent.clear()
        return effects


def _goes_on(before: SetSitting, now: SetSitting) -> bool:
    """Whether the microphone goes on as before: no other state, such as closed, was between the two."""
    if now.version != before.version + 1:
        return False
    return (now.state, now.lang, now.opened_at) == (before.state, before.lang, before.opened_at)


def _reachable(state: str) -> frozenset[str]:
    """Where a sitting can be some versions later: a recorder that was away is told the newest state only."""
    seen: set[str] = set()
    ahead = [state]
    while ahead:
        for target in SITTING.edges[ahead.pop()].values():
            if target not in seen:
                seen.add(target)
                ahead.append(target)
    return frozenset(seen)
