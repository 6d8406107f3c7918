"""Caption segments: taken from the recorders, kept with every revision, handed to whoever reads along."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.captions import core
from cloud.captions.hub import Event, Kind, frame
from cloud.captions.sittings import changes
from cloud.database.models.captions import CaptionRevision, Sitting
from cloud.errors import MalformedError
from contract.captions import LANGUAGES, TEXT_LENGTH_MAX, CaptionSegment, CaptionState
from contract.messages import encode, read

SHOWN_MAX = 50
"""Lines on a captions page; older ones are in the transcript."""
TRANSCRIPT_MAX = 20_000
"""Lines of one transcript page: a sitting of more than ten hours."""
COUNT_MAX = 2**31 - 1
"""Segments of a sitting and revisions of a segment, as far as the databases count."""
START_MS_MAX = 7 * 24 * 3600 * 1000


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One segment as a viewer gets it; `at` is when it was said, in ms since 1970 UTC."""

    segment: int
    revision: int
    state: str
    text: str
    lang: str
    at: int
    stable: int = 0


def check(segment: CaptionSegment, ids: Mapping[str, str], wanted: CaptionState) -> None:
    """Hold a segment against its topic and the contract's limits.

    Raises:
        MalformedError: it is not what a recorder may send there.
    """
    if segment.session != ids["session"] or segment.channel != ids["channel"]:
        raise MalformedError("the segment names another session or channel than its topic")
    if segment.state is not wanted:
        raise MalformedError(f"a recorder sends {wanted} there, not {segment.state}")
    if not 1 <= segment.segment <= COUNT_MAX or not 0 <= segment.revision <= COUNT_MAX:
        raise MalformedError(f"segments count from 1, revisions from 0, both to {COUNT_MAX}")
    if not 0 <= segment.start_ms <= segment.end_ms <= START_MS_MAX:
        raise MalformedError("a segment begins after its sitting was opened and ends after it began")
    if len(segment.text) > TEXT_LENGTH_MAX or segment.lang not in LANGUAGES or len(segment.source) > 64:
        raise MalformedError("text, language or source of the segment is out of range")


def take_final(
    database: Session, device: str, ids: Mapping[str, str], body: bytes | msgspec.Raw, received_at: datetime
) -> Event | None:
    """Store one final; the event to post once it is committed, None when there is nothing new to show.

    A revision that is stored already is the same message again. One below the highest is kept for the
    history and not shown.

    Raises:
        MalformedError: not a final of a sitting of this hall, or said when the sitting was not public.
    """
    segment = read(body, CaptionSegment)
    check(segment, ids, CaptionState.FINAL)
    sitting = database.get(Sitting, segment.session, with_for_update=True)
    if sitting is None or sitting.device != device or sitting.channel != segment.channel:
        raise MalformedError("the segment is of no sitting of this hall")
    if sitting.opened_at is None or not core.was_public(
        changes(database, segment.session),
        sitting.opened_at + timedelta(milliseconds=segment.start_ms),
        sitting.opened_at + timedelta(milliseconds=segment.end_ms),
    ):
        raise MalformedError("the words were said while the sitting was not open to the public")
    known = _highest_revision(database, segment)
    if database.get(CaptionRevision, (segment.session, segment.channel, segment.segment, segment.revision)):
        return None
    sitting.sequence += 1
    row = CaptionRevision(
        session=segment.session,
        channel=segment.channel,
        segment=segment.segment,
        revision=segment.revision,
        sequence=sitting.sequence,
        state=segment.state,
        text=segment.text,
        start_ms=segment.start_ms,
        end_ms=segment.end_ms,
        lang=segment.lang,
        source=segment.source,
        confidence=segment.confidence,
        received_at=received_at,
    )
    database.add(row)
    return event_of(row, sitting) if known is None or segment.revision > known else None


def _highest_revision(database: Session, segment: CaptionSegment) -> int | None:
    return database.scalar(
        sa.select(sa.func.max(CaptionRevision.revision)).where(
            CaptionRevision.session == segment.session,
            CaptionRevision.channel == segment.channel,
            CaptionRevision.segment == segment.segment,
        )
    )


def line_of(row: CaptionRevision, sitting: Sitting) -> Line:
    """The row as viewers get it."""
    assert sitting.opened_at is not None
    return Line(
        segment=row.segment,
        revision=row.revision,
        state=row.state,
        text=row.text,
        lang=row.lang,
        at=int(sitting.opened_at.timestamp() * 1000) + row.start_ms,
    )


def event_of(row: CaptionRevision, sitting: Sitting) -> Event:
    """The event that shows the row."""
    data = encode(line_of(row, sitting))
    return Event(Kind.FINAL, row.session, row.segment, row.sequence, frame(Kind.FINAL, data, row.sequence))


def shown(
    database: Session, sitting: Sitting, *, after: int = 0, limit: int = SHOWN_MAX
) -> list[CaptionRevision]:
    """The highest revision of the last `limit` segments, in the order of the segments.

    With `after`, only what was stored later than that sequence.
    """
    highest = (
        sa.select(CaptionRevision.segment, sa.func.max(CaptionRevision.revision).label("revision"))
        .where(CaptionRevision.session == sitting.session, CaptionRevision.channel == sitting.channel)
        .group_by(CaptionRevision.segment)
        .subquery()
    )
    rows = database.scalars(
        sa.select(CaptionRevision)
        .join(
            highest,
            sa.and_(
                CaptionRevision.segment == highest.c.segment,
                CaptionRevision.revision == highest.c.revision,
            ),
        )
        .where(
            CaptionRevision.session == sitting.session,
            CaptionRevision.channel == sitting.channel,
            CaptionRevision.sequence > after,
        )
        .order_by(CaptionRevision.segment.desc())
        .limit(limit)
    ).all()
    return list(reversed(rows))


def timed(database: Session, sitting: Sitting) -> list[tuple[datetime, CaptionRevision]]:
    """Every segment as it is shown, with the moment at which it was said."""
    opened_at = sitting.opened_at
    if opened_at is None:
        return []
    rows = shown(database, sitting, limit=TRANSCRIPT_MAX)
    return [(opened_at + timedelta(milliseconds=row.start_ms), row) for row in rows]
