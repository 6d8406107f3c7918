"""Recordings as the recorder's half leaves them: rows and objects, made from real sound."""

import hashlib
import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import obstore
from obstore.store import LocalStore
from sqlalchemy.orm import Session

from cloud.database.models.captions import Sitting, SittingChange
from cloud.database.models.recordings import FloorTurn, Recording, RecordingSegment
from contract.recordings import recording_id

HALL = "hall-01"
CHANNEL = "floor"
SESSION = "sitting-1"
RECORDING = recording_id(SESSION, CHANNEL)
Pcm = npt.NDArray[np.int16]


def wav(pcm: Pcm, rate_hz: int, channels: int = 1) -> bytes:
    """A WAV file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm.astype("<i2").tobytes())
    return out.getvalue()


def samples(path: Path) -> tuple[Pcm, int]:
    """The samples of a WAV file, and their rate."""
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2"), file.getframerate()


def tone(length_ms: int, rate_hz: int = 16_000, level: float = 0.3) -> Pcm:
    """Something that is no speech."""
    at = np.arange(rate_hz * length_ms // 1000)
    return (np.sin(at * 2 * np.pi * 440 / rate_hz) * level * 32767).astype(np.int16)


@dataclass(frozen=True)
class Take:
    """One segment as it was uploaded; `content` overrides what is stored."""

    pcm: Pcm
    rate_hz: int
    start_ms: int
    content: bytes | None = None

    @property
    def duration_ms(self) -> int:
        return len(self.pcm) * 1000 // self.rate_hz


def store(folder: Path) -> LocalStore:
    """The object store in a folder."""
    folder.mkdir(exist_ok=True)
    return LocalStore(folder)


def arrive(
    database: Session,
    objects: LocalStore,
    takes: Sequence[Take],
    at: datetime,
    *,
    session: str = SESSION,
    lang: str = "en",
    state: str = "uploaded",
    turns: Sequence[tuple[int, str]] = (),
) -> str:
    """A recording whose every segment is stored; the sitting's `turns` are those after its opening, in ms."""
    database.add(
        Sitting(
            session=session,
            device=HALL,
            channel=CHANNEL,
            title="Mbledhja e provës",
            lang=lang,
            state="ended",
            version=2,
            created_at=at,
            opened_at=at,
            ended_at=at,
        )
    )
    database.flush()
    life = [(0, "planned"), (0, "open"), *turns, (3_600_000, "ended")]
    for version, (at_ms, became) in enumerate(life):
        moment = at + timedelta(milliseconds=at_ms)
        database.add(SittingChange(session=session, version=version, state=became, at=moment))
    recording = recording_id(session, CHANNEL)
    database.add(
        Recording(
            recording=recording,
            session=session,
            channel=CHANNEL,
            device=HALL,
            lang=lang,
            state=state,
            version=1,
            segments_expected=len(takes),
            created_at=at,
            updated_at=at,
        )
    )
    database.flush()
    for number, take in enumerate(takes, 1):
        content = wav(take.pcm, take.rate_hz) if take.content is None else take.content
        key = f"recordings/{recording}/{number:04d}.wav"
        obstore.put(objects, key, content)
        database.add(
            RecordingSegment(
                recording=recording,
                segment=number,
                start_ms=take.start_ms,
                duration_ms=take.duration_ms,
                rate_hz=take.rate_hz,
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                object_key=key,
                stored_at=at,
            )
        )
    return recording


def floor(
    database: Session, turns: Sequence[tuple[str, int, int]], at: datetime, session: str = SESSION
) -> None:
    """Who had the microphone: (seat, from ms, to ms)."""
    for seat, begins, ends in turns:
        for at_ms, taken in ((begins, True), (ends, False)):
            database.add(
                FloorTurn(
                    session=session,
                    at_ms=at_ms,
                    seat=seat,
                    taken=taken,
                    device=HALL,
                    source="microphone-system",
                    received_at=at,
                )
            )
