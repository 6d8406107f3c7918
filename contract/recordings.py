"""Recordings: the sound of a sitting in segments, from the microphone to the published record.

The sound itself travels by HTTPS (tus 1.0, whole segments, each with its SHA-256); what travels by MQTT says
which segments there are, and who had the microphone when.
"""

import hashlib
import re
from enum import StrEnum

import msgspec

from contract.errors import MalformedError
from contract.lifecycle import Machine
from contract.topics import SEGMENT_LENGTH_MAX

SEGMENTS_MAX = 9_999
"""Segments of one recording."""
LISTED_MAX = 200
"""Segments, and gaps, of one message: the newest; earlier messages told of the others."""
POSITION_MS_MAX = 7 * 24 * 3_600_000
"""A sitting lasts no longer than a week."""
SEGMENT_BYTES_MAX = 1_400_000_000
"""One segment: two hours at 96 kHz."""
RATE_HZ_MIN = 8_000
RATE_HZ_MAX = 192_000
DRIFT = 500e-6
"""Counting samples is not further from the truth: crystals are good to 100 ppm, and timesyncd slews the
kernel's clock by 500 ppm at most (adjtimex(2))."""

RECORDING = Machine(
    "recording",
    "planned",
    {
        "planned": {"record": "recording", "finish": "finished", "fail": "failed"},
        "recording": {"interrupt": "interrupted", "finish": "finished", "fail": "failed"},
        "interrupted": {"record": "recording", "finish": "finished", "fail": "failed"},
        "finished": {"upload": "uploading", "fail": "failed"},
        "uploading": {"complete": "uploaded", "fail": "failed"},
        "uploaded": {"transcribe": "transcribing"},
        "transcribing": {"draft": "drafted", "give-up": "uploaded"},
        "drafted": {"review": "reviewed", "transcribe": "transcribing"},
        "reviewed": {"publish": "published", "reopen": "drafted"},
        "published": {},
        "failed": {"recover": "uploading"},
    },
)
"""`interrupted` goes on as the next segment. `uploaded` means that every segment is stored with the digest
that the recorder told. A recording that `failed` and whose missing segment comes after all has recovered.
"""


class RecorderState(StrEnum):
    """What the recorder is doing with the recording; it will never do anything after `finished`."""

    RECORDING = "recording"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"


class GapReason(StrEnum):
    """Why there is no sound between two segments, or from the last one on."""

    NONE = ""
    """There is no gap: the segment before was full."""
    LATE = "late"
    """The recorder learned so much later that the sitting had been opened."""
    PAUSED = "paused"
    """The sitting was paused or closed to the public: there must be none."""
    MICROPHONE = "microphone"
    """The microphone gave nothing."""
    RESTART = "restart"
    """The recorder did not run; it had written down all that it heard."""
    POWER = "power"
    """The recorder stopped in the middle of a segment; at most its last second was not on the disk."""
    DISK = "disk"
    """The disk was full, or did not keep up."""


LOSSES = frozenset({GapReason.MICROPHONE, GapReason.RESTART, GapReason.POWER, GapReason.DISK})
"""Reasons for which sound is missing that should be there."""


class SegmentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One closed segment: mono 16-bit PCM in a WAV file of `size` bytes.

    `segment` counts 1, 2, 3 … within the recording. `start_ms` is its position since the sitting was opened;
    what is missing between it and the segment before is `gap_before_ms`, because of `why`. All its sound was
    said at most `early_ms` before and `late_ms` after its position, by the server's clock; an older recorder
    does not say it.
    """

    segment: int
    start_ms: int
    duration_ms: int
    size: int
    sha256: str
    rate_hz: int
    gap_before_ms: int = 0
    why: GapReason = GapReason.NONE
    early_ms: int | msgspec.UnsetType = msgspec.UNSET
    late_ms: int | msgspec.UnsetType = msgspec.UNSET


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Sound that is missing for one of the reasons in `LOSSES`, after segment `after` (0: before the first).

    `lost_ms` is None while it lasts, and where nobody knows.
    """

    after: int
    at_ms: int
    lost_ms: int | None
    why: GapReason


class RecordingNews(msgspec.Struct, frozen=True, kw_only=True):
    """Body of `recordings`, a `must` event; `revision` grows with each, and the highest says the state.

    `segments` are the closed ones and `gaps` the losses, the newest `LISTED_MAX` of each; what was listed
    once never changes, but for the `lost_ms` of a gap that lasted still. `segment_count` is how many there
    are in all; with `finished` that is final.
    """

    recording: str
    session: str
    channel: str
    lang: str
    state: RecorderState
    revision: int
    segment_count: int
    segments: list[SegmentEntry] = []
    gaps: list[Gap] = []


class FloorAction(StrEnum):
    """What happened to the microphone of a seat."""

    TAKEN = "taken"
    RELEASED = "released"


class FloorReporter(StrEnum):
    """Who says so."""

    MICROPHONE_SYSTEM = "microphone-system"
    KEYPAD = "keypad"


class FloorEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Body of `floor`, a `must` event: `seat` is an id of the hall, never a person's name.

    `at_ms` is the position since the sitting was opened, on the same clock as segments and captions.
    """

    session: str
    at_ms: int
    seat: str
    action: FloorAction
    source: FloorReporter


class StoredSegment(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `GET …/segments/{segment}`: what the cloud has; the recorder deletes its file only after it.

    `stored` says whether the whole segment is in the object store; then `sha256` is the digest of what is
    there. `offset` is how much of an unfinished upload is kept.
    """

    recording: str
    segment: int
    stored: bool
    size: int = 0
    sha256: str = ""
    offset: int = 0


class UploadProblem(StrEnum):
    """`code` of a problem document (RFC 9457) of the recordings API."""

    NOT_YOURS = "not-yours"
    """The recording is of another device, or there is no such sitting in this hall."""
    DIFFERENT = "different"
    """The segment was announced with another size or digest."""
    STORED = "stored"
    """The segment is stored already."""
    TOO_LARGE = "too-large"
    TOO_MANY = "too-many"
    """This device has too many uploads open."""
    NO_ROOM = "no-room"
    """The server's disk is full."""
    OFFSET = "offset"
    """The upload is at another offset; ask for it and go on there."""
    BUSY = "busy"
    """The upload is being written to by another request."""
    CORRUPT = "corrupt"
    """What came has another digest than was announced; it is thrown away, begin anew."""
    GONE = "gone"
    """There is no such upload, or it was purged."""
    MALFORMED = "malformed"
    VERSION = "version"
    """Another version of tus."""


_SEAT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def recording_id(session: str, channel: str) -> str:
    """The one recording of a channel of a sitting; fits into a topic."""
    plain = f"{session}-{channel}"
    if len(plain) <= SEGMENT_LENGTH_MAX:
        return plain
    digest = hashlib.sha256(f"{session}/{channel}".encode()).hexdigest()
    return f"{session[:31]}-{digest[:32]}"


def check_news(news: RecordingNews) -> None:
    """Hold what a recorder says against its limits.

    Raises:
        MalformedError: a number out of range, a list that is too long, a wrong id.
    """
    if news.recording != recording_id(news.session, news.channel):
        raise MalformedError(f"recording {news.recording!r:.80} is not that of its session and channel")
    if not 1 <= news.revision < 2**31 or not 0 <= news.segment_count <= SEGMENTS_MAX:
        raise MalformedError(f"revision counts from 1, segment_count from 0 to {SEGMENTS_MAX}")
    if max(len(news.segments), len(news.gaps)) > LISTED_MAX:
        raise MalformedError(f"at most {LISTED_MAX} segments and gaps are listed in one message")
    for entry in news.segments:
        check_segment(entry)
        if entry.segment > news.segment_count:
            raise MalformedError(f"segment {entry.segment} of {news.segment_count}")
    for gap in news.gaps:
        if gap.why not in LOSSES or not 0 <= gap.after <= news.segment_count:
            raise MalformedError(f"a gap {gap.why.value!r} after segment {gap.after} is none")
        if not 0 <= gap.at_ms <= POSITION_MS_MAX or not 0 <= (gap.lost_ms or 0) <= POSITION_MS_MAX:
            raise MalformedError(f"a gap's times lie between 0 and {POSITION_MS_MAX} ms")


def check_segment(entry: SegmentEntry) -> None:
    """Hold one segment against its limits.

    Raises:
        MalformedError: a number out of range, or no SHA-256.
    """
    if not 1 <= entry.segment <= SEGMENTS_MAX:
        raise MalformedError(f"segment {entry.segment}: 1 to {SEGMENTS_MAX} are taken")
    if not 1 <= entry.size <= SEGMENT_BYTES_MAX:
        raise MalformedError(f"a segment of {entry.size} bytes: 1 to {SEGMENT_BYTES_MAX} are taken")
    if not RATE_HZ_MIN <= entry.rate_hz <= RATE_HZ_MAX:
        raise MalformedError(f"rate_hz is {entry.rate_hz}: {RATE_HZ_MIN} to {RATE_HZ_MAX} are taken")
    if not _SHA256.fullmatch(entry.sha256):
        raise MalformedError("sha256 has 64 hexadecimal digits in lower case")
    times = [entry.start_ms, entry.duration_ms, entry.gap_before_ms]
    times += [ms for ms in (entry.early_ms, entry.late_ms) if ms is not msgspec.UNSET]
    if not all(0 <= ms <= POSITION_MS_MAX for ms in times):
        raise MalformedError(f"times of a segment lie between 0 and {POSITION_MS_MAX} ms")


def check_floor(event: FloorEvent) -> None:
    """Hold a floor event against its limits.

    Raises:
        MalformedError: a position out of range, or a seat that is no short id.
    """
    if not 0 <= event.at_ms <= POSITION_MS_MAX:
        raise MalformedError(f"at_ms is {event.at_ms}: 0 to {POSITION_MS_MAX} are taken")
    if not _SEAT.fullmatch(event.seat):
        raise MalformedError("a seat has 1 to 32 letters, digits, '_', '.', '-'")
