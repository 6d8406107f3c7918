"""Document requests between the database and the decisions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.database.models.documents import (
    Document,
    DocumentChange,
    DocumentEvidence,
    DocumentLookup,
    DocumentSerial,
)
from cloud.database.writing import insert
from cloud.documents import core
from cloud.documents.core import Attention, Effect, Event, Facts, Hold, Limits, Persist, PrintEnd
from contract.documents import IDENTIFICATIONS_FAILED_MAX

DEVICE_FAILURES_MAX = 60
"""Failed identifications of one kiosk within `DEVICE_FAILURES_S`; one that has more is enumerating."""
DEVICE_FAILURES_S = 3600
FAILED = ("unknown", "asking")
"""A look-up that is not answered yet counts as failed, so that asking in parallel gains nothing."""
LISTED_MAX = 200


@dataclass(frozen=True)
class Lookup:
    """One look into the registry; `purpose` is why."""

    document: str
    device: str
    visit: str
    kind: str
    purpose: str


def load(session: Session, document: str) -> Document | None:
    """The request, held against other changes until the transaction ends."""
    return session.get(Document, document, with_for_update=True)


def look(session: Session, document: str) -> Document | None:
    """The request as it is now; whoever wants to change it must `load` it."""
    return session.get(Document, document)


def handle(session: Session, row: Document, event: Event, now: datetime, limits: Limits) -> list[Effect]:
    """Let the core decide, write down what has changed, and give back what is left to do."""
    effects = core.Request(facts_of(row), limits).handle(event, now)
    persist, rest = effects[:1], effects[1:]
    if not persist or not isinstance(persist[0], Persist):
        return effects
    _write(row, persist[0].facts)
    for word, state in persist[0].transitions:
        row.version += 1
        session.add(
            DocumentChange(document=row.document, number=row.version, event=word, state=state, at=now)
        )
    if not persist[0].transitions:
        row.version += 1
    row.changed_at = now
    session.flush()
    return rest


def facts_of(row: Document) -> Facts:
    """What the decisions stand on."""
    return Facts(
        state=row.state,
        price_cents=row.price_cents,
        payment=Hold(row.payment),
        authorisation=row.authorisation,
        offered=row.offered,
        print_ended=PrintEnd(row.print_ended) if row.print_ended else None,
        deadline=row.deadline,
        tries=row.tries,
        reason=row.reason,
        attention=Attention(row.attention) if row.attention else None,
    )


def _write(row: Document, facts: Facts) -> None:
    row.state = facts.state
    row.price_cents = facts.price_cents
    row.payment = facts.payment.value
    row.authorisation = facts.authorisation
    row.offered = facts.offered
    row.print_ended = facts.print_ended.value if facts.print_ended else None
    row.deadline = facts.deadline
    row.tries = facts.tries
    row.reason = facts.reason
    row.attention = facts.attention.value if facts.attention else None


def due(session: Session, before: datetime, limit: int) -> list[str]:
    """At most `limit` requests whose deadline has passed, the longest due first."""
    rows = sa.select(Document.document).where(Document.deadline <= before)
    return list(session.scalars(rows.order_by(Document.deadline).limit(limit)))


def in_states(session: Session, states: Sequence[str]) -> list[tuple[str, int]]:
    """Every request in one of `states`, with its version."""
    rows = sa.select(Document.document, Document.version).where(Document.state.in_(states))
    return [(row.document, row.version) for row in session.execute(rows)]


def next_serial(session: Session, prefix: str, year: int) -> str:
    """The next serial number of that year, such as `PR-2026-000123`."""
    new = insert(session, DocumentSerial).values(year=year, last=1)
    more = new.on_conflict_do_update(index_elements=["year"], set_={"last": DocumentSerial.last + 1})
    last = session.scalar(more.returning(DocumentSerial.last))
    return f"{prefix}-{year}-{last:06d}"


def is_locked(session: Session, device: str, visit: str, since: datetime) -> bool:
    """Whether this visit has failed too often, or this kiosk since `since`."""
    failed = (
        sa.select(sa.func.count())
        .select_from(DocumentLookup)
        .where(DocumentLookup.device == device, DocumentLookup.outcome.in_(FAILED))
    )
    in_visit = session.scalar(failed.where(DocumentLookup.visit == visit)) or 0
    of_device = session.scalar(failed.where(DocumentLookup.at >= since)) or 0
    return in_visit >= IDENTIFICATIONS_FAILED_MAX or of_device >= DEVICE_FAILURES_MAX


def note_lookup(session: Session, lookup: Lookup, outcome: str, now: datetime) -> int:
    """Write down that the registry is looked into, before it is; gives the row's id."""
    row = DocumentLookup(
        document=lookup.document,
        device=lookup.device,
        visit=lookup.visit,
        kind=lookup.kind,
        purpose=lookup.purpose,
        outcome=outcome,
        at=now,
    )
    session.add(row)
    session.flush()
    return row.id


def answer_lookup(session: Session, lookup_id: int, outcome: str) -> None:
    """Write down what the registry answered."""
    session.execute(sa.update(DocumentLookup).where(DocumentLookup.id == lookup_id).values(outcome=outcome))


def evidence_of(session: Session, documents: Sequence[str]) -> dict[str, list[DocumentEvidence]]:
    """What kiosks said of each of `documents`, oldest first."""
    rows = sa.select(DocumentEvidence).where(DocumentEvidence.document.in_(documents))
    found: dict[str, list[DocumentEvidence]] = {document: [] for document in documents}
    for row in session.scalars(rows.order_by(DocumentEvidence.id)):
        found[row.document].append(row)
    return found


def by_code(session: Session, code: str) -> Document | None:
    """The paper that carries `code`, if it was ever handed out or may have been."""
    rows = sa.select(Document).where(
        Document.code == code, Document.state.in_((*core.DELIVERED, *core.AT_PRINTER, core.IN_DOUBT))
    )
    return session.scalars(rows).first()


def listed(session: Session, state: str | None, limit: int = LISTED_MAX) -> list[Document]:
    """The newest requests, of one state or of all."""
    rows = sa.select(Document)
    if state is not None:
        rows = rows.where(Document.state == state)
    return list(session.scalars(rows.order_by(Document.created_at.desc()).limit(limit)))


def for_people(session: Session) -> list[Document]:
    """What a person has to look at: in doubt, uncollected for good, or marked."""
    rows = sa.select(Document).where(sa.or_(Document.state == core.IN_DOUBT, Document.attention.is_not(None)))
    return list(session.scalars(rows.order_by(Document.changed_at).limit(LISTED_MAX)))


def counts(session: Session) -> dict[str, int]:
    """How many requests there are in each state."""
    rows = sa.select(Document.state, sa.func.count()).group_by(Document.state)
    return {row.state: row[1] for row in session.execute(rows)}
