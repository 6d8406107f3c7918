"""What the recordings' core is told (events) and what it wants done (effects)."""

from dataclasses import dataclass, field
from typing import Literal

from contract.captions import SetSitting
from contract.recordings import FloorEvent, RecordingNews, UploadProblem
from edge_agent.ports import ServerTime
from edge_agent.recordings.records import Record, Segment

Instant = float
"""Seconds of a clock that never jumps."""


# --- events ---


@dataclass(frozen=True)
class Started:
    """The agent begins, with what it remembers; oldest recording first."""

    records: tuple[Record, ...]


@dataclass(frozen=True)
class SittingTold:
    """A sitting's state. `position` is the microphone's newest sample, `at` the server's time there.

    An open sitting has none as long as `TimeTold` has not come.
    """

    told: SetSitting
    position: int
    at: ServerTime | None


@dataclass(frozen=True)
class TimeTold:
    """The server's time is known now: it was `at` at `position`. It comes once."""

    position: int
    at: ServerTime


@dataclass(frozen=True)
class Sound:
    """The microphone gave `samples` from `position` on."""

    position: int
    samples: int


@dataclass(frozen=True)
class SoundDropped:
    """Sound from `position` on did not fit into memory, because the disk does not keep up."""

    position: int


@dataclass(frozen=True)
class MicrophoneLost:
    """The microphone gives nothing from `position` on."""

    position: int


@dataclass(frozen=True)
class SegmentClosed:
    """The file of a segment is whole and on the disk; a crash may have left fewer `samples`."""

    recording: str
    segment: int
    samples: int
    size: int
    sha256: str


@dataclass(frozen=True)
class CloseFailed:
    """It could not be closed; its file may be in any state."""

    recording: str
    segment: int
    reason: str


@dataclass(frozen=True)
class DiskFailed:
    """Something could not be written; of the effects after it those in `LEFT_OUT` were not carried out."""

    reason: str


@dataclass(frozen=True)
class SpaceTold:
    """Room on the disk."""

    free_bytes: int


@dataclass(frozen=True)
class Stopping:
    """The agent ends in order."""


@dataclass(frozen=True)
class NewsTaken:
    """The link keeps the news of this revision."""

    recording: str
    revision: int


@dataclass(frozen=True)
class NewsRefused:
    """The outbox is full."""

    recording: str


@dataclass(frozen=True)
class UploadBegun:
    """The server has `offset` bytes of the segment; `upload` is where it goes on."""

    upload: str
    offset: int


@dataclass(frozen=True)
class ChunkTaken:
    """The server has `offset` bytes now."""

    offset: int


@dataclass(frozen=True)
class StoredTold:
    """What the server says of the segment; `sha256` is '' if it is not stored."""

    sha256: str


@dataclass(frozen=True)
class UploadFailed:
    """The step did not succeed; `problem` is None where nobody answered as the contract says."""

    problem: UploadProblem | None
    reason: str


@dataclass(frozen=True)
class FloorTold:
    """The hall's microphone system says that a seat has the floor, or no longer."""

    seat: str
    on: bool
    position: int


@dataclass(frozen=True)
class FloorNonsense:
    """The floor command wrote a line that is not understood."""

    reason: str


@dataclass(frozen=True)
class FloorLost:
    """A run of the floor command ended."""

    reason: str
    position: int


@dataclass(frozen=True)
class FloorRefused:
    """The outbox is full: this event of a recording must be sent again."""

    recording: str
    event: FloorEvent


@dataclass(frozen=True)
class KeptFloorSent:
    """The link has taken these events that a record kept; `refused` says that the next found no room."""

    recording: str
    sent: tuple[FloorEvent, ...]
    refused: bool


@dataclass(frozen=True)
class TimePassed:
    """The deadline has come."""


Event = (
    Started
    | SittingTold
    | TimeTold
    | Sound
    | SoundDropped
    | MicrophoneLost
    | SegmentClosed
    | CloseFailed
    | DiskFailed
    | SpaceTold
    | Stopping
    | NewsTaken
    | NewsRefused
    | UploadBegun
    | ChunkTaken
    | StoredTold
    | UploadFailed
    | FloorTold
    | FloorNonsense
    | FloorLost
    | FloorRefused
    | KeptFloorSent
    | TimePassed
)


# --- effects ---


@dataclass(frozen=True)
class Save:
    """Write this record down before going on."""

    record: Record


@dataclass(frozen=True)
class Forget:
    """The record is of no use any more."""

    recording: str


@dataclass(frozen=True)
class Begin:
    """Make the file of a segment; what is heard goes there until it is closed."""

    recording: str
    segment: int
    rate_hz: int


@dataclass(frozen=True)
class Write:
    """Write the sound of the event at hand, without its first `skip` samples."""

    skip: int


@dataclass(frozen=True)
class Close:
    """Make a segment's file whole, at most `samples` long (None: all there is), and tell its digest."""

    recording: str
    segment: int
    rate_hz: int
    samples: int | None = None


@dataclass(frozen=True)
class Delete:
    """Remove the file of a segment."""

    recording: str
    segment: int


@dataclass(frozen=True)
class LookAtSpace:
    """Tell how much room the disk has."""


@dataclass(frozen=True)
class SendNews:
    """Tell the cloud; it must arrive."""

    news: RecordingNews


@dataclass(frozen=True)
class BeginUpload:
    """Ask the server where the upload of a segment stands."""

    record: Record
    segment: Segment


@dataclass(frozen=True)
class SendChunk:
    """Send `length` bytes of a segment's file from `offset` on; 0 asks the server to finish."""

    recording: str
    segment: int
    upload: str
    offset: int
    length: int


@dataclass(frozen=True)
class AskStored:
    """Ask the server what it has stored of a segment."""

    recording: str
    segment: int


@dataclass(frozen=True)
class StartFloor:
    """Run the floor command."""


@dataclass(frozen=True)
class SendFloor:
    """Tell the cloud who has the floor of a recording; it must arrive."""

    recording: str
    event: FloorEvent


@dataclass(frozen=True)
class SendKeptFloor:
    """The same with events that the record keeps until the link has taken them, one after the other."""

    recording: str
    events: tuple[FloorEvent, ...]


@dataclass(frozen=True)
class Note:
    """Something for the log: ids and reasons."""

    event: str
    details: dict[str, str] = field(default_factory=dict)
    level: Literal["info", "warning", "error"] = "info"


Effect = (
    Save
    | Forget
    | Begin
    | Write
    | Close
    | Delete
    | LookAtSpace
    | SendNews
    | BeginUpload
    | SendChunk
    | AskStored
    | StartFloor
    | SendFloor
    | SendKeptFloor
    | Note
)

LEFT_OUT = (Save, Forget, Begin, Write, SendNews, SendKeptFloor)
"""What is not done any more after something before it could not be written."""
