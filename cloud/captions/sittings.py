"""Sittings in the database: created, changed, listed; each change goes to the recorder as a job."""

import math
import re
from collections.abc import Callable, Iterable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.captions import core
from cloud.database.halls import halls
from cloud.database.models.captions import NOTE_LENGTH_MAX, TITLE_LENGTH_MAX, Sitting, SittingChange
from cloud.database.models.devices import Device
from cloud.database.writing import hold
from cloud.errors import MalformedError, RefusedError
from contract.captions import LANGUAGES, SITTING, SetSitting

CHANNEL = "floor"
"""The one channel of a hall in this version: what is said on the floor."""
LISTED_MAX = 50
JOB_PREFIX = "set-sitting-"
_TELLS = re.compile(re.escape(JOB_PREFIX) + r"(.+)-(\d+)(?:r(\d+))?")
AGAIN_MAX = 50
"""Jobs after the first. Each is tried for about a quarter of an hour: longer than any sitting lasts."""

CreateJob = Callable[[Session, str, str, SetSitting], None]
"""`create_job(database, job, device, document)`: a job for one device, in the caller's transaction."""


def find(database: Session, session: str) -> Sitting:
    """The sitting `session`.

    Raises:
        RefusedError: there is none.
    """
    sitting = database.get(Sitting, session)
    if sitting is None:
        raise RefusedError("there is no such sitting; choose one from the list")
    return sitting


def create(database: Session, session: str, *, device: str, title: str, lang: str, now: datetime) -> Sitting:
    """Plan a sitting in the hall of `device`; nothing is sent to the recorder before it is opened.

    Raises:
        MalformedError: the title is empty or too long, or the language is none of the contract's.
        RefusedError: `device` is no recorder of the fleet.
    """
    title = " ".join(title.split())
    if not 1 <= len(title) <= TITLE_LENGTH_MAX:
        raise MalformedError(f"a sitting's title has 1 to {TITLE_LENGTH_MAX} characters")
    if lang not in LANGUAGES:
        raise MalformedError(f"the language of a sitting is one of {', '.join(LANGUAGES)}")
    if device not in halls(database):
        raise RefusedError(f"{device!r:.80} is no hall of this city; choose one from the list")
    sitting = Sitting(
        session=session,
        device=device,
        channel=CHANNEL,
        title=title,
        lang=lang,
        state=SITTING.initial,
        version=0,
        created_at=now,
    )
    database.add(sitting)
    database.flush()
    database.add(SittingChange(session=session, version=0, state=sitting.state, at=now))
    return sitting


def change(
    database: Session,
    session: str,
    event: str,
    *,
    reason: str = "",
    note: str = "",
    now: datetime,
    create_job: CreateJob,
) -> Sitting:
    """Let `event` happen to the sitting and tell the recorder by a job.

    Raises:
        MalformedError: the note is too long.
        RefusedError: no such sitting, or the sitting's life forbids it (see `core.change`).
    """
    if len(note) > NOTE_LENGTH_MAX:
        raise MalformedError(f"a note has at most {NOTE_LENGTH_MAX} characters")
    hold(database, [find(database, session).device])
    sitting = database.get_one(Sitting, session, with_for_update=True)
    others = database.scalars(
        sa.select(Sitting.state).where(Sitting.device == sitting.device, Sitting.session != session)
    )
    made = core.change(sitting.state, sitting.version, event, reason=reason, note=note, hall=others, now=now)
    was_told = sitting.opened_at is not None
    sitting.state, sitting.version, sitting.recogniser = made.state, made.version, None
    if made.state == core.OPEN and sitting.opened_at is None:
        sitting.opened_at = now
    if made.state == core.ENDED:
        sitting.ended_at = now
    database.add(
        SittingChange(
            session=session,
            version=made.version,
            state=made.state,
            reason=made.reason,
            note=made.note,
            at=now,
        )
    )
    if was_told or sitting.opened_at is not None:
        create_job(database, job_id(sitting.session, sitting.version), sitting.device, document(sitting, now))
    return sitting


def document(sitting: Sitting, changed_at: datetime) -> SetSitting:
    """The job document that tells the recorder of the sitting's state, in which it is since `changed_at`."""
    assert sitting.opened_at is not None, "a recorder first hears of a sitting when it is opened"
    return SetSitting(
        session=sitting.session,
        channel=sitting.channel,
        state=sitting.state,
        version=sitting.version,
        lang=sitting.lang,
        opened_at=int(sitting.opened_at.timestamp() * 1000),
        changed_at=math.ceil(changed_at.timestamp() * 1000),
    )


def job_id(session: str, version: int, again: int = 0) -> str:
    """The id of a job that carries a version of a sitting; `again` counts those after the first."""
    return f"{JOB_PREFIX}{session}-{version}" + (f"r{again}" if again else "")


def told_by(job: str) -> tuple[str, int] | None:
    """The session and the version that a job carries; None for other jobs. The inverse of `job_id`."""
    told = _TELLS.fullmatch(job)
    return (told[1], int(told[2])) if told else None


def next_job(job: str) -> str | None:
    """The id of the job that follows `job`, whose every try went unanswered; None for other jobs.

    A recorder that never hears of its sitting is deaf in an open one, or listens to a closed part. So it is
    told until it answers or the sitting goes on, but at most `AGAIN_MAX` times.
    """
    told = _TELLS.fullmatch(job)
    again = int(told[3] or 0) + 1 if told else 0
    return job_id(told[1], int(told[2]), again) if told and again <= AGAIN_MAX else None


def tell_again(database: Session, job: str, create_job: CreateJob) -> None:
    """Let another job follow `job`, which has ended without an answer, if the sitting still stands so.

    Raises:
        RefusedError: the recorder is out of service, or has too much to do already.
    """
    told, following = told_by(job), next_job(job)
    if told is None or following is None:
        return
    sitting = database.get(Sitting, told[0], with_for_update=True)
    if sitting is None or sitting.version != told[1]:
        return
    since = changes(database, sitting.session)[-1].at
    create_job(database, following, sitting.device, document(sitting, since))


def overtaken(jobs: Iterable[str], session: str, version: int) -> list[str]:
    """Those of `jobs` that carry a version of the sitting before `version`.

    A recorder that was away must not play them one by one: it would listen for a moment in each part.
    """
    return [
        job for job in jobs for told in [told_by(job)] if told and told[0] == session and told[1] < version
    ]


def hall_online(database: Session, device: str) -> bool:
    """Whether the hall's recorder is connected, as far as the control plane knows."""
    state = database.scalar(sa.select(Device.presence).where(Device.device == device))
    return state in ("online", "degraded")


def listed(database: Session) -> list[Sitting]:
    """The newest sittings, those that hold a hall first."""
    return list(
        database.scalars(
            sa.select(Sitting)
            .order_by(
                sa.case(
                    (Sitting.state.in_(core.OCCUPYING), 0), (Sitting.state == SITTING.initial, 1), else_=2
                ),
                Sitting.created_at.desc(),
            )
            .limit(LISTED_MAX)
        )
    )


def changes(database: Session, session: str) -> list[core.Change]:
    """Every change of the sitting, in order."""
    rows = database.scalars(
        sa.select(SittingChange).where(SittingChange.session == session).order_by(SittingChange.version)
    )
    return [core.Change(row.version, row.state, row.reason, row.note, row.at) for row in rows]
