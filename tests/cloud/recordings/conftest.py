"""A hall with an open sitting, uploads over a temporary store, and a recorder that speaks tus."""

import base64
import hashlib
import itertools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import Received
from cloud.database.models.captions import Sitting
from cloud.database.models.devices import Device
from cloud.database.models.recordings import Recording, RecordingSegment
from cloud.recordings import api
from cloud.recordings.news import News
from cloud.recordings.objects import FolderObjects
from cloud.recordings.uploads import Uploads
from contract.messages import Envelope, Lane, encode, open_envelope, seal
from contract.recordings import GapReason, RecorderState, RecordingNews, SegmentEntry, recording_id

HALL = "hall-01"
SESSION = "01a2078f-e300-7a01-b362-2da7151b7a60"
RECORDING = recording_id(SESSION, "floor")


def sound(segment: int, size: int = 100_000) -> bytes:
    """Different bytes for each segment."""
    return hashlib.shake_128(str(segment).encode()).digest(size)


def entry_of(segment: int, data: bytes) -> SegmentEntry:
    return SegmentEntry(
        segment=segment,
        start_ms=segment * 1000,
        duration_ms=900,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        rate_hz=48_000,
        gap_before_ms=100,
        why=GapReason.PAUSED,
        early_ms=segment,
        late_ms=1300,
    )


def metadata(entry: SegmentEntry, **changed: str) -> str:
    told = {"session": SESSION, "channel": "floor", "lang": "en"} | msgspec.to_builtins(entry) | changed
    del told["size"]
    return ",".join(f"{k} {base64.b64encode(str(v).encode()).decode()}" for k, v in told.items())


@dataclass
class Recorder:
    """Speaks tus with the device listener."""

    client: TestClient
    tus: dict[str, str] = field(default_factory=lambda: {"Tus-Resumable": "1.0.0"})

    def begin(self, segment: int, data: bytes, /, **changed: str) -> Response:
        told = metadata(entry_of(segment, data), **changed)
        headers = self.tus | {"Upload-Length": str(len(data)), "Upload-Metadata": told}
        return self.client.post(api.UPLOADS, headers=headers)

    def send(self, place: str, offset: int, data: bytes) -> Response:
        headers = self.tus | {
            "Upload-Offset": str(offset),
            "Content-Type": "application/offset+octet-stream",
        }
        return self.client.patch(place, headers=headers, content=data)

    def offset(self, place: str) -> int:
        return int(self.client.head(place, headers=self.tus).headers["Upload-Offset"])

    def upload(self, segment: int, data: bytes) -> Response:
        begun = self.begin(segment, data)
        assert begun.status_code == 201, begun.text
        at = int(begun.headers["Upload-Offset"])
        return self.send(begun.headers["Location"], at, data[at:])

    def stored(self, segment: int, recording: str = RECORDING) -> Response:
        return self.client.get(f"{api.PATH}/{recording}/segments/{segment}")


@pytest.fixture
def hall(sessions: sessionmaker[Session], clock: Callable[[], datetime]) -> str:
    """Its recorder, with an open sitting; another hall has none."""
    with sessions.begin() as session:
        for device in (HALL, "hall-02"):
            session.add(Device(device=device, kind="recorder", site="Assembly", registered_at=clock()))
        session.add(
            Sitting(
                session=SESSION,
                device=HALL,
                channel="floor",
                title="Assembly",
                lang="en",
                state="open",
                version=1,
                created_at=clock(),
                opened_at=clock(),
            )
        )
    return HALL


@pytest.fixture
def objects(tmp_path: Path) -> FolderObjects:
    return FolderObjects(tmp_path / "objects")


@dataclass
class Plane:
    """The cloud's side, as `main.py` puts it together."""

    sessions: sessionmaker[Session]
    objects: FolderObjects
    clock: Callable[[], datetime]
    uploaded: list[str] = field(default_factory=list)
    seq: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def uploads(self, **limits: int) -> Uploads:
        return Uploads(
            self.sessions,
            self.objects,
            self.uploaded.append,
            clock=self.clock,
            new_id=lambda: str(uuid.uuid4()),
            **limits,
        )

    def tell(self, topic: str, body: msgspec.Struct, *, device: str = HALL, **ids: str) -> None:
        """A message of a recorder, as the broker gives it to the handler."""
        news = News(self.uploaded.append)
        handler = {"recordings": news.on_news, "floor": news.on_floor}[topic]
        after = []
        with self.sessions.begin() as session:
            message = Received(
                device, {"device": device} | ids, b"", self._envelope(body), self.clock(), session
            )
            handler(message)
            after = message._after
        for do in after:
            do()

    def _envelope(self, body: msgspec.Struct) -> Envelope:
        at = int(self.clock().timestamp() * 1000)
        seq = next(self.seq)
        return open_envelope(
            seal(encode(body), boot="b", lane=Lane.EVENTS, seq=seq, at=at, sent=at, historical=False)
        )

    def news(
        self, revision: int, state: RecorderState, *segments: SegmentEntry, count: int | None = None
    ) -> None:
        """The news of the open sitting's recording."""
        self.tell(
            "recordings",
            RecordingNews(
                recording=RECORDING,
                session=SESSION,
                channel="floor",
                lang="en",
                state=state,
                revision=revision,
                segment_count=len(segments),
                segments=list(segments),
            ),
            recording=RECORDING,
        )

    def recording(self) -> Recording:
        with self.sessions() as session:
            return session.get_one(Recording, RECORDING)

    def segments(self) -> list[RecordingSegment]:
        with self.sessions() as session:
            return list(session.scalars(sa.select(RecordingSegment).order_by(RecordingSegment.segment)))


@pytest.fixture
def plane(
    sessions: sessionmaker[Session], objects: FolderObjects, clock: Callable[[], datetime], hall: str
) -> Plane:
    return Plane(sessions, objects, clock)


@pytest.fixture
def recorder(plane: Plane, device_app: Callable[..., object]) -> Recorder:
    return Recorder(TestClient(device_app(api.router(plane.uploads()), device=HALL)))
