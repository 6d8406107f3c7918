"""Why a device was refused, how that is answered, and how often it happened."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.enrolment import EnrolmentRefusal
from cloud.database.writing import insert
from cloud.errors import RefusedError


class Cause(StrEnum):
    """Why something was refused, as it is counted."""

    NO_CREDENTIALS = "no-credentials"
    WRONG_TOKEN = "wrong-token"  # noqa: S105 - a cause, no password
    BAD_REQUEST = "bad-request"
    WRONG_MEDIA_TYPE = "wrong-media-type"
    TOO_OFTEN = "too-often"
    NO_CERTIFICATE = "no-certificate"
    UNKNOWN_CERTIFICATE = "unknown-certificate"
    ENDED_CERTIFICATE = "ended-certificate"


STATUS = {
    Cause.NO_CREDENTIALS: 401,
    Cause.WRONG_TOKEN: 403,
    Cause.BAD_REQUEST: 400,
    Cause.WRONG_MEDIA_TYPE: 415,
    Cause.TOO_OFTEN: 429,
    Cause.NO_CERTIFICATE: 403,
    Cause.UNKNOWN_CERTIFICATE: 403,
    Cause.ENDED_CERTIFICATE: 403,
}
"""HTTP status of each cause."""


class EnrolmentRefusedError(RefusedError):
    """A device, or somebody who says to be one, was refused for `cause`."""

    def __init__(self, cause: Cause, sentence: str) -> None:
        super().__init__(sentence)
        self.cause = cause


def count(sessions: sessionmaker[Session], cause: Cause, now: datetime) -> None:
    """One refusal more for `cause`, in a transaction of its own: that of the refused one is rolled back."""
    with sessions.begin() as session:
        new = insert(session, EnrolmentRefusal).values(cause=cause.value, count=1, last_at=now)
        more = {"count": EnrolmentRefusal.count + 1, "last_at": now}
        session.execute(new.on_conflict_do_update(index_elements=["cause"], set_=more))
