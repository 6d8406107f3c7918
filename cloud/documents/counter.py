"""What a kiosk asks for before there is a paper: identify, choose, pay, cancel, look.

Every question is idempotent by the document's id. The registry and the payment service are asked outside of
transactions; what they say is put to the core, which decides.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import msgspec
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.documents import Document
from cloud.database.writing import hold
from cloud.documents import codes, core, records, store
from cloud.documents.contents import Contents, Part
from cloud.documents.core import Limits, Refuse, ReleaseSurplus
from cloud.documents.kinds import KindRules, Kinds
from cloud.documents.ports import Payments, Registry
from cloud.documents.problems import DocumentProblemError
from cloud.documents.records import Record
from cloud.documents.store import Lookup
from cloud.errors import RefusedError, UnavailableError
from cloud.web.languages import ZONE
from contract.documents import Choice, NewRequest, Payment, Problem, Subject, View
from contract.messages import encode

log = logging.getLogger(__name__)

PROBLEMS = frozenset(problem.value for problem in Problem)

Begin = Callable[[str, str], None]
"""Takes a document and a run; does what its state asks for, once for each run. The first run is ''."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a request while it lasts: the registry's opaque id, and what can be chosen."""

    person: str
    subjects: list[Subject]
    chosen: str | None = None


@dataclass(frozen=True)
class Tools:
    """What the counter and the workflow work with."""

    sessions: sessionmaker[Session]
    contents: Contents
    kinds: Kinds
    registry: Registry
    payments: Payments
    limits: Limits
    clock: Callable[[], datetime]
    chance: Callable[[int], bytes]

    def handle(self, session: Session, row: Document, event: core.Event) -> list[core.Effect]:
        """Put `event` to the core; what is known of a request without a paper is forgotten with its end."""
        effects = store.handle(session, row, event, self.clock(), self.limits)
        if row.state in core.PAPERLESS and not row.offered:
            self.contents.drop(session, row.document, *Part)
        return effects


class Counter:
    """The requests of kiosks; `begin` is called after the commit when there is something to do."""

    def __init__(self, tools: Tools, begin: Begin) -> None:
        self._tools = tools
        self._begin = begin

    # --- identify ---

    def request(self, device: str, new: NewRequest) -> View:
        """Open a request and identify who asks.

        Raises:
            DocumentProblemError: see `Problem`; the same question again gets the same answer.
        """
        rules = self._tools.kinds.get(new.kind)
        if rules is None:
            raise DocumentProblemError(Problem.UNKNOWN_KIND)
        lookup = Lookup(new.document, device, new.visit, new.kind, rules.purpose)
        with self._tools.sessions.begin() as session:
            hold(session, [device])  # failed identifications are counted before one more is let through
            row = self._open(session, device, new)
            if row.state != "requested":
                return _or_problem(self._view(session, row))
            locked = self._is_locked(session, device, new.visit)
            asked = store.note_lookup(session, lookup, "locked" if locked else "asking", self._now())
            if locked:
                self._handle(session, row, core.Declined(Problem.VISIT_LOCKED))
        if locked:
            raise DocumentProblemError(Problem.VISIT_LOCKED)
        found = self._identify(new, rules, asked)
        with self._tools.sessions.begin() as session:
            view = self._identified(session, device, new.document, asked, found)
        return _or_problem(view)

    def _open(self, session: Session, device: str, new: NewRequest) -> Document:
        row = store.load(session, new.document)
        if row is not None:
            if row.device != device:
                raise DocumentProblemError(Problem.NOT_FOUND)
            return row
        now = self._now()
        row = Document(
            document=new.document,
            device=device,
            visit=new.visit,
            kind=new.kind,
            language=new.language,
            state="requested",
            version=0,
            created_at=now,
            changed_at=now,
            tries=0,
            payment=core.Hold.NONE.value,
            offered=False,
        )
        session.add(row)
        self._handle(session, row, core.Created())
        return row

    def _is_locked(self, session: Session, device: str, visit: str) -> bool:
        return store.is_locked(
            session, device, visit, self._now() - timedelta(seconds=store.DEVICE_FAILURES_S)
        )

    def _identify(self, new: NewRequest, rules: KindRules, asked: int) -> Asked | None:
        """Who it is; None for somebody unknown and for values that do not belong together alike."""
        registry = self._tools.registry
        try:
            person = registry.identify(new.identification, purpose=rules.purpose, audit=str(asked))
            if person is None:
                return None
            return Asked(person=person, subjects=registry.subjects(person, new.kind, new.whom))
        except UnavailableError as error:
            log.warning("registry_unavailable", extra={"document": new.document, "reason": str(error)})
            with self._tools.sessions.begin() as session:
                store.answer_lookup(session, asked, "unavailable")
            raise DocumentProblemError(Problem.REGISTRY_UNAVAILABLE) from None

    def _identified(
        self, session: Session, device: str, document: str, asked: int, found: Asked | None
    ) -> View:
        store.answer_lookup(session, asked, "found" if found else "unknown")
        row = self._load(session, device, document)
        if row.state != "requested":
            return self._view(session, row)
        if found is None:
            self._handle(session, row, core.Declined(Problem.NOT_IDENTIFIED))
        elif not found.subjects:
            self._handle(session, row, core.Declined(Problem.NOTHING_TO_ISSUE))
        else:
            self._handle(session, row, core.Identified())
            self._put(session, row, Part.REQUEST, encode(found))
        return self._view(session, row)

    # --- choose ---

    def choose(self, device: str, document: str, choice: Choice) -> View:
        """Choose what the paper is about; the answer has the price and what the paper will say.

        Raises:
            DocumentProblemError: see `Problem`.
        """
        with self._tools.sessions.begin() as session:
            row = self._load(session, device, document)
            asked = self._asked(session, row)
            if row.state == "priced" and asked is not None and asked.chosen == choice.subject:
                return self._view(session, row)
            if row.state != "identified" or asked is None:
                raise DocumentProblemError(Problem.WRONG_STATE)
            if choice.subject not in {subject.subject for subject in asked.subjects}:
                raise DocumentProblemError(Problem.UNKNOWN_SUBJECT)
            rules = self._tools.kinds.by_name[row.kind]
            lookup = Lookup(document, device, row.visit, row.kind, rules.purpose)
            store.note_lookup(session, lookup, "read", self._now())
        record = self._read(document, asked.person, choice.subject, rules)
        with self._tools.sessions.begin() as session:
            view = self._chosen(session, self._load(session, device, document), asked, choice, record)
        return _or_problem(view)

    def _read(self, document: str, person: str, subject: str, rules: KindRules) -> Record | None:
        """What the registry says of the subject; None where this person may not have it."""
        registry = self._tools.registry
        try:
            permission = registry.may_request(person, subject, rules.kind)
            if not permission.allowed:
                log.info("request_not_allowed", extra={"document": document, "reason": permission.reason})
                return None
            return registry.record(subject, rules.kind)
        except UnavailableError as error:
            log.warning("registry_unavailable", extra={"document": document, "reason": str(error)})
            raise DocumentProblemError(Problem.REGISTRY_UNAVAILABLE) from None
        except RefusedError:
            raise DocumentProblemError(Problem.UNKNOWN_SUBJECT) from None

    def _chosen(
        self, session: Session, row: Document, asked: Asked, choice: Choice, record: Record | None
    ) -> View:
        if record is None:
            self._handle(session, row, core.Declined(Problem.NOT_ALLOWED))
            return self._view(session, row)
        fee = self._tools.kinds.fee(row.kind, self._today())
        if any(isinstance(effect, Refuse) for effect in self._handle(session, row, core.Priced(fee.cents))):
            raise DocumentProblemError(Problem.WRONG_STATE)
        chosen = msgspec.structs.replace(asked, chosen=choice.subject)
        self._put(session, row, Part.REQUEST, encode(chosen))
        self._put(session, row, Part.RECORD, encode(record))
        return self._view(session, row)

    # --- pay ---

    def pay(self, device: str, document: str, payment: Payment) -> View:
        """Take note of the citizen's payment, and begin to make the paper.

        Raises:
            DocumentProblemError: see `Problem`; money that pays for nothing is released.
        """
        authorisation = payment.authorisation or None
        amount = 0
        with self._tools.sessions.begin() as session:
            known = self._load(session, device, document).authorisation
        if authorisation is not None and authorisation != known:
            amount = self._held(document, authorisation)
        with self._tools.sessions.begin() as session:
            row = self._load(session, device, document)
            if authorisation is not None and authorisation == row.authorisation:
                amount = row.price_cents or 0
            effects = self._handle(session, row, core.Paid(authorisation, amount))
            if row.state == "authorised" and row.serial is None:
                self._number(session, row)
            view, version = self._view(session, row), row.version
        if _is_somebodys_turn(view, effects):
            self._begin(document, "" if view.state == "authorised" else str(version))
        for effect in effects:
            if isinstance(effect, ReleaseSurplus):
                self._release(document, effect.authorisation)
            elif isinstance(effect, Refuse):
                raise DocumentProblemError(effect.problem)
        return view

    def _held(self, document: str, authorisation: str) -> int:
        """How much the payment service holds for this document under that id."""
        try:
            found = self._tools.payments.authorisation(authorisation)
        except UnavailableError as error:
            log.warning("payments_unavailable", extra={"document": document, "reason": str(error)})
            raise DocumentProblemError(Problem.PAYMENTS_UNAVAILABLE) from None
        if found is None or found.reference != document or found.state != "authorised":
            raise DocumentProblemError(Problem.PAYMENT_NOT_CONFIRMED)
        return found.amount_cents

    def _release(self, document: str, authorisation: str) -> None:
        try:
            self._tools.payments.void(authorisation, f"{document}-{authorisation}")
        except UnavailableError:
            raise DocumentProblemError(Problem.PAYMENTS_UNAVAILABLE) from None
        except RefusedError as error:
            log.warning("surplus_not_released", extra={"document": document, "reason": str(error)})

    def _number(self, session: Session, row: Document) -> None:
        """Give the paper what stands on it, once and before it is made."""
        rules = self._tools.kinds.by_name[row.kind]
        today = self._today()
        row.issued_at = self._now()
        row.valid_until = today + timedelta(days=rules.valid_days)
        row.serial = store.next_serial(session, self._tools.kinds.municipality.serial_prefix, today.year)
        row.code = codes.encode(self._tools.chance(codes.CODE_BYTES))

    # --- look, cancel, fetch ---

    def cancel(self, device: str, document: str) -> View:
        """End a request that is not paid; doing it again changes nothing.

        Raises:
            DocumentProblemError: it is paid already, or there is none.
        """
        with self._tools.sessions.begin() as session:
            row = self._load(session, device, document)
            effects = self._handle(session, row, core.Cancelled())
            if any(isinstance(effect, Refuse) for effect in effects):
                raise DocumentProblemError(Problem.WRONG_STATE)
            view, version = self._view(session, row), row.version
        if _is_somebodys_turn(view, effects):
            self._begin(document, "" if view.state == "authorised" else str(version))
        return view

    def view(self, device: str, document: str) -> View:
        """How the request stands.

        Raises:
            DocumentProblemError: this kiosk has no such request.
        """
        with self._tools.sessions.begin() as session:
            return self._view(session, self._load(session, device, document))

    def paper(self, device: str, document: str) -> bytes:
        """The sealed PDF, only while its print job is under way and only for the kiosk that has it.

        Raises:
            DocumentProblemError: there is none for this kiosk now.
        """
        with self._tools.sessions.begin() as session:
            row = self._load(session, device, document)
            if row.state not in core.AT_PRINTER or row.print_ended is not None:
                raise DocumentProblemError(Problem.WRONG_STATE)
            pdf = self._tools.contents.get(session, document, Part.SEALED)
        if pdf is None:
            raise DocumentProblemError(Problem.WRONG_STATE)
        return pdf

    # --- shared ---

    def _now(self) -> datetime:
        return self._tools.clock()

    def _today(self) -> date:
        """The civil date; papers are dated by it."""
        return self._now().astimezone(ZONE).date()

    def _load(self, session: Session, device: str, document: str) -> Document:
        row = store.load(session, document)
        if row is None or row.device != device:
            raise DocumentProblemError(Problem.NOT_FOUND)
        if row.state in core.OPEN:
            self._handle(session, row, core.Tick())
        return row

    def _handle(self, session: Session, row: Document, event: core.Event) -> list[core.Effect]:
        return self._tools.handle(session, row, event)

    def _put(self, session: Session, row: Document, part: Part, plain: bytes) -> None:
        self._tools.contents.put(session, row.document, part, plain, self._now())

    def _asked(self, session: Session, row: Document) -> Asked | None:
        stored = self._tools.contents.get(session, row.document, Part.REQUEST)
        return msgspec.json.decode(stored, type=Asked) if stored is not None else None

    def _view(self, session: Session, row: Document) -> View:
        subjects: list[Subject] = []
        rows = []
        if row.state == "identified":
            asked = self._asked(session, row)
            subjects = asked.subjects if asked else []
        if row.state == "priced":
            stored = self._tools.contents.get(session, row.document, Part.RECORD)
            if stored is not None:
                rows = records.preview(
                    row.kind,
                    records.read(row.kind, stored),
                    price_cents=row.price_cents or 0,
                    language=row.language,
                    kinds=self._tools.kinds,
                )
        return View(
            document=row.document,
            kind=row.kind,
            state=row.state,
            subjects=subjects,
            preview=rows,
            price_cents=row.price_cents,
            serial=row.serial,
            problem=row.reason if row.reason in PROBLEMS else None,
        )


def _is_somebodys_turn(view: View, effects: list[core.Effect]) -> bool:
    """Whether the workflow must begin: a paper is to be made, or money to be given back."""
    return view.state in ("authorised", *core.PAPERLESS) and core.has_work(effects)


def _or_problem(view: View) -> View:
    """The view, or the problem for which the request was refused."""
    if view.state == "refused" and view.problem is not None:
        raise DocumentProblemError(Problem(view.problem))
    return view
