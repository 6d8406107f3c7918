"""The captions of one process: takes what recorders send, changes sittings, tells everybody who reads."""

import logging
import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import Received
from cloud.captions import core, segments, sittings
from cloud.captions.hub import Event, Hub, Kind, frame
from cloud.captions.sittings import CreateJob
from cloud.database.models.captions import Sitting
from cloud.errors import MalformedError
from contract.captions import CaptionSegment, CaptionState
from contract.ids import RANDOM_BYTES, uuid7
from contract.messages import encode, read

log = logging.getLogger(__name__)


class SittingNews(msgspec.Struct, frozen=True, kw_only=True):
    """Data of the event `sitting`: its state, and why there is no text, if so; codes, not sentences."""

    state: str
    lang: str
    silence: str
    reason: str


@dataclass(frozen=True)
class _Hall:
    """A sitting that holds a hall; `open_since` is None while it is not open."""

    device: str
    channel: str
    opened_at: datetime | None
    open_since: datetime | None


class Captions:
    """What the pages, the broker and the jobs of this process call.

    `create_job` comes from `cloud.wiring.captions`. The viewers' `hub` must be attached to the pages' event
    loop.
    """

    def __init__(self, sessions: sessionmaker[Session], create_job: CreateJob, hub: Hub) -> None:
        self.sessions = sessions
        self.hub = hub
        self._create_job = create_job
        self._halls: dict[str, _Hall] = {}
        self._guard = threading.Lock()
        self._news = threading.Lock()

    def load(self) -> None:
        """Learn from the database which sittings are open; call it once before the broker connects."""
        with self.sessions() as database:
            for sitting in sittings.listed(database):
                self._remember(database, sitting)

    def _remember(self, database: Session, sitting: Sitting) -> None:
        since = sittings.changes(database, sitting.session)[-1].at if sitting.state == core.OPEN else None
        with self._guard:
            if sitting.state in core.OCCUPYING:
                hall = _Hall(sitting.device, sitting.channel, sitting.opened_at, since)
                self._halls[sitting.session] = hall
            else:
                self._halls.pop(sitting.session, None)

    def create(self, database: Session, *, device: str, title: str, lang: str) -> Sitting:
        """Plan a sitting; see `sittings.create` for what is raised."""
        session = uuid7(int(time.time() * 1000), os.urandom(RANDOM_BYTES))
        return sittings.create(
            database, session, device=device, title=title, lang=lang, now=datetime.now(UTC)
        )

    def change(self, database: Session, session: str, event: str, *, reason: str, note: str) -> Sitting:
        """Change a sitting and create the recorder's job; call `changed` once it is committed."""
        return sittings.change(
            database,
            session,
            event,
            reason=reason,
            note=note,
            now=datetime.now(UTC),
            create_job=self._create_job,
        )

    def changed(self, session: str) -> None:
        """Tell the viewers how the sitting stands now.

        One at a time, so that whoever looks last has the last word: a sitting that is remembered as open
        after it was closed would let words through.
        """
        with self._news, self.sessions() as database:
            sitting = sittings.find(database, session)
            self._remember(database, sitting)
            self.hub.post(self.news(database, sitting))
            log.info(
                "sitting_changed",
                extra={"session": session, "state": sitting.state, "version": sitting.version},
            )

    def news(self, database: Session, sitting: Sitting) -> Event:
        """The event that says how the sitting stands."""
        silence = self.silence(database, sitting)
        last = sittings.changes(database, sitting.session)[-1]
        data = encode(
            SittingNews(
                state=sitting.state,
                lang=sitting.lang,
                silence=silence or "",
                reason=last.reason,
            )
        )
        return Event(Kind.SITTING, sitting.session, 0, 0, frame(Kind.SITTING, data))

    def silence(self, database: Session, sitting: Sitting) -> core.Silence | None:
        """Why this sitting has no text now."""
        return core.silence(
            sitting.state,
            recogniser=sitting.recogniser,
            online=sittings.hall_online(database, sitting.device),
            spoken=sitting.sequence > 0,
        )

    def on_final(self, message: Received) -> None:
        """Handler of `caption-final`: stores in the broker's transaction, shows it after the commit."""
        assert message.envelope is not None
        event = segments.take_final(
            message.session, message.device, message.ids, message.envelope.body, message.received_at
        )
        if event is not None:
            message.after_commit(lambda: self.hub.post(event))

    def on_partial(self, message: Received) -> None:
        """Handler of `caption-partial`: handed on at once, never stored; only while the sitting is open.

        Words that were on their way when the sitting was paused or closed are dropped here, also when it is
        open again by the time they come.

        Raises:
            MalformedError: of no sitting that this hall holds now.
        """
        assert message.envelope is not None
        segment = read(message.envelope.body, CaptionSegment)
        segments.check(segment, message.ids, CaptionState.PARTIAL)
        with self._guard:
            hall = self._halls.get(segment.session)
        if hall is None or (hall.device, hall.channel) != (message.device, segment.channel):
            raise MalformedError("the words are of no sitting that this hall holds now")
        if hall.opened_at is None or hall.open_since is None:
            return
        if not core.is_of_now(hall.open_since, hall.opened_at + timedelta(milliseconds=segment.start_ms)):
            return
        line = segments.Line(
            segment=segment.segment,
            revision=segment.revision,
            state=segment.state,
            text=segment.text,
            lang=segment.lang,
            at=message.envelope.at,
            stable=segment.stable,
        )
        self.hub.post(
            Event(Kind.PARTIAL, segment.session, segment.segment, 0, frame(Kind.PARTIAL, encode(line)))
        )

    def recorder_answered(self, session: str, version: int, recogniser: str) -> None:
        """What the recorder said when it took `version` of the sitting; an older version is ignored."""
        with self.sessions.begin() as database:
            sitting = database.get(Sitting, session, with_for_update=True)
            if sitting is None or sitting.version != version:
                return
            sitting.recogniser = recogniser[:32]
        self.changed(session)

    def recorder_unheard(self, job: str) -> None:
        """No try of this job was answered: the recorder is told once more, if its sitting still stands so.

        Raises:
            RefusedError: as `sittings.tell_again`.
        """
        with self.sessions.begin() as database:
            sittings.tell_again(database, job, self._create_job)

    def presence_changed(self, device: str) -> None:
        """A hall's recorder came or went: tell those who read along."""
        with self._guard:
            touched = [session for session, hall in self._halls.items() if hall.device == device]
        for session in touched:
            self.changed(session)
