"""What is believed of a device: its words, its data and its silence together. Pure.

Words (greeting, will, good-bye) come late, twice, out of order, or never, when a full broker has dropped
them; data proves a life, and only silence proves an end that nobody told. Words make the verdict quick, data
and silence make it true in the end. Who does not listen judges nobody.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from contract.presence import PRESENCE
from contract.twin import INTERVAL_USUAL_S

COMINGS_MAX = 16
"""Greetings remembered of each device, to see that it flaps."""
SAMPLES_LATE = 3
SAMPLES_GONE = 5
OFFLINE = PRESENCE.initial


class Cause(StrEnum):
    """Why a device is in its state."""

    NEVER = "never"
    """It has never come."""
    WELL = "well"
    LATE = "late"
    """Its link is up, and its data is late."""
    FLAPPING = "flapping"
    """Its data flows, and its link comes and goes."""
    ENDED = "ended"
    """Its will or its good-bye came, and held."""
    SILENT = "silent"
    """Nothing came for too long, whatever was said."""


@dataclass(frozen=True)
class Limits:
    """How long what takes, in seconds, of a device that sends a sample every 10 s.

    `will_holds_s`: who is back within it was never gone; longer than most reconnections (full jitter, first
    bounds 0.5 to 8 s). `late_after_s`: six samples are missing. `gone_after_s`: thirty are. `proof_after_s`:
    data that arrives so soon after a will may have been sent before it. `flaps` greetings of one
    boot within `flap_window_s` are a link that flaps.
    """

    will_holds_s: float = 30.0
    late_after_s: float = 60.0
    gone_after_s: float = 300.0
    proof_after_s: float = 10.0
    flap_window_s: float = 600.0
    flaps: int = 3

    def paced(self, sampling_s: float) -> "Limits":
        """For a device that samples less often than usual: three missing samples are late, five are gone."""
        if sampling_s <= INTERVAL_USUAL_S:
            return self
        return replace(
            self,
            late_after_s=max(self.late_after_s, SAMPLES_LATE * sampling_s),
            gone_after_s=max(self.gone_after_s, SAMPLES_GONE * sampling_s),
        )


@dataclass(frozen=True)
class Ears:
    """Since when we hear words (the broker's subscription) and data (the ingest's); None: we do not."""

    words_since: datetime | None
    data_since: datetime | None


@dataclass(frozen=True)
class Known:
    """What is believed of one device, by the server's clock.

    `came_at` is the greeting of `connection` within `boot`, `ended_at` the word that this connection is over.
    An agent that does not number its connections is in connection 0. `heard_at` is its last data,
    `sampling_s` how often there should be some, by its own word.
    """

    state: str = OFFLINE
    cause: Cause = Cause.NEVER
    since: datetime | None = None
    boot: str = ""
    connection: int = 0
    came_at: datetime | None = None
    ended_at: datetime | None = None
    heard_at: datetime | None = None
    comings: tuple[datetime, ...] = ()
    sampling_s: float = INTERVAL_USUAL_S


@dataclass(frozen=True)
class Said:
    """A message on `presence`: a greeting, or a will or good-bye."""

    online: bool
    boot: str
    connection: int = 0


@dataclass(frozen=True)
class Heard:
    """Something that the device had sent was stored at `at`."""

    at: datetime


@dataclass(frozen=True)
class TimePassed:
    """Nothing happened; perhaps that is too much."""


Event = Said | Heard | TimePassed


def handle(known: Known, event: Event, now: datetime, ears: Ears, limits: Limits) -> Known:
    """What to believe after `event`."""
    match event:
        case Said(online=True):
            known = _greeted(known, event, now)
        case Said():
            known = _ended(known, event, now)
        case Heard(at):
            known = replace(known, heard_at=max(at, known.heard_at or at))
        case TimePassed():
            pass
        case _:
            assert_never(event)
    verdict = _verdict(known, now, ears, limits.paced(known.sampling_s))
    if verdict is None:
        return known
    happened, cause = verdict
    if PRESENCE.allows(known.state, happened):
        return replace(known, state=PRESENCE.apply(known.state, happened), cause=cause, since=now)
    return replace(known, cause=cause)


def _greeted(known: Known, said: Said, now: datetime) -> Known:
    """A greeting counts once for each connection, and nothing revives one that has ended.

    An agent that was started anew, by a job or an update, is no link that flaps.
    """
    if said.boot == known.boot and known.came_at is not None:
        again = said.connection == known.connection and (known.ended_at is None or said.connection > 0)
        if again or said.connection < known.connection:
            return known
    return replace(
        known,
        boot=said.boot,
        connection=said.connection,
        came_at=now,
        ended_at=None,
        comings=(*(known.comings if said.boot == known.boot else ()), now)[-COMINGS_MAX:],
    )


def _ended(known: Known, said: Said, now: datetime) -> Known:
    """A will counts while it names the boot, and no earlier connection: the device is there again already."""
    if said.boot != known.boot or said.connection < known.connection:
        return known
    if said.connection == known.connection and known.ended_at is not None:
        revived = known.heard_at is not None and known.heard_at > known.ended_at
        if said.connection > 0 or not revived:
            return known
    return replace(known, connection=said.connection, ended_at=now)


def _verdict(known: Known, now: datetime, ears: Ears, limits: Limits) -> tuple[str, Cause] | None:
    """What has happened in the words of the life cycle; None leaves the state as it is."""
    signs = [at for at in (known.came_at, known.heard_at) if at is not None]
    if ears.words_since is None or not signs:
        return None
    ended_at = _standing_end(known, limits)
    if ended_at is not None and _seconds(max(ended_at, ears.words_since), now) >= limits.will_holds_s:
        return "gone", Cause.ENDED
    quiet_s = _seconds(max(signs), now)
    # Only what was missed while somebody listened for it is silence.
    silent_s = min(quiet_s, _seconds(ears.data_since, now)) if ears.data_since is not None else 0.0
    if silent_s >= limits.gone_after_s:
        return "gone", Cause.SILENT
    if quiet_s >= limits.late_after_s:
        late = silent_s >= limits.late_after_s and known.state != OFFLINE
        return ("strained", Cause.LATE) if late else None
    if ended_at is not None:
        return None
    begin = now - timedelta(seconds=limits.flap_window_s)
    if sum(at > begin for at in known.comings) >= limits.flaps:
        return "strained", Cause.FLAPPING
    return "well", Cause.WELL


def _standing_end(known: Known, limits: Limits) -> datetime | None:
    """When the connection ended, unless data came so long after that word that it was sent after it."""
    if known.ended_at is None or known.heard_at is None:
        return known.ended_at
    return known.ended_at if _seconds(known.ended_at, known.heard_at) <= limits.proof_after_s else None


def _seconds(since: datetime, until: datetime) -> float:
    return (until - since).total_seconds()
