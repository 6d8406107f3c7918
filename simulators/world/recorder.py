"""What a hall's recorder adds to a device: the real captioner, between speech, a recogniser and the link.

People speak all the time, a word every half second, so that whatever is heard says when it was said.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import assert_never

import msgspec

from contract.captions import CaptionSegment, SetSitting
from contract.jobs import Execution, Status
from contract.link import Why
from contract.messages import Lane
from contract.recordings import FloorEvent
from edge_agent.captions import core as c
from edge_agent.captions.bearing import Moment
from edge_agent.captions.child_protocol import Guess, Message, Ready, Said
from edge_agent.captions.memory import Memory
from edge_agent.link.outbox import LeftOut
from edge_agent.ports import Outcome, ServerTime
from edge_agent.recordings import messages as m
from simulators.world.clock import START_MS
from simulators.world.device import Device
from simulators.world.disk import DamagedError, FullError, Key
from simulators.world.faults import Fault, Faults
from simulators.world.recording import BLOCK_MS, Recording

RATE_HZ = 1000
"""Samples of sound a second; positions are then milliseconds."""
WORD_MS = 500
LINE_MS = 8_000
"""Speakers pause so often."""
GUESS_MS = 2_000
LOADING_S = 1.0
LATE_S = 0.3
"""The recogniser needs so long for what it has heard."""
RING_MS = 60_000
LOSS_MIN_S, LOSS_MAX_S = 1.0, 20.0
FLOOR_S, TABLED_S = 20.7, 9.6
"""A seat has the floor for so long, and then for so long nobody has it."""


@dataclass
class Microphone:
    """The hall's microphone; `gaps` are the times in ms at which it gave nothing, the last one open."""

    on: bool = True
    gaps: list[tuple[int, int | None]] = field(default_factory=list)

    def deaf(self, since_ms: int, until_ms: int) -> bool:
        """Whether something of that time was not heard."""
        return any(since_ms < (end or until_ms) and until_ms > begin for begin, end in self.gaps)


@dataclass(frozen=True)
class SentFinal:
    """A line that the link has taken; `since` and `until` are true ms of the world."""

    segment: CaptionSegment
    since_ms: int
    until_ms: int


class Recorder:
    """Follows its sittings and says what it hears. `finals` are the lines that it promised."""

    def __init__(self, device: Device, faults: Faults) -> None:
        self.name = device.name
        self.microphone = Microphone()
        self.finals: dict[Key, SentFinal] = {}
        self.left_out = 0
        """Stretches without captions, for want of the time; `left_out_for_good` are on the disk as such."""
        self.left_out_for_good = 0
        self._device = device
        self._faults = faults
        self._child = 0
        self._saved = True
        self._ring_from: int | None = None
        self._began_ms = 0
        self._behind_ms = 0
        self.recording = Recording(RATE_HZ, device.plant, self._about_to, self._send_floor)
        self._believes, self._believes_since_ms = "", 0
        self._captioner = c.Captioner(device.disk.load(), ("sq",), RATE_HZ)
        device.on_start.append(self._start)
        device.on_time.append(self._hear_time)
        device.operations["set-sitting"] = self._set_sitting

    @property
    def state(self) -> str:
        """The state of the sitting that the recorder knows to be the newest; '' without one."""
        memory = self._device.disk.memory
        return memory.sittings[-1].told.state if memory is not None and memory.sittings else ""

    def unplug(self) -> None:
        """The microphone is gone for a while."""
        if not self.microphone.on:
            return
        self._faults.bites[Fault.MICROPHONE_LOSS] += 1
        self.microphone.on = False
        if not self.microphone.gaps or self.microphone.gaps[-1][1] is not None:
            self.microphone.gaps.append((self._now_ms, None))
            self._device.later(0.0, lambda: self._tell(c.MicrophoneLost("unplugged")))
        stream = self._faults.stream(Fault.MICROPHONE_LOSS)
        self._device.clock.later(stream.uniform(LOSS_MIN_S, LOSS_MAX_S), self._plug)

    def _plug(self) -> None:
        self.microphone.on = True

    # --- the agent's life ---

    @property
    def _now_ms(self) -> int:
        return int(self._device.clock.now * 1000)

    @property
    def _position(self) -> int:
        return self._now_ms - self._began_ms - self._behind_ms

    def _start(self) -> None:
        self._child += 1
        self._saved = True
        self._began_ms, self._behind_ms, self._ring_from = self._now_ms, 0, None
        try:
            memory = self._device.disk.load()
        except DamagedError:
            self._device.trace(self._device.name, "sittings damaged: nothing is heard until told again")
            memory = self._device.disk.load()
        self._captioner = c.Captioner(memory, ("sq",), RATE_HZ)
        self._believes = ""
        self._believe(memory)
        self.recording.start(self._device.now)
        self._tell(c.Started())
        self._record(self._now_ms)
        self._take_turns(1)
        self._believe_wall_clock()

    def _believe(self, memory: Memory) -> None:
        before, self._believes = self._believes, memory.sittings[-1].told.state if memory.sittings else ""
        if self._believes != before:
            self._believes_since_ms = self._now_ms

    def _record(self, since_ms: int) -> None:
        """Hand on the sound of each block, for as long as the agent lives."""

        def block() -> None:
            until_ms = self._now_ms
            if self.microphone.on and not self.microphone.deaf(since_ms, until_ms):
                position = self._position - (until_ms - since_ms)
                must = self._believes == c.OPEN and self._believes_since_ms < since_ms
                self.recording.hear(position, (since_ms, until_ms), self._device.now, must=must)
            self._record(until_ms)

        self._device.later(BLOCK_MS / 1000, block)

    def _take_turns(self, number: int) -> None:
        """The floor goes from seat to seat; each is named once, so that its events can be told apart."""
        seat = f"{self._device.starts}.{number}"

        def told(on: bool) -> None:
            must = self._believes == c.OPEN
            self.recording.turn((seat, on), self._position, self._now_ms, self._device.now, must=must)

        self._device.later(TABLED_S, lambda: told(True))
        self._device.later(TABLED_S + FLOOR_S, lambda: told(False))
        self._device.later(TABLED_S + FLOOR_S, lambda: self._take_turns(number + 1))

    def _about_to(self, effect: m.Effect) -> None:
        self._device.effect(effect, at_work=isinstance(effect, m.SendKeptFloor))

    def _send_floor(self, event: FloorEvent) -> bool:
        ids = {"session": event.session}
        return self._device.send("floor", ids, event, lane=Lane.EVENTS, must=True) is not None

    def _believe_wall_clock(self) -> None:
        """A planted bug: the device's own clock is taken for the server's."""
        if self._device.plant.dates_by_wall_clock:
            wall_ms = self._device.wall.ms()
            self._tell(c.TimeTold(self._position, Moment(wall_ms, wall_ms)))

    def _hear_time(self, told: ServerTime) -> None:
        if not self._device.plant.dates_by_wall_clock:
            self._tell(c.TimeTold(self._position, Moment(told.earliest_ms, told.latest_ms)))

    def _set_sitting(self, device: Device, job: Execution) -> None:
        told = msgspec.convert(job.job_document, SetSitting)

        def act() -> None:
            self._believe_wall_clock()
            answer, saved = self._ask(c.SittingSet(told, self._position))
            refused = answer is not None and answer.refused
            ended = Status.REJECTED if refused else Status.SUCCEEDED if saved else Status.FAILED
            device.ended(job, Outcome(ended))  # type: ignore[arg-type]  # mypy joins the three to Status

        device.later(0.0, act)

    def _tell(self, event: c.Event) -> None:
        """Give the captioner an event and do what follows."""
        self._ask(event)

    def _ask(self, event: c.Event) -> tuple[c.Answer | None, bool]:
        """The same; its answer, and whether all was saved."""
        answer, saved = None, True
        for effect in self._captioner.handle(event, self._device.now):
            if isinstance(effect, c.TellSitting | c.TellTime):
                self._tell_recording(effect)
            if _is_later_news(effect):
                continue  # nothing that a power cut could halve
            self._device.effect(effect, at_work=isinstance(effect, c.Remember | c.SendFinal))
            if isinstance(effect, c.Answer):
                answer = effect
            elif not self._do(effect):
                saved = False
                self._device.later(0.0, lambda: self._tell(c.NotRemembered()))
        if self._device.plant.watches:
            at = self._captioner.deadline()
            self._device.arm("captions", at, lambda: self._tell(c.TimePassed()))
        return answer, saved

    def _tell_recording(self, effect: c.TellSitting | c.TellTime) -> None:
        at = None if effect.at is None else ServerTime(effect.at.earliest_ms, effect.at.latest_ms)
        match effect:
            case c.TellTime(position):
                assert at is not None, "it is told once it is known"
                self.recording.tell(m.TimeTold(position, at), self._device.now)
            case c.TellSitting(told, position):
                if told.state != c.OPEN or at is not None or not self._device.plant.deaf_without_time:
                    self.recording.tell(m.SittingTold(told, position, at), self._device.now)

    def _do(self, effect: c.Effect) -> bool:
        """Whether it could be done."""
        device = self._device
        match effect:
            case c.LeaveOut():
                self.left_out += 1
                if device.plant.declares_silence:
                    device.tell_outbox(LeftOut(Lane.LIVE, Why.CLOCK))
                self.left_out_for_good += not device.disk.full
            case c.Remember(memory):
                self._believe(memory)
                try:
                    device.disk.save(memory, in_place=device.plant.saves_in_place)
                except FullError:
                    self._saved = False
                    return False
                device.sync(at_work=True)
                self._saved = True
            case c.StartMicrophone():
                self._open_microphone()
            case c.KeepSound():
                self._ring_from = self._now_ms
            case c.DropSound():
                self._ring_from = None
            case c.StartRecogniser(generation, _, position):
                self._start_child(generation, position)
            case c.StopRecogniser():
                self._child += 1
            case c.ShowPartial(segment):
                ids = {"session": segment.session, "channel": segment.channel}
                device.publish("caption-partial", ids, msgspec.json.encode(segment))
            case c.SendFinal(segment):
                self._send(segment)
            case c.MarkGap() | c.Note() | c.Answer() | c.TellSitting() | c.TellTime():
                pass
            case _:
                assert_never(effect)
        return True

    def _send(self, segment: CaptionSegment) -> None:
        ids = {"session": segment.session, "channel": segment.channel}
        key = None
        if self._saved:
            key = self._device.send("caption-final", ids, segment, lane=Lane.EVENTS, must=True)
        if key is None:
            self._device.later(0.0, lambda: self._tell(c.FinalRefused(segment)))
        else:
            times = list(said(segment.text))
            self.finals[key] = SentFinal(segment, times[0], times[-1] + WORD_MS)

    # --- microphone and recogniser ---

    def _open_microphone(self) -> None:
        if not self.microphone.on:
            self._device.later(0.0, lambda: self._tell(c.MicrophoneLost("not there")))
            return
        begin, _ = self.microphone.gaps[-1] if self.microphone.gaps else (0, 0)
        if self.microphone.gaps and self.microphone.gaps[-1][1] is None:
            self.microphone.gaps[-1] = begin, self._now_ms
            if self._device.plant.positions_stand_still:
                self._behind_ms += self._now_ms - begin
        self._device.later(0.0, lambda: self._tell(c.MicrophoneHeard()))

    def _start_child(self, generation: int, position: int) -> None:
        """It hears what the ring still has from `position` on, and then what comes."""
        self._child += 1
        child = self._child
        ring = max(self._ring_from or 0, self._now_ms - RING_MS)
        hears_from = max(position + self._began_ms + self._behind_ms, ring)

        def ready() -> None:
            if child == self._child:
                self._hear(generation, Ready(engine="simulated"))
                self._listen(child, generation, hears_from)

        self._device.later(LOADING_S, ready)

    def _listen(self, child: int, generation: int, since_ms: int) -> None:
        """Hear one line, from `since_ms` to the speaker's next pause; then the next."""
        until_ms = (since_ms // LINE_MS + 1) * LINE_MS
        every = range(-(-since_ms // WORD_MS) * WORD_MS, until_ms, WORD_MS)
        words = [at for at in every if not self.microphone.deaf(at, at + WORD_MS)]

        def at(ms: int) -> float:
            return max(0.0, ms / 1000 + LATE_S - self._device.clock.now)

        def guess() -> None:
            heard = [word for word in words if word + WORD_MS <= since_ms + GUESS_MS]
            if child == self._child and heard:
                self._hear(generation, self._message(Guess, since_ms, since_ms + GUESS_MS, heard))

        def line() -> None:
            if child != self._child:
                return
            if self._faults.happens(Fault.RECOGNISER_DEATH):
                self._die(generation)
                return
            heard = [word for word in words if not self.microphone.deaf(word, word + WORD_MS)]
            self._hear(generation, self._message(Said, since_ms, until_ms, heard))
            if child == self._child:
                self._listen(child, generation, until_ms)

        if since_ms + GUESS_MS < until_ms:
            self._device.later(at(since_ms + GUESS_MS), guess)
        self._device.later(at(until_ms), line)

    def _die(self, generation: int) -> None:
        """It ends, or hangs and says nothing any more."""
        self._child += 1
        if self._faults.stream(Fault.RECOGNISER_DEATH).random() < 0.5:
            self._device.later(0.0, lambda: self._tell(c.RecogniserLost(generation, "it died")))

    def _hear(self, generation: int, message: Message) -> None:
        self._tell(c.RecogniserSpoke(generation, message))

    def _message(self, kind: type[Guess] | type[Said], since: int, until: int, words: list[int]) -> Message:
        start = max(0, since - self._began_ms - self._behind_ms)
        end = max(start, until - self._began_ms - self._behind_ms)
        text = " ".join(map(str, words))
        if kind is Guess:
            return Guess(start=start, end=end, text=text, stable=0)
        return Said(start=start, end=end, text=text)


def _is_later_news(effect: c.Effect) -> bool:
    """What those who follow the microphone are told because the time was not, or is now, known."""
    if isinstance(effect, c.TellSitting):
        return effect.told.state == c.OPEN and effect.at is None
    return isinstance(effect, c.TellTime)


def said(text: str) -> Iterator[int]:
    """When each word of a line was said, in ms of the world: that is what each word says."""
    return map(int, text.split())


def date_ms(segment: CaptionSegment, opened_at_ms: int) -> tuple[int, int]:
    """From when to when a line says that it was spoken, in ms of the world."""
    return opened_at_ms - START_MS + segment.start_ms, opened_at_ms - START_MS + segment.end_ms
