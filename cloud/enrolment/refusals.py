"""A device that is refused, and how often that happened for which cause."""

from datetime import datetime

from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.enrolment import EnrolmentRefusal
from cloud.database.writing import insert
from cloud.enrolment.causes import STATUS, Cause
from cloud.errors import RefusedError


class EnrolmentRefusedError(RefusedError):
    """A device, or somebody who says to be one, was refused for `cause`."""

    def __init__(self, cause: Cause, sentence: str) -> None:
        super().__init__(sentence)
        self.cause = cause

    @property
    def status(self) -> int:
        """The HTTP status that it is answered with."""
        return STATUS[self.cause]


def count(sessions: sessionmaker[Session], cause: Cause, now: datetime, times: int = 1) -> None:
    """`times` refusals more for `cause`, in a transaction of its own: that of the refused is rolled back."""
    with sessions.begin() as session:
        new = insert(session, EnrolmentRefusal).values(cause=cause.value, count=times, last_at=now)
        more = {"count": EnrolmentRefusal.count + times, "last_at": now}
        session.execute(new.on_conflict_do_update(index_elements=["cause"], set_=more))
