"""What others tell of a document: the kiosk's evidence, the end of its print job, a person's decision.

Each is decided in one transaction and acted on after it. All of it may come late, twice, or in any order.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.documents import DocumentEvidence
from cloud.database.models.jobs import JobExecution
from cloud.documents import core, store
from cloud.documents.core import EvidenceCame, Ignored, JobEnded, PrintEnd
from cloud.documents.counter import Begin, Tools
from cloud.errors import MalformedError, RefusedError
from contract.documents import Evidence
from contract.jobs import Status
from contract.messages import Envelope, read

log = logging.getLogger(__name__)

REASONS_MAX = 20
REASON_LENGTH_MAX = 64
NUMBER_MAX = 2**31 - 1
"""RFC 8010, section 3.9: IPP's integers have 32 bits with a sign."""
_PRINT = "print-"

Decision = core.Decided | core.Waived | core.Noted


class Received(Protocol):
    """What the broker gives of one message; see `cloud.broker.Received`."""

    @property
    def device(self) -> str: ...
    @property
    def ids(self) -> dict[str, str]: ...
    @property
    def envelope(self) -> Envelope | None: ...
    @property
    def received_at(self) -> datetime: ...
    @property
    def session(self) -> Session: ...
    def after_commit(self, do: Callable[[], None]) -> None: ...


class News:
    """Takes what others tell; safe to use from several threads."""

    def __init__(self, tools: Tools, begin: Begin) -> None:
        self._tools = tools
        self._begin = begin

    def on_evidence(self, message: Received) -> None:
        """Handler of `evidence` at the broker, in its transaction.

        Raises:
            MalformedError: the body is no evidence, or of another document than its topic.
            RefusedError: this device has no such document or no such job.
        """
        assert message.envelope is not None, "evidence travels in an envelope"
        evidence = read(message.envelope.body, Evidence)
        document = message.ids["document"]
        if evidence.document != document:
            raise MalformedError("the evidence is of another document than its topic")
        numbers = (evidence.ipp_job_id, evidence.ipp_job_state, evidence.sheets)
        if any(number is not None and not 0 <= number <= NUMBER_MAX for number in numbers):
            raise MalformedError(f"a number of the evidence is not between 0 and {NUMBER_MAX}")
        row = store.load(message.session, document)
        if row is None or row.device != message.device or evidence.job != print_job(document):
            raise RefusedError("this device has no such document or job")
        at = datetime.fromtimestamp(message.envelope.at / 1000, UTC)
        message.session.add(_stored(evidence, at, message.received_at))
        effects = self._tools.handle(message.session, row, EvidenceCame(evidence.outcome))
        if any(isinstance(effect, Ignored) for effect in effects):
            log.warning("evidence_ignored", extra={"document": document, "state": row.state})
            return
        version = row.version
        log.info("evidence_taken", extra={"document": document, "outcome": evidence.outcome.value})
        if core.has_work(effects):
            message.after_commit(lambda: self._begin(document, str(version)))

    def on_job_ended(self, job: str, device: str, status: Status) -> None:
        """Hook of the jobs, for every job's end; those that are no print job are left alone."""
        if not job.startswith(_PRINT):
            return
        document = job.removeprefix(_PRINT)
        with self._tools.sessions.begin() as session:
            row = store.load(session, document)
            if row is None or row.device != device:
                return
            how = PrintEnd.STARTED if _was_started(session, job, device) else PrintEnd.NEVER_STARTED
            self._tools.handle(session, row, JobEnded(how))
        log.info("print_job_ended", extra={"document": document, "status": status.value, "how": how.value})

    def decide(self, session: Session, document: str, decision: Decision) -> int:
        """A person's decision, in the caller's transaction; give the version to `decided` after the commit.

        Raises:
            RefusedError: there is no such document, or nothing of this to decide about it.
        """
        row = store.load(session, document)
        if row is None:
            raise RefusedError(f"there is no document {document}")
        effects = self._tools.handle(session, row, decision)
        if any(isinstance(effect, core.Refuse) for effect in effects):
            raise RefusedError(f"document {document} is {row.state}: there is nothing of this to decide")
        return row.version

    def decided(self, document: str, version: int) -> None:
        """Do what follows from a decision."""
        self._begin(document, str(version))


def print_job(document: str) -> str:
    """The id of a document's print job; there is never a second one."""
    return f"{_PRINT}{document}"


def _was_started(session: Session, job: str, device: str) -> bool:
    begun = sa.select(JobExecution.started_at).where(JobExecution.job == job, JobExecution.device == device)
    return any(moment is not None for moment in session.scalars(begun))


def _stored(evidence: Evidence, at: datetime, received_at: datetime) -> DocumentEvidence:
    return DocumentEvidence(
        document=evidence.document,
        outcome=evidence.outcome.value,
        ipp_job_id=evidence.ipp_job_id,
        ipp_job_state=evidence.ipp_job_state,
        reasons=[reason[:REASON_LENGTH_MAX] for reason in evidence.reasons[:REASONS_MAX]],
        sheets=evidence.sheets,
        at=at,
        received_at=received_at,
    )
