"""Carries out what the core decides: durable runs of steps, deadlines, reconciliation.

The database's row is the truth; a run asks it what comes next and does that as a step, until there is nothing
to do now. Nobody waits in a run: what is awaited (evidence, a deadline, a person) begins the next run. So a
document at a printer holds no thread, no wake-up can be lost, and stopping the process never waits.

Every step can be done twice: it looks at the row again before it writes, rendering gives the same bytes, a
sealed paper is stored once, and offer, capture and release are idempotent by the document's id. Steps carry
ids only.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from dbos import DBOS, DBOSConfiguredInstance, SetWorkflowID
from sqlalchemy.orm import Session

from cloud.database.engine import for_reading
from cloud.database.models.documents import Document
from cloud.documents import core, records, store
from cloud.documents.contents import Part
from cloud.documents.core import (
    MakingFailed,
    Offer,
    Reason,
    Tick,
)
from cloud.documents.counter import Counter, Tools
from cloud.documents.issue import Issue
from cloud.documents.news import News, print_job
from cloud.documents.ports import OfferPrint, Render, Sealer
from cloud.errors import RefusedError, UnavailableError
from cloud.web.languages import ZONE

log = logging.getLogger(__name__)

TURNS_MAX = 50
"""Steps of one run; a request has far fewer, whatever happens to it."""
SWEEP_EVERY_S = 2.0
SWEPT_MAX = 100
FORGET_EVERY = timedelta(hours=1)
WORKFLOWS_KEPT = timedelta(days=30)
_UNDER_WAY = ("authorised", "rendered", "sealed", "offered", "delivered", "captured")
"""States in which a run is doing something, or has died doing it."""
_ALIVE = ["PENDING", "ENQUEUED", "DELAYED"]
_TURNS = {
    core.Render: "render",
    core.Seal: "seal",
    core.Offer: "offer",
    core.Capture: "capture",
    core.ReleasePayment: "release",
    core.LookForPayment: "look-for-payment",
    core.Close: "close",
}


@DBOS.dbos_class()
class Documents(DBOSConfiguredInstance):
    """The documents of one process; make it before `cloud.database.workflows.running` is entered."""

    def __init__(
        self,
        tools: Tools,
        *,
        render: Render,
        seal: Sealer,
        offer: OfferPrint,
        public_url: str,
        name: str = "documents",
    ) -> None:
        super().__init__(name)
        self.tools = tools
        self.counter = Counter(tools, self.start)
        self.news = News(tools, self.start)
        self._render = render
        self._seal = seal
        self._offer = offer
        self._public_url = public_url.rstrip("/")
        self._reading = for_reading(tools.sessions)
        self._forgotten_at: datetime | None = None

    # --- beginning ---

    def start(self, document: str, run: str = "") -> None:
        """Do what the request's state asks for. The same run twice is done once; the first is ''."""
        with self._reading() as session:
            facts = store.facts_of(_found(store.look(session, document)))
        turn = _first(core.Request(facts, self.tools.limits).pending())
        if turn:
            with SetWorkflowID(f"{document}.{run}" if run else document):
                DBOS.start_workflow(self.issue, document, turn)

    def reconcile(self) -> None:
        """At start-up: see that whatever is to be done is in the hands of a run.

        Runs that were under way go on by themselves; this finds what a crash kept from beginning, or what
        an error ended.
        """
        with self._reading() as session:
            under_way = store.in_states(session, _UNDER_WAY)
        for document, version in under_way:
            runs = DBOS.list_workflows(workflow_id_prefix=document, load_input=False, load_output=False)
            if any(run.status in _ALIVE for run in runs):
                continue
            self.start(document, f"{version}-{int(self.tools.clock().timestamp())}" if runs else "")
            log.info("document_taken_up_again", extra={"document": document})

    async def watch(self) -> None:
        """Sweep until cancelled; a sweep that fails is tried again by the next."""
        while True:
            try:
                await asyncio.to_thread(self.sweep)
            except Exception:  # a database that is away for a while must not end the sweeping for ever
                log.exception("document_sweep_failed")
            await asyncio.sleep(SWEEP_EVERY_S)

    def sweep(self) -> None:
        """Let time pass for requests that nobody watches, and forget what its day has come for."""
        now = self.tools.clock()
        with self._reading() as session:
            due = store.due(session, now, SWEPT_MAX)
        for document in due:
            with self.tools.sessions.begin() as session:
                row = store.load(session, document)
                if row is None:
                    continue
                work = core.has_work(self.tools.handle(session, row, Tick()))
                version = row.version
            if work:
                self.start(document, str(version))
        if self._forgotten_at is None or now - self._forgotten_at >= FORGET_EVERY:
            self._forgotten_at = now
            self._forget(now)

    def _forget(self, now: datetime) -> None:
        with self.tools.sessions.begin() as session:
            purged = self.tools.contents.purge(session, now)
        ended_before = (now - WORKFLOWS_KEPT).isoformat()
        old = DBOS.list_workflows(
            completed_before=ended_before, limit=SWEPT_MAX, load_input=False, load_output=False
        )
        DBOS.delete_workflows([workflow.workflow_id for workflow in old])
        log.info("documents_forgotten", extra={"contents": purged, "workflows": len(old)})

    # --- the workflow ---

    @DBOS.workflow()
    def issue(self, document: str, turn: str) -> str:
        """Do what the row asks for, beginning with `turn`, until there is nothing to do now.

        A turn that has been overtaken does nothing and finds out what comes next.
        """
        turns = {
            "render": self._do_render,
            "seal": self._do_seal,
            "offer": self._do_offer,
            "capture": self._do_capture,
            "release": self._do_release,
            "look-for-payment": self._do_look_for_payment,
            "close": self._do_close,
        }
        for _ in range(TURNS_MAX):
            if turn not in turns:
                return turn
            turn = turns[turn](document)
        return "too many turns"

    @DBOS.step(retries_allowed=True, max_attempts=3, interval_seconds=0.5)
    def _do_render(self, document: str) -> str:
        with self._reading() as session:
            row = _found(store.look(session, document))
            stored = self.tools.contents.get(session, document, Part.RECORD)
            issue, kind, state = self._issue(row), row.kind, row.state
        if state != "authorised":
            return self._turn(document, Tick())
        try:
            if stored is None:
                raise RefusedError("what the paper says is not there any more")
            record = records.read(kind, stored)
            pdf = self._render(kind, records.page(kind, record, issue, self.tools.kinds))
        except RefusedError as error:
            _log_failure("document_not_rendered", document, error)
            return self._turn(document, MakingFailed(Reason.NOT_RENDERED))
        return self._turn(document, core.Rendered(), only_in="authorised", keep=(Part.RENDERED, pdf))

    @DBOS.step(retries_allowed=True, max_attempts=3, interval_seconds=0.5)
    def _do_seal(self, document: str) -> str:
        with self._reading() as session:
            state = _found(store.look(session, document)).state
            pdf = self.tools.contents.get(session, document, Part.RENDERED)
        if state != "rendered":
            return self._turn(document, Tick())
        try:
            if pdf is None:
                raise RefusedError("the rendered paper is not there any more")
            sealed = self._seal(pdf)
        except RefusedError as error:
            _log_failure("document_not_sealed", document, error)
            return self._turn(document, MakingFailed(Reason.NOT_SEALED))
        return self._turn(document, core.Sealed(), only_in="rendered", keep=(Part.SEALED, sealed))

    @DBOS.step(retries_allowed=True, max_attempts=3, interval_seconds=0.5)
    def _do_offer(self, document: str) -> str:
        with self._reading() as session:
            row = _found(store.look(session, document))
            device, state, sha256, size = row.device, row.state, row.sha256, row.size
        if state != "offered":
            return self._turn(document, Tick())
        assert sha256 is not None and size is not None, "what is offered is sealed"  # noqa: PT018 - one fact
        try:
            job = self._offer(device, document, sha256, size, self.tools.limits.printing_s)
        except RefusedError as error:
            _log_failure("document_not_offered", document, error)
            return self._turn(document, MakingFailed(Reason.NOT_OFFERED))
        assert job == print_job(document), f"the job of a document is called {print_job(document)}"
        return self._turn(document, Tick(), skip=Offer)

    @DBOS.step(retries_allowed=True, max_attempts=3, interval_seconds=0.5)
    def _do_capture(self, document: str) -> str:
        turn = self._settle(document, core.Capture, self.tools.payments.capture, core.PaymentCaptured())
        return self._close(document) if turn == _TURNS[core.Close] else turn

    @DBOS.step(retries_allowed=True, max_attempts=3, interval_seconds=0.5)
    def _do_release(self, document: str) -> str:
        return self._settle(document, core.ReleasePayment, self.tools.payments.void, core.PaymentReleased())

    @DBOS.step(retries_allowed=True, max_attempts=3, interval_seconds=0.5)
    def _do_look_for_payment(self, document: str) -> str:
        event: core.Event
        try:
            found = self.tools.payments.last_for(document)
        except UnavailableError:
            event = core.PaymentMissed(final=False)
        else:
            if found is not None and found.state == "waiting":
                event = core.PaymentMissed(final=False)  # the terminal still asks for a card
            elif found is not None and found.state == "authorised":
                event = core.PaymentFound(found.authorisation)
            else:
                event = core.NoPayment()
        return self._turn(document, event)

    @DBOS.step(retries_allowed=True, max_attempts=3, interval_seconds=0.5)
    def _do_close(self, document: str) -> str:
        return self._close(document)

    # --- shared ---

    def _turn(
        self,
        document: str,
        event: core.Event,
        *,
        only_in: str | None = None,
        keep: tuple[Part, bytes] | None = None,
        skip: type | None = None,
    ) -> str:
        """Put `event` to the core, with what was made kept in the same transaction.

        The answer is a name of `_TURNS`, or empty when nothing is to be done now.
        """
        with self.tools.sessions.begin() as session:
            row = _found(store.load(session, document))
            if only_in is not None and row.state != only_in:
                event = Tick()  # somebody else was quicker; what was made is not needed
            elif keep is not None:
                self._keep(session, row, *keep)
            effects = self.tools.handle(session, row, event)
        return _first([each for each in effects if type(each) is not skip])

    def _close(self, document: str) -> str:
        turn = self._turn(document, core.Closed())
        log.info("document_closed", extra={"document": document})
        return turn

    def _keep(self, session: Session, row: Document, part: Part, pdf: bytes) -> None:
        self.tools.contents.put(session, row.document, part, pdf, self.tools.clock())
        if part is Part.SEALED:
            row.sha256 = hashlib.sha256(pdf).hexdigest()
            row.size = len(pdf)
            self.tools.contents.drop(session, row.document, Part.RENDERED, Part.REQUEST)

    def _settle(self, document: str, wanted: type, ask: Callable[[str, str], None], done: core.Event) -> str:
        """Capture or release, if the row still asks for it; the same key each time."""
        with self._reading() as session:
            facts = store.facts_of(_found(store.look(session, document)))
        asked = core.Request(facts, self.tools.limits).pending()
        if not any(isinstance(work, wanted) for work in asked) or facts.authorisation is None:
            return self._turn(document, Tick())
        try:
            ask(facts.authorisation, document)
        except UnavailableError as error:
            log.warning("payment_not_settled", extra={"document": document, "reason": str(error)})
            return self._turn(document, core.PaymentMissed(final=False))
        except RefusedError as error:
            _log_failure("payment_refused", document, error)
            return self._turn(document, core.PaymentMissed(final=True))
        return self._turn(document, done)

    def _issue(self, row: Document) -> Issue:
        assert row.serial is not None, "a paid request has its numbers"
        assert row.code is not None, "a paid request has its numbers"
        assert row.issued_at is not None, "a paid request has its numbers"
        assert row.valid_until is not None, "a paid request has its numbers"
        return Issue(
            serial=row.serial,
            code=row.code,
            verify_url=f"{self._public_url}/v/{row.code}",
            verify_page=f"{self._public_url}/verify",
            issued_on=row.issued_at.astimezone(ZONE).date(),
            valid_until=row.valid_until,
            price_cents=row.price_cents or 0,
            language=row.language,
        )


def _log_failure(event: str, document: str, error: RefusedError) -> None:
    """Our refusals say everything in their sentence; a traceback would add nothing."""
    log.error(event, extra={"document": document, "reason": str(error)})


def _workflow_id(document: str, run: str) -> str:
    return f"{document}.{run}" if run else document


def _first(effects: Sequence[core.Effect]) -> str:
    """The first thing to do, by its name in `_TURNS`; empty when nothing is to be done now."""
    return next((_TURNS[type(each)] for each in effects if type(each) in _TURNS), "")


def _found(row: Document | None) -> Document:
    assert row is not None, "a workflow is begun for a document that is stored"
    return row
