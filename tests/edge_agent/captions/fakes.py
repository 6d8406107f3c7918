"""The captions' surroundings without hardware or models: each can be read in a minute."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from contract.captions import CaptionSegment
from contract.link import Why
from contract.messages import Lane
from edge_agent.captions.child_protocol import Audio, Frame, Message
from edge_agent.captions.engine import Hypothesis, Samples
from edge_agent.captions.vad_silero import FRAME
from edge_agent.errors import RefusedError, UnavailableError
from edge_agent.ports import Handler

WAIT_S = 10.0
"""How long a test waits for what must come."""


class FakeLink:
    """Keeps what was sent. `full` refuses finals."""

    boot = "boot"
    connected = True

    def __init__(self) -> None:
        self.partials: asyncio.Queue[CaptionSegment] = asyncio.Queue()
        self.finals: asyncio.Queue[CaptionSegment] = asyncio.Queue()
        self.full = False
        self.declared: list[tuple[Lane, Why]] = []

    def left_out(self, lane: Lane, why: Why) -> None:
        self.declared.append((lane, why))

    def stamp(self) -> int:
        raise AssertionError("captions measure nothing for the link")

    async def send(
        self, topic_name: str, ids: Mapping[str, str], body: msgspec.Struct, *, lane: Lane, must: bool
    ) -> None:
        assert (topic_name, lane, must) == ("caption-final", Lane.EVENTS, True)
        assert isinstance(body, CaptionSegment)
        assert dict(ids) == {"session": body.session, "channel": body.channel}
        if self.full:
            raise RefusedError("the outbox is full")
        self.finals.put_nowait(body)

    def publish_live(self, topic_name: str, ids: Mapping[str, str], body: msgspec.Struct) -> None:
        assert topic_name == "caption-partial"
        assert isinstance(body, CaptionSegment)
        assert dict(ids) == {"session": body.session, "channel": body.channel}
        self.partials.put_nowait(body)

    def publish(
        self, topic_name: str, ids: Mapping[str, str], payload: bytes, qos: Literal[0, 1] = 1
    ) -> None:
        raise AssertionError("captions have no such message")

    def subscribe(self, topic_name: str, handler: Handler) -> None:
        raise AssertionError("captions listen to no topic")

    def on_connected(self, handler: Callable[[], None]) -> None:
        raise AssertionError("captions do not mind")

    def on_disconnected(self, handler: Callable[[], None]) -> None:
        raise AssertionError("captions do not mind")

    async def final(self) -> CaptionSegment:
        return await asyncio.wait_for(self.finals.get(), WAIT_S)

    async def partial(self) -> CaptionSegment:
        return await asyncio.wait_for(self.partials.get(), WAIT_S)


class FakeMicrophone:
    """Gives the blocks that a test puts in; None unplugs it."""

    def __init__(self) -> None:
        self.blocks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = asyncio.Event()

    async def read(self) -> bytes:
        block = await self.blocks.get()
        if block is None:
            raise UnavailableError("unplugged")
        return block

    async def close(self) -> None:
        self.closed.set()


class FakeChild:
    """A recogniser that says what a test makes it say, and keeps what it was fed."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.frames: asyncio.Queue[Frame] = asyncio.Queue()
        self.messages: asyncio.Queue[Message | Exception] = asyncio.Queue()
        self.killed = asyncio.Event()

    async def feed(self, frame: Frame) -> None:
        self.frames.put_nowait(frame)

    async def next_message(self) -> Message:
        message = await self.messages.get()
        if isinstance(message, Exception):
            raise message
        return message

    async def kill(self) -> None:
        self.killed.set()

    async def frame(self) -> Frame:
        return await asyncio.wait_for(self.frames.get(), WAIT_S)


class FakeRecogniser:
    """Reads one "word" for each second of sound, settled one second late. Knows no language."""

    name = "fake"
    utterance_s_max = 5.0

    def __init__(self) -> None:
        self._heard = 0
        self.guesses = 0

    def hear(self, samples: Samples) -> None:
        self._heard += len(samples)

    def guess(self) -> Hypothesis:
        self.guesses += 1
        text, settled = self._words(self._heard), self._words(self._heard - 16_000)
        return Hypothesis(text, len(settled), 0.5)

    def finish(self) -> Hypothesis:
        text = self._words(self._heard)
        self.forget()
        return Hypothesis(text, len(text), 0.9)

    def cut(self) -> tuple[Hypothesis, int]:
        seconds = self._heard // 16_000 * 16_000
        rest = self._heard - seconds
        self._heard = seconds
        reading = self.finish()
        self._heard = rest
        return reading, seconds

    def forget(self) -> None:
        self._heard = 0

    @staticmethod
    def _words(samples: int) -> str:
        return " ".join(["word"] * (samples // 16_000))


class FakeVad:
    """Takes every sound above a hundredth of full scale for speech."""

    def reset(self) -> None:
        pass

    def probabilities(self, samples: Samples) -> npt.NDArray[np.float32]:
        return (np.abs(samples.reshape(-1, FRAME)).max(axis=1, initial=0) > 0.01).astype(np.float32)


def tone(seconds: float, rate_hz: int) -> bytes:
    """What `FakeVad` takes for speech."""
    count = np.arange(int(seconds * rate_hz))
    return (np.sin(2 * np.pi * 440 * count / rate_hz) * 8_000).astype("<i2").tobytes()


def quiet(seconds: float, rate_hz: int) -> bytes:
    """What it does not."""
    return bytes(2 * int(seconds * rate_hz))


def frames(pcm: bytes, rate_hz: int, position: int = 0) -> list[Audio]:
    """Blocks of a tenth of a second."""
    size = rate_hz // 10 * 2
    return [Audio(position + i // 2, pcm[i : i + size]) for i in range(0, len(pcm), size)]
