"""The control plane: real watermarks, job engine and document requests over one database; it may die.

A transaction is a list of changes that happen together. A kill before it leaves nothing, a kill after it
leaves everything but the answers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cloud import watermark
from cloud.documents import core as d
from cloud.jobs import core as k
from contract import jobs as cj
from contract.documents import Evidence, PrintJob
from contract.messages import Lane
from edge_agent.documents import printing as p
from edge_agent.jobs import core as j
from edge_agent.link import outbox as o
from simulators.world.broker import Broker, Packet
from simulators.world.clock import Action, Clock
from simulators.world.device import Envelope
from simulators.world.disk import Key
from simulators.world.faults import Faults
from simulators.world.plants import Plant

AWAY_MIN_S, AWAY_MAX_S = 1.0, 20.0
SWEEP_S = 10.0
WORK_S = 0.2
"""Rendering, sealing, asking the payment service."""
REQUEST_S = 0.3
PRICE_CENTS = 400
START = datetime(2026, 1, 1, tzinfo=UTC)
TERMS = k.Terms(queued_expiry=timedelta(seconds=900), in_progress_timeout=timedelta(seconds=900))


class KilledError(Exception):
    """The control plane died in the middle of it."""


@dataclass
class Database:
    """What is committed. `stored` counts how often each kept message was stored, which must be once."""

    marks: dict[tuple[str, str, Lane], watermark.Watermark] = field(default_factory=dict)
    stored: dict[tuple[str, Key], int] = field(default_factory=dict)
    facts: dict[str, d.Facts] = field(default_factory=dict)
    device_of: dict[str, str] = field(default_factory=dict)
    executions: dict[str, k.Execution] = field(default_factory=dict)
    target: dict[str, tuple[str, dict[str, object]]] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)


@dataclass
class Payments:
    """The payment service: what is held for, captured from and given back to each document's citizen."""

    held: set[str] = field(default_factory=set)
    captured: set[str] = field(default_factory=set)
    released: set[str] = field(default_factory=set)


class Cloud:
    """One control plane, consumer of one broker."""

    def __init__(self, clock: Clock, faults: Faults, broker: Broker, plant: Plant) -> None:
        self.up = True
        self.kills = 0
        self.db = Database()
        self.payments = Payments()
        self._clock = clock
        self._faults = faults
        self._broker = broker
        self._plant = plant
        self._turns: dict[str, int] = {}
        self._later(SWEEP_S, self._sweep)

    @property
    def now(self) -> datetime:
        """The wall clock of the control plane."""
        return START + timedelta(seconds=self._clock.now)

    # --- for people ---

    def create_job(self, job: str, device: str, operation: str) -> None:
        """An operator wants something of a device; asked again until the control plane is there."""

        def act() -> None:
            self._queue(job, device, {"operation": operation})

        self._insist(act)

    def request(self, document: str, device: str) -> None:
        """A citizen's visit: identified, priced, paid; from here on it is the control plane's."""

        def act() -> None:
            if document not in self.db.facts:
                self.payments.held.add(document)
                self.db.device_of[document] = device
                self.db.facts[document] = d.Facts(state="priced", price_cents=PRICE_CENTS)
            self.tell(document, d.Paid(document, PRICE_CENTS))

        self._insist(act)

    def decide(self, document: str, delivered: bool) -> None:
        """A person has looked at the paper."""
        self._insist(lambda: self.tell(document, d.Decided(delivered)))

    # --- the broker's consumer ---

    def take(self, device: str, packet: Packet) -> bool:
        """Whether the message is done with; False when the control plane died over it."""

        def act() -> None:
            match packet.topic:
                case "kept":
                    self._keep(device, packet.body)
                case "start-next":
                    self._start_next(device, packet.body)
                case "update":
                    self._update(device, packet.ids["job"], packet.body)

        return self._attempt(act)

    def fetch(self, device: str, document: str, answer: Callable[[p.Event], None]) -> None:
        """A kiosk wants a sealed paper: it gets it while its job lasts."""

        def serve() -> None:
            if not self.up or self._faults.happens(self._faults.mix.http_failure):
                answer(p.NotFetched("no answer", final=False))
                return
            execution = self.db.executions.get(f"print-{document}")
            facts = self.db.facts[document]
            mine = self.db.device_of[document] == device and execution is not None
            if (
                mine
                and execution is not None
                and execution.status in k.PENDING
                and facts.state in d.AT_PRINTER
            ):
                answer(p.Fetched(document, 1))
            else:
                answer(p.NotFetched("not for you, or not any more", final=True))

        self._clock.later(REQUEST_S, serve)

    # --- life ---

    def _later(self, delay_s: float, action: Action) -> None:
        self._clock.later(delay_s, action)

    def _attempt(self, action: Action) -> bool:
        if not self.up:
            return False
        try:
            action()
        except KilledError:
            self.up = False
            self.kills += 1
            self._turns.clear()
            self._later(self._faults.rng.uniform(AWAY_MIN_S, AWAY_MAX_S), self._back)
            return False
        return True

    def _insist(self, action: Action) -> None:
        if not self._attempt(action):
            self._later(5.0, lambda: self._insist(action))

    def _back(self) -> None:
        self.up = True
        self._attempt(self._recover)
        if self.up:
            self._broker.consumer_is_back()

    def _recover(self) -> None:
        for document in list(self.db.facts):
            self._work(document)

    def _commit(self, *changes: Action) -> None:
        if self._faults.happens(self._faults.mix.cloud_kill):
            if self._faults.rng.random() < 0.5:
                raise KilledError
            for change in changes:
                change()
            raise KilledError
        for change in changes:
            change()

    def _sweep(self) -> None:
        self._later(SWEEP_S, self._sweep)
        self._attempt(self._sweep_once)

    def _sweep_once(self) -> None:
        for job, execution in list(self.db.executions.items()):
            after = k.expire(execution, self.now)
            if after is not execution:
                self._write(after)
            elif execution.status not in k.PENDING and job not in self.db.told:
                self._tell_ended(after)
        for document in list(self.db.facts):
            self.tell(document, d.Tick())

    # --- what devices keep for us ---

    def _keep(self, device: str, kept: Envelope) -> None:
        stream = (device, kept.boot, kept.lane)
        mark = self.db.marks.get(stream, watermark.Watermark())
        bulk = kept.lane is Lane.TELEMETRY
        after, verdict = watermark.note(mark, kept.seq, kept_from=kept.kept_from, give_up=bulk)
        ack = Packet("ack", {}, o.Acked(kept.boot, kept.lane, after.seq))
        if self._plant.acknowledges_early:
            self._broker.to_device(device, ack)
        changes: list[Action] = [lambda: self.db.marks.__setitem__(stream, after)]
        follow: list[d.Effect] = []
        if verdict is watermark.Verdict.NEW:
            key = (device, (kept.boot, kept.lane, kept.seq))
            changes.append(lambda: self.db.stored.__setitem__(key, self.db.stored.get(key, 0) + 1))
            if isinstance(kept.body, Evidence):
                follow = self._handle(kept.body.document, d.EvidenceCame(kept.body.outcome), changes)
        self._commit(*changes)
        if isinstance(kept.body, Evidence):
            self._follow(kept.body.document, follow)
        self._broker.to_device(device, ack)

    # --- jobs ---

    def _queue(self, job: str, device: str, document: dict[str, object]) -> None:
        if job in self.db.executions:
            return
        execution = k.queued(job, len(self.db.executions) + 1, TERMS, self.now)
        self._commit(
            lambda: self.db.executions.__setitem__(job, execution),
            lambda: self.db.target.__setitem__(job, (device, document)),
        )
        self._broker.to_device(device, Packet("jobs", {}, j.Notified()))

    def _start_next(self, device: str, token: str) -> None:
        mine = [e for job, e in self.db.executions.items() if self.db.target[job][0] == device]
        execution = k.next_of(mine)
        if execution is None:
            self._broker.to_device(device, Packet("jobs", {}, j.Handed(token, None)))
            return
        begun = k.start(execution, cj.Request(client_token=token), self.now)
        assert isinstance(begun, k.Execution)
        self._commit(lambda: self.db.executions.__setitem__(begun.job, begun))
        self._broker.to_device(device, Packet("jobs", {}, j.Handed(token, self._shape(device, begun))))

    def _update(self, device: str, job: str, wish: cj.Update) -> None:
        execution = self.db.executions.get(job)
        if execution is None:
            return
        after = k.update(execution, wish, self.now)
        answer: j.Event = j.Accepted(wish.client_token)
        if isinstance(after, k.Refusal):
            current = after.current
            state = None
            if current is not None:
                state = cj.State(status=current.status, version_number=current.version)
            answer = j.Rejected(wish.client_token, after.code, state)
        elif isinstance(after, k.Execution):
            self._write(after)
        self._broker.to_device(device, Packet("jobs", {}, answer))

    def _write(self, after: k.Execution) -> None:
        self._commit(lambda: self.db.executions.__setitem__(after.job, after))
        if after.status not in k.PENDING:
            self._tell_ended(after)
        device = self.db.target[after.job][0]
        self._broker.to_device(device, Packet("jobs", {}, j.Notified()))

    def _tell_ended(self, ended: k.Execution) -> None:
        if ended.job.startswith("print-"):
            how = d.PrintEnd.STARTED if ended.started_at else d.PrintEnd.NEVER_STARTED
            self.tell(ended.job.removeprefix("print-"), d.JobEnded(how))
        self._commit(lambda: self.db.told.add(ended.job))

    def _shape(self, device: str, execution: k.Execution) -> cj.Execution:
        return cj.Execution(
            job_id=execution.job,
            thing_name=device,
            status=execution.status,
            version_number=execution.version,
            execution_number=execution.number,
            queued_at=int(execution.queued_at.timestamp()),
            last_updated_at=int(execution.updated_at.timestamp()),
            job_document=self.db.target[execution.job][1],
        )

    # --- documents ---

    def tell(self, document: str, event: d.Event) -> None:
        """Give a document request an event, in a transaction, and do what follows."""
        changes: list[Action] = []
        effects = self._handle(document, event, changes)
        if changes:
            self._commit(*changes)
        self._follow(document, effects)

    def _handle(self, document: str, event: d.Event, changes: list[Action]) -> list[d.Effect]:
        request = d.Request(self.db.facts[document], d.Limits())
        effects = request.handle(event, self.now)
        if request.facts != self.db.facts[document]:
            facts = request.facts
            changes.append(lambda: self.db.facts.__setitem__(document, facts))
        return effects

    def _follow(self, document: str, effects: list[d.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, d.ReleaseSurplus):
                self.payments.released.add(document)
        if any(not isinstance(effect, d.Persist | d.Refuse | d.Ignored) for effect in effects):
            self._work(document)

    def _work(self, document: str) -> None:
        """Do what the request's state asks for; one hand at a time, as a durable workflow has it."""
        turn = self._turns.get(document, 0) + 1
        self._turns[document] = turn
        for work in d.Request(self.db.facts[document], d.Limits()).pending():
            match work:
                case d.Offer():
                    self._offer(document)
                case d.AwaitEvidence():
                    pass  # the sweep lets its time pass
                case _:
                    self._later(WORK_S, lambda w=work: self._done(document, turn, w))  # type: ignore[misc]  # mypy types no defaults of lambdas

    def _done(self, document: str, turn: int, work: d.Work) -> None:
        if self._turns.get(document) == turn:
            self._attempt(lambda: self.tell(document, self._result(document, work)))

    def _result(self, document: str, work: d.Work) -> d.Event:
        match work:
            case d.Render():
                return d.Rendered()
            case d.Seal():
                return d.Sealed()
            case d.Close():
                return d.Closed()
        if self._faults.happens(self._faults.mix.payments_failure):
            return d.PaymentMissed(final=False)
        match work:
            case d.Capture():
                self.payments.captured.add(document)
                return d.PaymentCaptured()
            case d.ReleasePayment():
                self.payments.released.add(document)
                return d.PaymentReleased()
            case d.LookForPayment():
                return d.PaymentFound(document) if document in self.payments.held else d.NoPayment()
        raise AssertionError(f"{work} is done elsewhere")

    def _offer(self, document: str) -> None:
        order = PrintJob(document=document, sha256=document, size=1)
        wanted: dict[str, object] = {
            "operation": order.operation,
            "document": order.document,
            "sha256": order.sha256,
            "size": order.size,
        }
        self._queue(f"print-{document}", self.db.device_of[document], wanted)


def settled(facts: d.Facts) -> bool:
    """Whether nothing is left to do for a request, by anybody."""
    return facts.state in d.ENDED and facts.payment in (d.Hold.NONE, d.Hold.CAPTURED, d.Hold.RELEASED)
