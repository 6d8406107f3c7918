"""Uploads of segments, resumable at the recorded byte whatever dies when.

The database says how many bytes of an upload are safely on the disk; what lies beyond them in the file was
left by a crash and is cut off before the upload goes on. A segment is stored in this order: its bytes are
synced, held against the announced digest, moved into the object store, and only then written down as stored.
"""

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from io import FileIO
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud import arrivals
from cloud.database.engine import for_reading
from cloud.database.models.recordings import Recording, RecordingSegment, RecordingUpload
from cloud.errors import CloudError, MalformedError, RefusedError
from cloud.recordings import store
from cloud.recordings.news import OnUploaded
from cloud.recordings.objects import FolderObjects, segment_key
from cloud.recordings.tus import Announced
from contract.recordings import StoredSegment, UploadProblem

log = logging.getLogger(__name__)

OPEN_MAX = 4
"""Uploads that one device may have open."""
AGE_MAX = timedelta(days=7)
"""An upload that nobody has touched for so long is thrown away; its device begins anew."""
FREE_BYTES_MIN = 256 * 1024 * 1024
"""Room that uploads leave on the disk for everything else."""
SYNC_BYTES = 8 * 1024 * 1024
"""After so many bytes of one request at the latest they are synced and recorded."""
HASH_BYTES = 1024 * 1024


class UploadError(CloudError):
    """An upload is refused; `problem` is for programs, `status` for HTTP."""

    def __init__(self, problem: UploadProblem, sentence: str) -> None:
        super().__init__(sentence)
        self.problem = problem
        self.status = STATUS[problem]


STATUS = {
    UploadProblem.NOT_YOURS: 403,
    UploadProblem.DIFFERENT: 409,
    UploadProblem.STORED: 409,
    UploadProblem.TOO_LARGE: 413,
    UploadProblem.TOO_MANY: 429,
    UploadProblem.NO_ROOM: 507,
    UploadProblem.OFFSET: 409,
    UploadProblem.BUSY: 409,
    UploadProblem.CORRUPT: 409,
    UploadProblem.GONE: 404,
    UploadProblem.MALFORMED: 400,
    UploadProblem.VERSION: 412,
}

COUNTED = frozenset(STATUS) - {
    UploadProblem.OFFSET,
    UploadProblem.STORED,
    UploadProblem.BUSY,
    UploadProblem.GONE,
}
"""The others are how two sides find together again after a crash."""


class Place:
    """How an upload stands: `received` of `size` bytes are safe, and it is kept until `expires`."""

    def __init__(self, row: RecordingUpload) -> None:
        self.upload = row.upload
        self.recording = row.recording
        self.segment = row.segment
        self.size = row.size
        self.received = row.received
        self.expires = row.touched_at + AGE_MAX


class Uploads:
    """The uploads of one control plane; safe to use from several threads, in one process only."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        objects: FolderObjects,
        on_uploaded: OnUploaded,
        *,
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        free_bytes_min: int = FREE_BYTES_MIN,
    ) -> None:
        self._sessions = sessions
        self._reading = for_reading(sessions)
        self._objects = objects
        self._on_uploaded = on_uploaded
        self._clock = clock
        self._new_id = new_id
        self._free_bytes_min = free_bytes_min
        self._guard = threading.Lock()
        self._busy: set[str] = set()

    def begin(self, device: str, told: Announced) -> Place:
        """Open the upload of a segment, or find the open one again.

        Raises:
            UploadError: not this device's, announced differently, stored already, too many, or no room.
        """
        now = self._clock()
        with self._sessions.begin() as session:
            try:
                sitting = store.hall_of(session, device, told.session, told.channel)
                recording = store.open_recording(session, sitting, told.lang, now)
                segment = store.announce(session, recording.recording, told.entry)
            except RefusedError as error:
                raise UploadError(UploadProblem.NOT_YOURS, str(error)) from None
            except MalformedError as error:
                raise UploadError(UploadProblem.DIFFERENT, str(error)) from None
            if segment.stored_at is not None:
                raise UploadError(UploadProblem.STORED, f"segment {segment.segment} is stored already")
            row = session.scalar(
                sa.select(RecordingUpload).where(
                    RecordingUpload.recording == recording.recording,
                    RecordingUpload.segment == segment.segment,
                )
            )
            if row is None:
                row = self._open(session, device, segment, now)
            row.touched_at = now
            return Place(row)

    def _open(
        self, session: Session, device: str, segment: RecordingSegment, now: datetime
    ) -> RecordingUpload:
        if store.uploads_of(session, device) >= OPEN_MAX:
            raise UploadError(
                UploadProblem.TOO_MANY, f"at most {OPEN_MAX} uploads may be open; finish or delete one first"
            )
        if self._objects.free_bytes() - segment.size < self._free_bytes_min:
            raise UploadError(UploadProblem.NO_ROOM, "the server's disk is full; try again later")
        row = RecordingUpload(
            upload=self._new_id(),
            device=device,
            recording=segment.recording,
            segment=segment.segment,
            size=segment.size,
            received=0,
            begun_at=now,
            touched_at=now,
        )
        session.add(row)
        session.flush()
        log.info("upload_begun", extra={"recording": row.recording, "segment": row.segment})
        return row

    def count(self, device: str, problem: UploadProblem) -> None:
        """Count a refusal that the sender is to blame for, or that a person should see."""
        if problem in COUNTED:
            with self._sessions.begin() as session:
                arrivals.count(session, device, f"upload-{problem.value}", self._clock())

    def place(self, device: str, upload: str) -> Place:
        """How an upload stands.

        Raises:
            UploadError: this device has no such upload.
        """
        with self._reading() as session:
            return Place(_of(session, device, upload))

    @contextmanager
    def writing(self, device: str, upload: str, offset: int) -> Iterator["Writing"]:
        """Go on with an upload at exactly `offset`; what was given to it is safe at the end, however it ends.

        Raises:
            UploadError: no such upload, another offset, or somebody else is writing to it.
        """
        with self._alone(upload):
            place = self.place(device, upload)
            if offset != place.received:
                raise UploadError(
                    UploadProblem.OFFSET, f"the upload is at {place.received}, not at {offset}; go on there"
                )
            writing = Writing(self._objects, place, self._record)
            try:
                yield writing
            finally:
                writing.close()

    @contextmanager
    def _alone(self, upload: str) -> Iterator[None]:
        with self._guard:
            if upload in self._busy:
                raise UploadError(UploadProblem.BUSY, "another request is at this upload; try again later")
            self._busy.add(upload)
        try:
            yield
        finally:
            with self._guard:
                self._busy.discard(upload)

    def _record(self, upload: str, received: int) -> None:
        with self._sessions.begin() as session:
            row = session.get(RecordingUpload, upload)
            if row is not None:
                row.received, row.touched_at = received, self._clock()

    def finish(self, device: str, upload: str) -> None:
        """Store a segment whose bytes are all there; call it within `writing`, after its last byte.

        Raises:
            UploadError: the bytes have another digest than was announced; they are thrown away.
            UnavailableError: the disk fails; the bytes stay, and it can be asked for again.
        """
        place = self.place(device, upload)
        key = segment_key(place.recording, place.segment)
        if self._objects.incoming(upload).exists():
            self._hold_against_digest(place)
            self._objects.take_in(upload, key)
        elif self._objects.size(key) != place.size:  # else a control plane has moved it in and died then
            self._record(upload, 0)
            raise UploadError(UploadProblem.OFFSET, "what had come is gone from the disk; go on at 0")
        now = self._clock()
        with self._sessions.begin() as session:
            segment = session.get_one(RecordingSegment, (place.recording, place.segment))
            segment.object_key, segment.stored_at = key, now
            session.execute(sa.delete(RecordingUpload).where(RecordingUpload.upload == upload))
            recording = session.get_one(Recording, place.recording, with_for_update=True)
            uploaded = store.settle(session, recording, now)
        log.info("segment_stored", extra={"recording": place.recording, "segment": place.segment})
        if uploaded:
            self._on_uploaded(place.recording)

    def _hold_against_digest(self, place: Place) -> None:
        found = _digest(self._objects.incoming(place.upload))
        with self._reading() as session:
            wanted = session.get_one(RecordingSegment, (place.recording, place.segment)).sha256
        if found != wanted:
            self._throw_away(place)
            raise UploadError(
                UploadProblem.CORRUPT,
                "what came has another digest than was announced; send it from the start",
            )

    def _throw_away(self, place: Place) -> None:
        """A corrupted upload is counted; its bytes go before its row, and nothing of it is ever stored."""
        self._objects.incoming(place.upload).unlink(missing_ok=True)
        now = self._clock()
        with self._sessions.begin() as session:
            session.execute(sa.delete(RecordingUpload).where(RecordingUpload.upload == place.upload))
            segment = session.get_one(RecordingSegment, (place.recording, place.segment))
            segment.corrupted += 1
            store.settle(session, session.get_one(Recording, place.recording, with_for_update=True), now)
            times = segment.corrupted
        log.warning(
            "upload_corrupted",
            extra={"recording": place.recording, "segment": place.segment, "times": times},
        )

    def give_up(self, device: str, upload: str) -> None:
        """Forget an upload and its bytes.

        Raises:
            UploadError: no such upload, or somebody is writing to it.
        """
        with self._alone(upload):
            self.place(device, upload)
            self._forget(upload)

    def _forget(self, upload: str) -> None:
        with self._sessions.begin() as session:
            session.execute(sa.delete(RecordingUpload).where(RecordingUpload.upload == upload))
        self._objects.incoming(upload).unlink(missing_ok=True)

    def stored(self, device: str, recording: str, segment: int) -> StoredSegment:
        """What there is of a segment.

        Raises:
            UploadError: this device has no such recording.
        """
        with self._reading() as session:
            row = session.get(Recording, recording)
            if row is None or row.device != device:
                raise UploadError(UploadProblem.NOT_YOURS, "this device has no such recording")
            known = session.get(RecordingSegment, (recording, segment))
            opened = session.scalar(
                sa.select(RecordingUpload.received).where(
                    RecordingUpload.recording == recording, RecordingUpload.segment == segment
                )
            )
        if known is None or known.stored_at is None:
            return StoredSegment(recording=recording, segment=segment, stored=False, offset=opened or 0)
        return StoredSegment(
            recording=recording, segment=segment, stored=True, size=known.size, sha256=known.sha256
        )

    def sweep(self) -> None:
        """Throw away what nobody came back for, and make certain of what a crash has left half told."""
        now = self._clock()
        with self._reading() as session:
            rows = session.execute(sa.select(RecordingUpload.upload, RecordingUpload.touched_at)).all()
            unsettled = session.scalars(
                sa.select(Recording.recording).where(Recording.state.in_(store.UNSETTLED))
            ).all()
        for upload, touched_at in rows:
            if now - touched_at > AGE_MAX:
                try:
                    with self._alone(upload):
                        self._forget(upload)
                except UploadError:
                    continue  # somebody has come back for it at this moment
                log.warning("upload_purged", extra={"upload": upload})
        self._remove_orphans()
        for recording in unsettled:
            with self._sessions.begin() as session:
                row = session.get_one(Recording, recording, with_for_update=True)
                uploaded = store.settle(session, row, now)
            if uploaded:
                self._on_uploaded(recording)

    def _remove_orphans(self) -> None:
        """Files whose upload is gone: a crash came between the two."""
        there = self._objects.all_incoming()  # before the rows: an upload's row is always older than its file
        with self._reading() as session:
            known = set(session.scalars(sa.select(RecordingUpload.upload)))
        for name in there:
            if name not in known:
                self._objects.incoming(name).unlink(missing_ok=True)


class Writing:
    """One request's bytes on their way into an upload's file."""

    def __init__(self, objects: FolderObjects, place: Place, record: Callable[[str, int], None]) -> None:
        self.place = place
        self._record = record
        self._recorded = self._written = place.received
        self._file: FileIO | None = None if self.whole else self._open(objects.incoming(place.upload))

    def _open(self, path: Path) -> FileIO:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        file = FileIO(handle, "r+b")
        length = os.fstat(handle).st_size
        if length < self._recorded:
            file.close()
            self._record(self.place.upload, 0)
            raise UploadError(UploadProblem.OFFSET, "what had come is gone from the disk; go on at 0")
        if length > self._recorded:
            os.ftruncate(handle, self._recorded)
        file.seek(self._recorded)
        return file

    @property
    def written(self) -> int:
        """How far the upload has come."""
        return self._written

    @property
    def whole(self) -> bool:
        """Whether every byte is there."""
        return self._written == self.place.size

    def write(self, data: bytes | bytearray) -> None:
        """Take `data`.

        Raises:
            UploadError: it is more than was announced, or the disk is full; what came before stays.
        """
        if self._written + len(data) > self.place.size:
            raise UploadError(
                UploadProblem.TOO_LARGE,
                f"the segment was announced with {self.place.size} bytes; this is more",
            )
        if self._file is None:
            return
        view = memoryview(data)
        try:
            while view:
                count = self._file.write(view)
                self._written += count
                view = view[count:]
            if self._written - self._recorded >= SYNC_BYTES:
                self.sync()
        except OSError as error:
            raise UploadError(
                UploadProblem.NO_ROOM, f"the server cannot write: {error.strerror}; try again later"
            ) from error

    def sync(self) -> None:
        """Make what was written safe, and record it."""
        if self._file is not None and self._written != self._recorded:
            os.fsync(self._file.fileno())
            self._record(self.place.upload, self._written)
            self._recorded = self._written

    def close(self) -> None:
        """Make it safe and let go of the file."""
        try:
            self.sync()
        except OSError:
            log.exception("upload_not_synced", extra={"upload": self.place.upload})
        finally:
            if self._file is not None:
                self._file.close()


def _of(session: Session, device: str, upload: str) -> RecordingUpload:
    row = session.get(RecordingUpload, upload)
    if row is None or row.device != device:
        raise UploadError(UploadProblem.GONE, "this device has no such upload; begin it anew")
    return row


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(HASH_BYTES):
            digest.update(piece)
    return digest.hexdigest()
