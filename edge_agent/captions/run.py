"""Carries out what the captioner decides: microphone, ring, recogniser child, link and memory.

Sound takes a short way: microphone → ring → child. Everything else is an event, taken one at a time.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, assert_never

from contract import topics
from contract.captions import CaptionSegment, SetSitting
from contract.errors import MalformedError as MalformedIdError
from contract.link import Why
from contract.messages import Lane
from edge_agent.captions import core
from edge_agent.captions.bearing import Moment
from edge_agent.captions.child_protocol import Audio, Frame, Gap, Message
from edge_agent.captions.loudness import Loudness
from edge_agent.captions.memory import Memory
from edge_agent.captions.microphone_command import MicrophoneCommand
from edge_agent.captions.recogniser_process import RecogniserProcess, command
from edge_agent.captions.ring import SAMPLE_BYTES, Ring
from edge_agent.captions.sitting_file import SittingFile
from edge_agent.errors import MalformedError, RefusedError, SettingsError, UnavailableError
from edge_agent.ports import Link, ServerTime, SoundSink
from edge_agent.settings import Recorder

log = logging.getLogger(__name__)

BLOCK_MS = 200
"""Sound is handed on in such pieces: waking up for half of it would cost twice, for words 50 ms sooner."""
RATE_HZ_MIN = 8_000
RATE_HZ_MAX = 192_000
RING_S = 60
"""Sound that is kept for a recogniser that died; 5.8 MB at 48 kHz."""
MICROPHONE_SILENT_S = 5.0
OVERRUN_S = 1.0
"""A recogniser that begins so much later than it should has missed words."""
GOOD_NEWS = frozenset({"recogniser_ready", "microphone_returned"})


class Microphone(Protocol):
    """One run of a microphone."""

    async def read(self) -> bytes:
        """The next block of whole 16-bit samples.

        Raises:
            UnavailableError: the microphone is gone.
        """

    async def close(self) -> None:
        """Stop it."""


class CaptionLink(Link, Protocol):
    """The link, and its ledger."""

    def left_out(self, lane: Lane, why: Why) -> None:
        """Something that should have been sent was not even made; it is declared, and counted as dropped."""


class Recogniser(Protocol):
    """One run of the recogniser."""

    async def feed(self, frame: Frame) -> None:
        """Give it a frame; waits while it has enough to do.

        Raises:
            UnavailableError: it is gone.
        """

    async def next_message(self) -> Message:
        """What it says next.

        Raises:
            UnavailableError: it is gone.
            MalformedError: it talks nonsense.
        """

    async def kill(self) -> None:
        """End it at once."""


OpenMicrophone = Callable[[Recorder], Awaitable[Microphone]]
StartRecogniser = Callable[[Recorder, str], Awaitable[Recogniser]]


async def open_microphone(settings: Recorder) -> Microphone:
    """The microphone of the settings.

    Raises:
        UnavailableError: its command cannot be run.
    """
    block_bytes = settings.microphone_rate_hz * BLOCK_MS // 1000 * SAMPLE_BYTES
    return await MicrophoneCommand.start(
        settings.microphone_command, block_bytes=block_bytes, silent_s=MICROPHONE_SILENT_S
    )


async def start_recogniser(settings: Recorder, language: str) -> Recogniser:
    """The recogniser of the settings, as a child process.

    Raises:
        UnavailableError: it cannot be run.
    """
    return await RecogniserProcess.start(command(settings, language))


class Captions:
    """The captions of one recorder. `run` it once; set its sitting at any time.

    Raises:
        SettingsError: the microphone's settings make no sense.
    """

    def __init__(
        self,
        link: CaptionLink,
        settings: Recorder,
        file: SittingFile,
        *,
        open_microphone: OpenMicrophone = open_microphone,
        start_recogniser: StartRecogniser = start_recogniser,
        sink: SoundSink | None = None,
    ) -> None:
        """`sink` follows the microphone and the sittings too."""
        _check(settings)
        self._link = link
        self._settings = settings
        self._file = file
        self._open_microphone = open_microphone
        self._start_recogniser = start_recogniser
        self._sink = sink
        self._rate = settings.microphone_rate_hz
        self._ring = Ring(RING_S * self._rate * SAMPLE_BYTES)
        self._ring_grew = asyncio.Event()
        self._keeping = False
        self._saved = True
        self._loudness = Loudness(self._rate)
        self._began = time.monotonic()
        self._position = 0
        self._inbox: asyncio.Queue[tuple[core.Event, asyncio.Future[str] | None]] = asyncio.Queue()
        self._tasks: asyncio.TaskGroup | None = None
        self._recognition: asyncio.Task[None] | None = None
        self._captioner: core.Captioner | None = None
        self._heard_at: float | None = None
        self._tell(core.Started())

    @property
    def microphone_level_dbfs(self) -> float | None:
        """Loudness of the last second that was heard; None while there is no microphone."""
        return self._loudness.dbfs

    async def set_sitting(self, told: SetSitting) -> str:
        """Follow the cloud's word on a sitting; it is in force, and on the disk, when this returns.

        Returns a sentence that says what the recorder does now.

        Raises:
            RefusedError: the document makes no sense for this recorder.
            UnavailableError: it is in force but could not be written to the disk.
        """
        try:
            topics.build("caption-final", device="device", session=told.session, channel=told.channel)
        except MalformedIdError as error:
            raise RefusedError(str(error)) from error
        asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        event = core.SittingSet(told, self._position_now())
        self._inbox.put_nowait((event, asked))
        return await asked

    def time_told(self, told: ServerTime) -> None:
        """The server has told its time just now; what is heard is dated by it from here on."""
        position, late_ms = self._position_now(), BLOCK_MS
        if self._heard_at is not None:
            late_ms += round((time.monotonic() - self._heard_at) * 1000)
        # The newest sample may have waited in the microphone's block, and for the block after it.
        moment = Moment(told.earliest_ms - late_ms, told.latest_ms)
        self._tell(core.TimeTold(position, moment))

    def _position_now(self) -> int:
        """The newest sample's; over a loss of the microphone, where it would be."""
        if self._heard_at is not None:
            return self._position
        return max(self._position, int((time.monotonic() - self._began) * self._rate))

    # For updates, as `edge_agent.ports.Occupancy`.

    def busy(self) -> str:
        """Why nothing may be interrupted: a sitting that has begun and has not ended."""
        if self._captioner is None:
            return "the recorder is starting"
        return "a sitting is being held" if self._captioner.in_session else ""

    def close(self) -> None:
        """Nothing to refuse: a sitting that opens meanwhile is followed, and goes on after a restart."""

    def open(self) -> None:
        """The same."""

    async def microphone_trouble(self) -> str:
        """What the self-test says of the microphone."""
        return "" if self._loudness.dbfs is not None else "the microphone gives no sound"

    async def run(self) -> None:
        """Listen until cancelled; every process that was started is gone when this returns."""
        captioner = self._captioner = core.Captioner(self._load(), self._settings.model_languages, self._rate)
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                event, asked = await self._next_event(captioner.deadline())
                failed: UnavailableError | None = None
                for effect in captioner.handle(event, time.monotonic()):
                    try:
                        await self._carry_out(effect, asked, failed)
                    except UnavailableError as error:
                        log.error("sitting_not_saved", extra={"reason": str(error)})  # noqa: TRY400 - no bug
                        failed = error
                        self._saved = False
                        self._tell(core.NotRemembered())

    async def _next_event(
        self, deadline: core.Instant | None
    ) -> tuple[core.Event, asyncio.Future[str] | None]:
        wait = None if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            async with asyncio.timeout(wait):
                return await self._inbox.get()
        except TimeoutError:
            return core.TimePassed(), None

    def _tell(self, event: core.Event) -> None:
        self._inbox.put_nowait((event, None))

    def _load(self) -> Memory:
        try:
            return self._file.load()
        except MalformedError as error:
            # Nothing is recognised until the cloud says again that a sitting is open.
            log.error(  # noqa: TRY400 - the reason says it all
                "sittings_damaged", extra={"reason": str(error), "kept_as": str(self._file.set_aside())}
            )
            return Memory()

    async def _carry_out(
        self, effect: core.Effect, asked: asyncio.Future[str] | None, failed: UnavailableError | None
    ) -> None:
        match effect:
            case core.TellSitting(told, position, at):
                if self._sink is not None:
                    self._sink.sitting_told(told, position, None if at is None else _server_time(at))
            case core.TellTime(position, at):
                if self._sink is not None:
                    self._sink.time_told(position, _server_time(at))
            case core.LeaveOut():
                self._link.left_out(Lane.LIVE, Why.CLOCK)
            case core.Remember(memory):
                await asyncio.to_thread(self._file.save, memory)
                self._saved = True
            case core.StartMicrophone():
                self._spawn(self._hear_microphone(), "microphone")
            case core.KeepSound():
                self._ring.clear()
                self._keeping = True
            case core.DropSound():
                self._keeping = False
                self._ring.clear()
            case core.MarkGap():
                self._keep(Gap())
            case core.StartRecogniser():
                self._recognition = self._spawn(self._recognise(effect), "recogniser")
            case core.StopRecogniser():
                await self._stop_recogniser()
            case core.ShowPartial(segment):
                self._link.publish_live("caption-partial", _ids(segment), segment)
            case core.SendFinal(segment):
                await self._send_final(segment)
            case core.Note(name, details):
                level = logging.INFO if name in GOOD_NEWS else logging.WARNING
                log.log(level, name, extra=details)
            case core.Answer():
                _answer(effect, asked, failed)
            case _:
                assert_never(effect)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        assert self._tasks is not None
        return self._tasks.create_task(work, name=name)

    async def _send_final(self, segment: CaptionSegment) -> None:
        if not self._saved:
            # Its number is not on the disk: after a restart another line would get it.
            self._tell(core.FinalRefused(segment))
            return
        try:
            await self._link.send("caption-final", _ids(segment), segment, lane=Lane.EVENTS, must=True)
        except RefusedError as error:
            log.warning("final_refused", extra={"segment": segment.segment, "reason": str(error)})
            self._tell(core.FinalRefused(segment))

    # Microphone

    async def _hear_microphone(self) -> None:
        try:
            microphone = await self._open_microphone(self._settings)
            try:
                await self._follow(microphone)
            finally:
                await microphone.close()
        except UnavailableError as error:
            self._heard_at = None
            self._loudness.lost()
            if self._sink is not None:
                self._sink.microphone_lost(self._position)
            self._tell(core.MicrophoneLost(str(error)))

    async def _follow(self, microphone: Microphone) -> None:
        # Positions follow the clock over a loss, so that what is heard later is not dated earlier.
        pcm = await microphone.read()
        elapsed = int((time.monotonic() - self._began) * self._rate) - len(pcm) // SAMPLE_BYTES
        self._position = max(self._position, elapsed)
        self._tell(core.MicrophoneHeard())
        while True:
            self._loudness.hear(pcm)
            self._keep(Audio(self._position, pcm))
            if self._sink is not None:
                self._sink.heard(self._position, pcm)
            self._position += len(pcm) // SAMPLE_BYTES
            self._heard_at = time.monotonic()
            pcm = await microphone.read()

    def _keep(self, frame: Frame) -> None:
        if self._keeping:
            self._ring.append(frame)
            self._ring_grew.set()

    # Recogniser

    async def _recognise(self, start: core.StartRecogniser) -> None:
        try:
            child = await self._start_recogniser(self._settings, start.language)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._feed(child, start.position))
                    both.create_task(self._hear_recogniser(child, start.generation))
            finally:
                await child.kill()
        except* (UnavailableError, MalformedError) as errors:
            self._tell(core.RecogniserLost(start.generation, _reason(errors)))

    async def _feed(self, child: Recogniser, position: int) -> None:
        serial = self._ring.serial_of(position)
        first = True
        while True:
            self._ring_grew.clear()
            found = self._ring.at(serial)
            if found is None:
                await self._ring_grew.wait()
                continue
            frame = found.frame
            if first and isinstance(frame, Audio):
                first = False
                if frame.position - position > OVERRUN_S * self._rate:
                    lost_ms = (frame.position - position) * 1000 // self._rate
                    log.warning("sound_lost", extra={"lost_ms": lost_ms})
                skip = max(0, position - frame.position)
                frame = Audio(frame.position + skip, frame.pcm[skip * SAMPLE_BYTES :])
            if found.serial > serial:
                lost_ms = (found.serial - serial) * BLOCK_MS
                log.warning("sound_lost", extra={"lost_ms": lost_ms})
            serial = found.serial + 1
            await child.feed(frame)

    async def _hear_recogniser(self, child: Recogniser, generation: int) -> None:
        while True:
            self._tell(core.RecogniserSpoke(generation, await child.next_message()))

    async def _stop_recogniser(self) -> None:
        task, self._recognition = self._recognition, None
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])


def _check(settings: Recorder) -> None:
    if not RATE_HZ_MIN <= settings.microphone_rate_hz <= RATE_HZ_MAX:
        raise SettingsError(
            f"recorder.microphone_rate_hz is {settings.microphone_rate_hz}: "
            f"{RATE_HZ_MIN} to {RATE_HZ_MAX} are taken"
        )
    if not settings.microphone_command:
        raise SettingsError("recorder.microphone_command is empty: give the command and its arguments")


def _answer(effect: core.Answer, asked: asyncio.Future[str] | None, failed: UnavailableError | None) -> None:
    if asked is None or asked.done():
        return
    if effect.refused:
        asked.set_exception(RefusedError(effect.sentence))
    elif failed is not None:
        asked.set_exception(failed)
    else:
        asked.set_result(effect.sentence)


def _server_time(at: Moment) -> ServerTime:
    return ServerTime(at.earliest_ms, at.latest_ms)


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


def _ids(segment: CaptionSegment) -> dict[str, str]:
    return {"session": segment.session, "channel": segment.channel}
