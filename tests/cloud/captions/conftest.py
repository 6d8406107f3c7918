"""A city with two halls, captions over its database, and a recorder's messages."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import Received
from cloud.captions.hub import Hub
from cloud.captions.run import Captions
from cloud.database.models.devices import Device
from contract.captions import CaptionSegment, CaptionState, SetSitting
from contract.messages import Envelope, Lane, encode, open_envelope, seal


@dataclass
class Jobs:
    """Keeps the jobs that were created."""

    created: list[tuple[str, str, SetSitting]] = field(default_factory=list)

    def __call__(self, _database: Session, job: str, device: str, document: SetSitting) -> None:
        self.created.append((job, device, document))


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def halls(sessions: sessionmaker[Session], clock: Callable[[], datetime]) -> list[str]:
    with sessions.begin() as database:
        for device in ("hall-01", "hall-02"):
            database.add(
                Device(
                    device=device,
                    kind="recorder",
                    site="Assembly",
                    registered_at=clock(),
                    enrolled_at=clock(),
                    decommissioned_at=None,
                    presence="online",
                    presence_at=clock(),
                )
            )
        database.add(Device(device="kiosk-01", kind="kiosk", site="Square", registered_at=clock()))
    return ["hall-01", "hall-02"]


@pytest.fixture
def captions(sessions: sessionmaker[Session], jobs: Jobs, halls: list[str]) -> Captions:
    return Captions(sessions, jobs, Hub())


@dataclass
class Clerk:
    """Does what the clerk's page does, without the page."""

    captions: Captions

    def plan(self, device: str = "hall-01", title: str = "Assembly", lang: str = "en") -> str:
        with self.captions.sessions.begin() as database:
            return self.captions.create(database, device=device, title=title, lang=lang).session

    def do(self, session: str, event: str, reason: str = "", note: str = "") -> None:
        with self.captions.sessions.begin() as database:
            self.captions.change(database, session, event, reason=reason, note=note)
        self.captions.changed(session)

    def open(self, device: str = "hall-01", title: str = "Assembly", lang: str = "en") -> str:
        session = self.plan(device, title, lang)
        self.do(session, "open")
        return session


@pytest.fixture
def clerk(captions: Captions) -> Clerk:
    return Clerk(captions)


@dataclass
class Recorder:
    """Sends segments as the broker would hand them on."""

    captions: Captions
    device: str = "hall-01"

    def segment(self, session: str, number: int, text: str, **more: object) -> CaptionSegment:
        values: dict[str, object] = {
            "session": session,
            "channel": "floor",
            "segment": number,
            "revision": 1,
            "state": CaptionState.FINAL,
            "text": text,
            "start_ms": 0,
            "end_ms": 0,
            "lang": "en",
            "source": "test",
        }
        return CaptionSegment(**(values | more))  # type: ignore[arg-type] # values of a test

    def final(self, session: str, number: int, text: str, **more: object) -> None:
        """Send a final through the handler, committed."""
        segment = self.segment(session, number, text, **more)
        after: list[Callable[[], None]] = []
        with self.captions.sessions.begin() as database:
            message = Received(
                self.device,
                {"device": self.device, "session": session, "channel": "floor"},
                b"",
                self._envelope(segment, Lane.EVENTS),
                datetime.now(UTC),
                database,
                after,
            )
            self.captions.on_final(message)
        for do in after:
            do()

    def partial(self, session: str, number: int, text: str, **more: object) -> None:
        """Send a partial through the handler."""
        segment = self.segment(session, number, text, state=CaptionState.PARTIAL, **more)
        ids = {"device": self.device, "session": session, "channel": "floor"}
        envelope = self._envelope(segment, Lane.LIVE)
        self.captions.on_partial(Received(self.device, ids, b"", envelope, datetime.now(UTC)))

    def _envelope(self, segment: CaptionSegment, lane: Lane) -> Envelope:
        now = int(datetime.now(UTC).timestamp() * 1000)
        return open_envelope(
            seal(encode(segment), boot="b", lane=lane, seq=1, at=now, sent=now, historical=False)
        )


@pytest.fixture
def recorder(captions: Captions) -> Recorder:
    return Recorder(captions)
