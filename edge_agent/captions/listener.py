"""From the microphone's blocks to messages: resample, find the utterances, have them recognised.

Runs inside the recogniser child. Reading ahead (`guess`) is asked for by the child's loop when it has the
time; finishing an utterance never waits, so that a slow machine loses guesses and no words.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import soxr

from edge_agent.captions.child_protocol import Audio, Frame, Gap, Guess, Heard, Message, Said
from edge_agent.captions.engine import RATE_HZ, Hypothesis, Recogniser, Samples
from edge_agent.captions.utterances import Turn, Utterances
from edge_agent.captions.vad_silero import FRAME

LEAD_IN = 8 * FRAME
"""Samples before the first frame of speech that belong to it: a quarter of a second, for soft beginnings."""
HEARD_EVERY = RATE_HZ
"""Samples between two signs of life."""


class Vad(Protocol):
    """Tells speech from other sound; `vad_silero.SileroVad` is the real one."""

    def reset(self) -> None:
        """Begin anew, as after a gap."""

    def probabilities(self, samples: Samples) -> npt.NDArray[np.float32]:
        """One number between 0 and 1 for each frame of 512 samples."""


class Listener:
    """Follows one microphone."""

    def __init__(self, recogniser: Recogniser, vad: Vad, rate_hz: int) -> None:
        self._recogniser = recogniser
        self._vad = vad
        self._rate = rate_hz
        self._utterances = Utterances()
        self._expected: int | None = None
        self._begin_stream(0)

    @property
    def speech_unread(self) -> int:
        """Samples of speech (at 16 kHz) that no guess has covered yet."""
        return self._unread

    @property
    def heard(self) -> Heard:
        """How far the microphone was followed."""
        return Heard(position=self._position(self._done), quiet=not self._utterances.speaking)

    def hear(self, frame: Frame) -> Iterator[Message]:
        """Take in a frame; gives what was said when an utterance ended in it."""
        match frame:
            case Gap():
                yield from self._finish_stream()
            case Audio(position, pcm):
                if position != self._expected:
                    yield from self._finish_stream()
                    self._begin_stream(position)
                self._expected = position + len(pcm) // 2
                chunk = self._resampler.resample_chunk(np.frombuffer(pcm, "<i2").astype(np.float32) / 32768)
                yield from self._hear_samples(chunk)

    def guess(self) -> Guess | None:
        """Read ahead in the current utterance; None if there is none."""
        if not self._utterances.speaking:
            return None
        self._unread = 0
        reading = self._recogniser.guess()
        return Guess(
            start=self._position(self._start),
            end=self._position(self._done),
            text=reading.text,
            stable=reading.stable,
            confidence=reading.confidence,
        )

    def _begin_stream(self, position: int) -> None:
        # Sample n of the 16 kHz stream is the microphone's sample base + n * rate / 16000.
        self._base = position
        self._resampler = soxr.ResampleStream(self._rate, RATE_HZ, 1, dtype="float32", quality="HQ")
        self._vad.reset()
        self._utterances.restart()
        self._waiting: Samples = np.zeros(0, np.float32)
        self._lead: Samples = np.zeros(0, np.float32)
        self._done = 0
        self._told = 0
        self._start = 0
        self._spoken = 0
        self._unread = 0

    def _finish_stream(self) -> Iterator[Message]:
        if self._utterances.speaking:
            rest = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            self._recogniser.hear(np.concatenate([self._waiting, rest]))
            self._utterances.restart()
            yield self._said(self._recogniser.finish(), self._spoken)

    def _hear_samples(self, chunk: Samples) -> Iterator[Message]:
        sound = np.concatenate([self._waiting, chunk])
        whole = len(sound) // FRAME * FRAME
        self._waiting = sound[whole:]
        probabilities = self._vad.probabilities(sound[:whole])
        for i, probability in enumerate(probabilities):
            yield from self._hear_frame(sound[i * FRAME : (i + 1) * FRAME], float(probability))
        if self._done - self._told >= HEARD_EVERY:
            self._told = self._done
            yield self.heard

    def _hear_frame(self, samples: Samples, probability: float) -> Iterator[Message]:
        turn = self._utterances.follow(probability)
        self._done += FRAME
        if turn is Turn.QUIET:
            self._lead = np.concatenate([self._lead, samples])[-LEAD_IN:]
            return
        if turn is Turn.BEGIN:
            samples = np.concatenate([self._lead, samples])
            self._lead = samples[:0]
            self._start = self._done - len(samples)
        self._recogniser.hear(samples)
        if turn is Turn.END:
            yield self._said(self._recogniser.finish(), self._spoken)
            return
        if turn is not Turn.PAUSES:
            self._unread += len(samples)
            self._spoken = self._done
        if self._done - self._start >= self._recogniser.utterance_s_max * RATE_HZ:
            reading, length = self._recogniser.cut()
            yield self._said(reading, self._start + length)
            self._start += length
            self._utterances.cut()

    def _said(self, reading: Hypothesis, end: int) -> Said:
        self._unread = 0
        return Said(
            start=self._position(self._start),
            end=self._position(end),
            text=reading.text,
            confidence=reading.confidence,
        )

    def _position(self, sample: int) -> int:
        return self._base + sample * self._rate // RATE_HZ
