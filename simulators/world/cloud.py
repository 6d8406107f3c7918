"""The control plane: real ingest, job engine, document requests and sittings over one database; it may die.

A transaction is a list of changes that happen together. A kill before it leaves nothing, a kill after it
leaves everything but the answers.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec

from cloud.devices import presence as w
from cloud.documents import core as d
from cloud.errors import MalformedError
from cloud.jobs import core as k
from cloud.telemetry.core import Member, sort_out
from cloud.updates.core import BEGIN, Standing, take
from cloud.watermark import Key as Stream
from cloud.watermark import Tally, Verdict, Watermark, tally
from contract import jobs as cj
from contract.documents import Evidence, PrintJob
from contract.errors import MalformedError as ContractMalformedError
from contract.link import Dropped, DroppedRange, check_dropped
from contract.messages import Envelope, Presence, open_envelope, read
from contract.recordings import FloorEvent, check_floor
from contract.twin import Section
from contract.updates import ApplyUpdate, UpdateNews
from edge_agent.documents import printing as p
from edge_agent.jobs import core as j
from edge_agent.link import outbox as o
from simulators.world.broker import Broker, Packet
from simulators.world.certificates import Proven, Refused, Renewed
from simulators.world.clock import START, Action, Clock
from simulators.world.cloud_captions import CloudCaptions
from simulators.world.cloud_certificates import Certificate, CloudCertificates, is_final
from simulators.world.cloud_twins import CloudTwins
from simulators.world.disk import Key
from simulators.world.faults import Fault, Faults
from simulators.world.plants import Plant
from simulators.world.trace import Trace

T = TypeVar("T")

AWAY_MIN_S, AWAY_MAX_S = 1.0, 20.0
SWEEP_S = 10.0
WORK_S = 0.2
"""Rendering, sealing, asking the payment service."""
REQUEST_S = 0.3
TIMEOUT_S = 10.0
"""How long a device waits for an answer by HTTPS that does not come."""
PRICE_CENTS = 400
TERMS = k.Terms(queued_expiry=timedelta(seconds=900), in_progress_timeout=timedelta(seconds=900))
SITTING_TERMS = k.Terms(
    queued_expiry=timedelta(hours=12), in_progress_timeout=timedelta(seconds=60), retries=cj.RETRIES_MAX
)
MEMBER = Member("site", "device")
EARS = w.Ears(words_since=START, data_since=None)
"""Devices of the world do not sample for ever, so that their silence means nothing."""


class KilledError(Exception):
    """The control plane died in the middle of it."""


@dataclass
class Database:
    """What is committed. `stored` counts how often each kept message was stored, which must be once."""

    marks: dict[Stream, Watermark] = field(default_factory=dict)
    stored: dict[tuple[str, Key], int] = field(default_factory=dict)
    arrived: Counter[Stream] = field(default_factory=Counter)
    """The ledger: messages that came for the first time."""
    tallies: dict[Stream, Tally] = field(default_factory=dict)
    """What became of every sequence, as the real ledger counts it."""
    declared: dict[str, list[DroppedRange]] = field(default_factory=dict)
    """What each device says that it dropped."""
    dates: dict[tuple[str, Key], int] = field(default_factory=dict)
    """When each sample was taken, as it says."""
    refused: Counter[str] = field(default_factory=Counter)
    misled: list[str] = field(default_factory=list)
    """Words on the end of one connection that were taken for the end of another."""
    presence: dict[str, w.Known] = field(default_factory=dict)
    facts: dict[str, d.Facts] = field(default_factory=dict)
    device_of: dict[str, str] = field(default_factory=dict)
    executions: dict[str, k.Execution] = field(default_factory=dict)
    standings: dict[tuple[str, str], Standing] = field(default_factory=dict)
    target: dict[str, tuple[str, dict[str, object]]] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    floor: set[FloorEvent] = field(default_factory=set)


@dataclass
class Payments:
    """The payment service: what is held for, captured from and given back to each document's citizen."""

    held: set[str] = field(default_factory=set)
    captured: set[str] = field(default_factory=set)
    released: set[str] = field(default_factory=set)


class Cloud:
    """One control plane, consumer of one broker."""

    def __init__(self, clock: Clock, faults: Faults, broker: Broker, plant: Plant, trace: Trace) -> None:
        self.up = True
        self._reckoned_at, self._reckoned = 0.0, START
        self.db = Database()
        self.payments = Payments()
        self.asked: list[tuple[float, str]] = []
        """Every request for a certificate: when it was sent, and by whom."""
        self.captions = CloudCaptions(
            plant, self._queue_sitting, lambda: self.now, waiting=self._waiting, cancel=self._canceled
        )
        self.certificates = CloudCertificates(faults, plant, self._commit, lambda: self.now)
        self.twins = CloudTwins(plant, self._commit, broker.to_device, lambda: self.now)
        self._trace = trace
        self._clock = clock
        self._faults = faults
        self._broker = broker
        self.plant = plant
        self._turns: dict[str, int] = {}
        self._later(SWEEP_S, self._sweep)

    @property
    def now(self) -> datetime:
        """The wall clock of the control plane; asked so often that it is reckoned once a moment."""
        if self._reckoned_at != self._clock.now:
            self._reckoned_at = self._clock.now
            self._reckoned = START + timedelta(seconds=self._reckoned_at)
        return self._reckoned

    # --- for people ---

    def create_job(self, job: str, device: str, operation: str) -> None:
        """An operator wants something of a device; asked again until the control plane is there."""

        def act() -> None:
            self._queue(job, device, {"operation": operation})

        self._insist(act)

    def assign(self, job: str, device: str, order: ApplyUpdate) -> None:
        """An operator assigns a version to a device."""
        self._insist(lambda: self._queue(job, device, msgspec.to_builtins(order)))

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

    def change_sitting(self, session: str, device: str, event: str) -> None:
        """The clerk lets `event` happen to a sitting."""

        def act() -> None:
            changes = self.captions.change(session, device, event)
            self._commit(*changes)
            self._trace("clerk", f"{event}: {session}")
            self._broker.to_device(device, Packet("jobs", {}, j.Notified()))

        self._insist(act)

    def desire(self, device: str, changes: Section | None) -> None:
        """An operator changes what is desired of a device; None deletes its twin."""
        if changes is None:
            self._insist(lambda: self.twins.delete(device))
        else:
            self._insist(lambda: self.twins.desire(device, changes))

    # --- the broker's consumer ---

    def take(self, device: str, packet: Packet) -> bool:
        """Whether the message is done with; False when the control plane died over it."""

        def act() -> None:
            match packet.topic:
                case "telemetry":
                    self._keep_telemetry(device, packet.body)
                case "evidence" | "caption-final" | "updates" | "dropped" | "floor":
                    self._keep_event(device, packet)
                case "caption-partial":
                    self.captions.on_partial(device, packet.body)
                case "presence":
                    self._believe(device, packet.body)
                case "start-next":
                    self._start_next(device, packet.body)
                case "describe":
                    self._describe(device, packet.ids["job"], packet.body)
                case "update":
                    self._update(device, packet.ids["job"], packet.body)
                case "twin-get":
                    self.twins.get(device, packet.body)
                case "twin-update":
                    self.twins.update(device, packet.body)

        return self._attempt(act) or self.plant.acknowledges_early

    def fetch(self, device: str, document: str, answer: Callable[[p.Event], None]) -> None:
        """A kiosk wants a sealed paper: it gets it while its job lasts."""

        def serve() -> None:
            if not self.up or self._faults.happens(Fault.HTTP_FAILURE):
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

    def renew(
        self, device: str, shown: Certificate, key: str, answer: Callable[[Renewed | None], None]
    ) -> None:
        """A device asks for a certificate, at the listener that takes one that has expired, too.

        TLS says no to one of a foreign issuer, which a device takes for a bad moment.
        """

        def serve() -> Renewed | None:
            if not shown.taken:
                return None
            found = self.certificates.renew(shown, key)
            if isinstance(found, Certificate):
                return Renewed(found, self._told_ms)
            return Renewed(Refused(found), self._told_ms) if is_final(found) else None

        self.asked.append((self._clock.now, device))
        self._serve(device, serve, answer)

    def prove(self, device: str, shown: Certificate, answer: Callable[[Proven | None], None]) -> None:
        """A device says that a link has stood with `shown`, which must not have expired."""

        def serve() -> Proven | None:
            if not shown.taken or self.now.timestamp() >= shown.life.not_after_s:
                return None  # TLS, as above
            cause = self.certificates.prove(shown)
            return Proven(None if cause is None else Refused(cause), self._told_ms)

        self._serve(device, serve, answer)

    @property
    def _told_ms(self) -> int:
        """The `Date` of an answer, which has whole seconds."""
        return int(self.now.timestamp()) * 1000

    def _serve(self, device: str, serve: Callable[[], T | None], answer: Callable[[T | None], None]) -> None:
        """A request by HTTPS: it may not come, it may kill us, and its answer may be lost."""

        def arrive() -> None:
            fails = self._faults.happens(Fault.HTTP_FAILURE)
            comes = not fails or self._faults.stream(Fault.HTTP_FAILURE).random() < 0.5
            found: list[T | None] = []
            if comes and device not in self._broker.unreachable_for:
                self._attempt(lambda: found.append(serve()))
            said = found[0] if found and not fails else None
            wait_s = REQUEST_S if found and not fails else TIMEOUT_S
            self._clock.later(wait_s, lambda: answer(said))

        self._clock.later(REQUEST_S, arrive)

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
            self._trace("cloud", "KILLED")
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
        if self._faults.happens(Fault.CLOUD_KILL):
            if self._faults.stream(Fault.CLOUD_KILL).random() < 0.5:
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
        self._judge()
        self.certificates.sweep()
        for job, execution in list(self.db.executions.items()):
            if job in self.db.told and execution.status not in k.PENDING:
                continue
            after = k.expire(execution, self.now)
            if after is not execution:
                self._write(after)
            elif execution.status not in k.PENDING and job not in self.db.told:
                self._tell_ended(after)
        for document, facts in list(self.db.facts.items()):
            if not settled(facts):
                self.tell(document, d.Tick())

    # --- what devices keep for us ---

    def _keep_telemetry(self, device: str, payload: bytes) -> None:
        out = sort_out([(device, payload)], {device: MEMBER}, lambda key: self.db.marks.get(key, Watermark()))
        for refused in out.refused:
            self.db.refused[refused.reason] += 1
        for key, mark in out.marks.items():
            envelope = open_envelope(payload)
            new = self.plant.counts_anew or out.messages > 0
            found = device, (envelope.boot, envelope.lane, envelope.seq)
            at = out.points[0].at if out.points else envelope.at
            dated = [lambda: self.db.dates.__setitem__(found, at)]  # noqa: B023 one key a message
            self._store(device, envelope, key, mark, new, [*dated, self._counts(key, out.tallies[key])])

    def _keep_event(self, device: str, packet: Packet) -> None:
        try:
            envelope = open_envelope(packet.body)
        except ContractMalformedError:
            self.db.refused["not-an-envelope"] += 1
            return
        key = Stream(device, envelope.boot, envelope.lane)
        before = self.db.marks.get(key, Watermark())
        mark, verdict = self.plant.note(before, envelope.seq, envelope.kept_from)
        counted = tally(before, mark, verdict, envelope.seq, kept_from=envelope.kept_from)
        changes: list[Action] = [self._counts(key, counted)]
        follow: list[d.Effect] = []
        document = ""
        if verdict is Verdict.NEW and packet.topic == "evidence":
            evidence = read(envelope.body, Evidence)
            document = evidence.document
            follow = self._handle(document, d.EvidenceCame(evidence.outcome), changes)
        elif verdict is Verdict.NEW and packet.topic == "updates":
            news = read(envelope.body, UpdateNews)
            known = self.db.standings.get((device, news.update), BEGIN)
            changes.append(lambda: self.db.standings.__setitem__((device, news.update), take(known, news)))
        elif verdict is Verdict.NEW and packet.topic == "dropped":
            told = read(envelope.body, Dropped)
            check_dropped(told)
            changes.append(lambda: self.db.declared.setdefault(device, []).extend(told.ranges))
        elif verdict is Verdict.NEW and packet.topic == "floor":
            floor = read(envelope.body, FloorEvent)
            check_floor(floor)
            changes.append(lambda: self.db.floor.add(floor))
        elif verdict is Verdict.NEW:
            try:
                changes += self.captions.take_final(device, packet.ids, envelope)
            except MalformedError as error:
                self.db.refused["malformed"] += 1
                self._trace("cloud", f"refused a line of {device}: {error}")
        if self.plant.acknowledges_early:
            self._acknowledge(device, envelope, mark)
        self._store(device, envelope, key, mark, verdict is Verdict.NEW, changes)
        if document:
            self._follow(document, follow)

    def _counts(self, key: Stream, counted: Tally) -> Action:
        """The change that adds `counted` to the ledger."""
        return lambda: self.db.tallies.__setitem__(key, self.db.tallies.get(key, Tally()).plus(counted))

    def _store(
        self, device: str, envelope: Envelope, key: Stream, mark: Watermark, new: bool, changes: list[Action]
    ) -> None:
        changes.append(lambda: self.db.marks.__setitem__(key, mark))
        if new:
            found = device, (envelope.boot, envelope.lane, envelope.seq)
            changes.append(lambda: self.db.stored.__setitem__(found, self.db.stored.get(found, 0) + 1))
            changes.append(lambda: self.db.arrived.update([key]))
        self._commit(*changes)
        self._trace("cloud", f"{'stored' if new else 'saw again'} {device} {envelope.lane} {envelope.seq}")
        self._acknowledge(device, envelope, mark)

    def _acknowledge(self, device: str, envelope: Envelope, mark: Watermark) -> None:
        if mark.seq > 0:
            acked = o.Acked(envelope.boot, envelope.lane, mark.seq)
            self._broker.to_device(device, Packet("ack", {}, acked))

    def _believe(self, device: str, said: Presence) -> None:
        known = self.db.presence.get(device, w.Known())
        connection = said.connection if isinstance(said.connection, int) else 0
        event = self.plant.said(known, w.Said(said.online, said.boot, connection))
        now = w.handle(known, event, self.now, EARS, w.Limits())
        if now == known:
            return
        own = said.boot.startswith("boot-") and known.boot.startswith("boot-")  # and not a double's
        earlier = own and (said.boot, connection) < (known.boot, known.connection)
        if not said.online and earlier and now.ended_at != known.ended_at:
            self.db.misled.append(
                f"{device} was {known.boot} {known.connection}, {said.boot} {connection} ended"
            )
        self._commit(lambda: self.db.presence.__setitem__(device, now))
        self._trace("cloud", f"{device} is {now.state}, {now.boot}")
        if now.came_at != known.came_at:
            self._broker.to_device(device, Packet("jobs", {}, j.Notified()))
            self.twins.announce(device)

    def _judge(self) -> None:
        """A will holds, or does not."""
        for device, known in list(self.db.presence.items()):
            now = w.handle(known, w.TimePassed(), self.now, EARS, w.Limits())
            if now != known:
                self._commit(lambda d=device, n=now: self.db.presence.__setitem__(d, n))  # type: ignore[misc]  # mypy types no defaults of lambdas
                self._trace("cloud", f"{device} is {now.state}, {now.cause}")

    # --- jobs ---

    def _queue(self, job: str, device: str, document: dict[str, object]) -> None:
        if job in self.db.executions:
            return
        self._commit(*self._queued(job, device, document, TERMS))
        self._broker.to_device(device, Packet("jobs", {}, j.Notified()))

    def _queued(self, job: str, device: str, document: dict[str, object], terms: k.Terms) -> list[Action]:
        execution = k.queued(job, len(self.db.executions) + 1, terms, self.now)
        return [
            lambda: self.db.executions.__setitem__(job, execution),
            lambda: self.db.target.__setitem__(job, (device, document)),
        ]

    def _queue_sitting(self, job: str, device: str, document: dict[str, object]) -> list[Action]:
        return self._queued(job, device, document, SITTING_TERMS)

    def _waiting(self, device: str) -> list[str]:
        return [
            job
            for job, execution in self.db.executions.items()
            if self.db.target[job][0] == device and execution.status in k.PENDING
        ]

    def _canceled(self, job: str) -> list[Action]:
        canceled = k.cancel(self.db.executions[job], self.now, force=True)
        return [lambda: self.db.executions.__setitem__(job, canceled), lambda: self.db.told.add(job)]

    def _hand(self, device: str, token: str, execution: cj.Execution | None) -> None:
        """Answer the request for the next job, with the time."""
        ids = {"timestamp": str(int(self.now.timestamp()))}
        self._broker.to_device(device, Packet("jobs", ids, j.Handed(token, execution)))

    def _start_next(self, device: str, token: str) -> None:
        mine = [e for job, e in self.db.executions.items() if self.db.target[job][0] == device]
        execution = k.next_of(mine)
        if execution is None:
            self._hand(device, token, None)
            return
        begun = k.start(execution, cj.Request(client_token=token), self.now)
        assert isinstance(begun, k.Execution)
        self._commit(lambda: self.db.executions.__setitem__(begun.job, begun))
        self._hand(device, token, self._shape(device, begun))

    def _describe(self, device: str, job: str, request: cj.Request) -> None:
        """The world keeps the latest try only: an older one has ended."""
        execution = self.db.executions.get(job)
        shape = None
        if execution is not None and execution.number == request.execution_number:
            shape = self._shape(device, execution)
        self._broker.to_device(device, Packet("jobs", {}, j.Described(request.client_token, shape)))

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
        following = k.retry(after, len(self.db.executions) + 1, self.now)
        if following is not None:
            self._trace("cloud", f"{after.job} {after.status}: it is tried again")
        self._commit(lambda: self.db.executions.__setitem__(after.job, following or after))
        if after.status not in k.PENDING and following is None:
            self._tell_ended(after)
        device = self.db.target[after.job][0]
        self._broker.to_device(device, Packet("jobs", {}, j.Notified()))

    def _tell_ended(self, ended: k.Execution) -> None:
        if ended.job.startswith("print-"):
            how = d.PrintEnd.STARTED if ended.started_at else d.PrintEnd.NEVER_STARTED
            self.tell(ended.job.removeprefix("print-"), d.JobEnded(how))
        again = self.captions.unheard(ended.job) if ended.status is cj.Status.TIMED_OUT else []
        self._commit(lambda: self.db.told.add(ended.job), *again)
        if again:
            self._broker.to_device(self.db.target[ended.job][0], Packet("jobs", {}, j.Notified()))

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
            approximate_seconds_before_timed_out=k.seconds_left(execution, self.now),
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
        if self._faults.happens(Fault.PAYMENTS_FAILURE):
            believed = isinstance(work, d.Capture) and self.plant.captures(False)
            return d.PaymentCaptured() if believed else d.PaymentMissed(final=False)
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
