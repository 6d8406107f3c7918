"""One device: the real cores of link and jobs, and a thin driver that does their effects one by one.

Between any two effects the power may go; then memory is gone and the disk is what is left.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, assert_never

from contract.jobs import Execution, Status
from contract.messages import Lane
from edge_agent.documents import printing as p
from edge_agent.jobs import core as j
from edge_agent.link import outbox as o
from edge_agent.link import reconnection as r
from edge_agent.ports import Outcome
from simulators.world.broker import Broker, Connection, Packet
from simulators.world.clock import Action, Clock
from simulators.world.disk import Disk, FullError, Key, Message
from simulators.world.faults import Faults
from simulators.world.plants import Plant

OFF_MIN_S, OFF_MAX_S = 1.0, 60.0
RESTART_S = 2.0
BODY_BYTES = 100

Perform = Callable[["Device", Execution], None]
"""Does an operation of a job; its end is `Device.ended`."""


class PowerCutError(Exception):
    """The power went in the middle of it."""


@dataclass
class Power:
    """Counts the effects of all devices; goes at `cut_after`, or by chance."""

    faults: Faults
    cut_after: int | None = None
    effects: int = 0

    def effect(self, chance: float) -> None:
        """Something is about to be done; `chance` is that of a cut just now."""
        cut = self.effects == self.cut_after or self.faults.happens(chance)
        self.effects += 1
        if cut:
            raise PowerCutError


@dataclass(frozen=True)
class Envelope:
    """A kept message under way."""

    boot: str
    lane: Lane
    seq: int
    kept_from: int
    topic: str
    ids: dict[str, str]
    body: Any


@dataclass
class Device:
    """`operations` are what its jobs can ask; `trace` takes a line for each effect, if anybody listens."""

    name: str
    clock: Clock
    faults: Faults
    broker: Broker
    power: Power
    bounds: o.Bounds
    plant: Plant
    operations: dict[str, Perform]
    trace: Callable[[str], None] | None = None
    disk: Disk = field(default_factory=Disk)
    on: bool = False
    cuts: int = 0

    def __post_init__(self) -> None:
        self.life = 0
        self.boot = ""
        self.resuming = False
        self._armed: dict[str, float] = {}
        self._connection: Connection | None = None

    # --- power ---

    def switch_on(self) -> None:
        """Start the agent: a new boot id, on the disk before its first use; then the cores from the disk."""
        self.life += 1
        self.on = True
        self._armed = {}
        self._connection = None
        self.disk.deletions.clear()
        self.run(self._start)

    def restart(self) -> None:
        """End the agent in order; the service manager starts it again."""
        self._off()
        self.clock.later(RESTART_S, self.switch_on)

    def run(self, action: Action) -> None:
        """Do something on this device, unless it is off; a power cut ends everything that it does."""
        if not self.on:
            return
        try:
            action()
        except PowerCutError:
            self.cuts += 1
            self._note("POWER CUT")
            self._off()
            self.clock.later(self.faults.rng.uniform(OFF_MIN_S, OFF_MAX_S), self.switch_on)

    def later(self, delay_s: float, action: Action) -> None:
        """Do `action` in a while, if the agent still lives then."""
        life = self.life

        def due() -> None:
            if life == self.life:
                self.run(action)

        self.clock.later(delay_s, due)

    def effect(self, effect: object) -> None:
        """Called before each effect: here the power may go."""
        mix = self.faults.mix
        self.power.effect(mix.power_cut_printing if isinstance(effect, p.Effect) else mix.power_cut)
        self._note(effect)

    def _off(self) -> None:
        self.on = False
        self.life += 1
        if self._connection is not None:
            # What the socket had not sent went with the memory; what it had sent is on its way.
            self._connection.buffer_lost = self.power.cut_after is not None or self.faults.rng.random() < 0.5
            self.broker.cut(self._connection)
            self._connection.alive = False

    def _start(self) -> None:
        self.boot = self.plant.boot(f"boot-{len(self.disk.boots) + 1:04d}")
        self.effect("begin boot")
        if self.boot not in self.disk.boots:
            self.disk.boots.append(self.boot)
        kept = [row for row in self.disk.stored() if row.boot != self.boot]
        self.outbox = o.Outbox(self.boot, kept, self.bounds)
        self.reconnection = r.Reconnection(self.faults.rng, self.clock.now)
        entries = list(self.disk.entries.values())
        self.jobs = j.Jobs(f"{self.boot}-{self.life}", frozenset(self.operations), entries)
        self._arm("reconnection", self.reconnection.deadline())
        self.tell_jobs(j.TimePassed())

    # --- link ---

    def send(self, topic: str, ids: dict[str, str], body: Any, *, lane: Lane, must: bool) -> bool:
        """`Link.send`: whether it is on the disk, or was dropped as it may be; False when it was refused."""
        message = Message(topic, ids, body, must, self.clock.now)
        taken = True
        for effect in self.plant.outbox(
            self.outbox.handle(o.Recorded(lane, must, BODY_BYTES), self.clock.now)
        ):
            taken &= self._do_outbox(effect, message)
        self._arm_link()
        return taken

    def tell_outbox(self, event: o.Event) -> None:
        """Give the outbox an event and do what follows."""
        for effect in self.plant.outbox(self.outbox.handle(event, self.clock.now)):
            self._do_outbox(effect, None)
        self._arm_link()

    def _do_outbox(self, effect: o.Effect, message: Message | None) -> bool:
        self.effect(effect)
        match effect:
            case o.Append(lane, seq, must):
                assert message is not None
                return self._append((self.boot, lane, seq), message, must)
            case o.Forget(boot, lane, seq):
                self.disk.forget(boot, lane, seq)
            case o.Drop(boot, lane, seq):
                self.disk.drop((boot, lane, seq))
            case o.Publish(boot, lane, seq):
                self._publish_kept(effect, self.disk.messages.get((boot, lane, seq)) or message)
            case o.Refuse():
                return False
            case o.Skip():
                return True
            case _:
                assert_never(effect)
        return True

    def _append(self, key: Key, message: Message, must: bool) -> bool:
        try:
            self.disk.append(key, message)
        except FullError:
            self.outbox.handle(o.Unwritten(key[1], key[2]), self.clock.now)
            return not must
        if must:
            self.disk.promised.add(key)
        return True

    def _publish_kept(self, effect: o.Publish, message: Message | None) -> None:
        if message is not None and (self.plant.blind or self._is_kept(effect)):
            kept_from = self.plant.kept_from(effect.kept_from)
            found = Envelope(
                effect.boot, effect.lane, effect.seq, kept_from, message.topic, message.ids, message.body
            )
            self.publish("kept", {}, found)

    def _is_kept(self, effect: o.Publish) -> bool:
        return (effect.boot, effect.lane, effect.seq) in self.disk.messages

    def publish(self, topic: str, ids: dict[str, str], body: Any) -> None:
        """Publish now and keep nothing."""
        if self._connection is not None and self.reconnection.state == "up":
            self.broker.from_device(self._connection, Packet(topic, ids, body))

    def tell_reconnection(self, event: r.Event) -> None:
        """Give the reconnection an event and do what follows."""
        for effect in self.reconnection.handle(event, self.clock.now):
            self.effect(effect)
            match effect:
                case r.Dial():
                    self._dial()
                case r.HangUp():
                    if self._connection is not None:
                        self.broker.cut(self._connection)
                        self._connection = None
                case _:
                    assert_never(effect)
        self._arm("reconnection", self.reconnection.deadline())

    def _dial(self) -> None:
        life = self.life

        def mine(action: Action) -> Action:
            def act() -> None:
                if life == self.life and self._connection is connection:
                    self.run(action)

            return act

        connection = Connection(
            device=self.name,
            receive=lambda packet: mine(lambda: self._receive(packet))(),
            down=mine(self._down),
            taken=lambda packet: mine(lambda: self._taken(packet))(),
        )
        self._connection = connection
        self.broker.dial(connection, mine(self._up))

    def _up(self) -> None:
        self.tell_reconnection(r.Established())
        if self.reconnection.state == "up":
            self.tell_jobs(j.Connected())
            self.tell_outbox(o.Connected())

    def _down(self) -> None:
        self._connection = None
        self.tell_reconnection(r.Lost("unavailable"))
        self.tell_outbox(o.Disconnected())
        self.tell_jobs(j.Disconnected())

    def _receive(self, packet: Packet) -> None:
        match packet.topic:
            case "ack":
                self.tell_outbox(packet.body)
            case "jobs":
                self.tell_jobs(packet.body)

    def _taken(self, packet: Packet) -> None:
        """PUBACK: the broker has it, which proves nothing."""
        if self.plant.trusts_broker and isinstance(packet.body, Envelope):
            kept = packet.body
            self.tell_outbox(o.Acked(kept.boot, kept.lane, kept.seq))

    def _arm_link(self) -> None:
        self._arm("outbox", self.outbox.deadline())

    # --- jobs ---

    def tell_jobs(self, event: j.Event) -> None:
        """Give the jobs an event and do what follows."""
        for effect in self.jobs.handle(event, self.clock.now):
            self.effect(effect)
            try:
                self._do_jobs(effect)
            except FullError:
                if isinstance(effect, j.Begin):
                    self.later(0.0, lambda e=effect: self.tell_jobs(j.NotBegun(j.key(e.execution))))  # type: ignore[misc]  # mypy types no defaults of lambdas
                    break
        self._arm("jobs", self.jobs.deadline())

    def ended(self, job: Execution, outcome: Outcome) -> None:
        """An operation has come to its end."""
        self.tell_jobs(j.Ended(j.key(job), outcome))

    def _do_jobs(self, effect: j.Effect) -> None:
        match effect:
            case j.Ask(token):
                self.publish("start-next", {}, token)
            case j.Begin(execution):
                self.disk.room()
                self.disk.entries[j.key(execution)] = j.Entry(execution, 1, None, settled=False)
            case j.Attempt(which, attempts):
                self.disk.change(which, attempts=attempts)
            case j.Perform(execution) | j.Resume(execution):
                self.resuming = isinstance(effect, j.Resume)
                operation = self.operations[(execution.job_document or {})["operation"]]
                operation(self, execution)
            case j.GiveUp():
                pass  # no operation of this world hangs
            case j.Conclude(which, outcome):
                self.disk.change(which, outcome=outcome)
            case j.Report(job, update):
                self.publish("update", {"job": job}, update)
            case j.Settle(which):
                self.disk.change(which, settled=True)
            case _:
                assert_never(effect)

    # --- time ---

    def _arm(self, name: str, deadline: float | None) -> None:
        if deadline is None or self._armed.get(name) == deadline:
            return
        self._armed[name] = deadline

        def due() -> None:
            if self._armed.get(name) != deadline:
                return
            del self._armed[name]
            self._tick(name)

        self.later(max(0.0, deadline - self.clock.now), due)

    def _tick(self, name: str) -> None:
        match name:
            case "outbox":
                self.tell_outbox(o.TimePassed())
            case "reconnection":
                self.tell_reconnection(r.TimePassed())
            case "jobs":
                self.tell_jobs(j.TimePassed())

    def _note(self, what: object) -> None:
        if self.trace is not None:
            self.trace(f"{self.clock.now:9.3f} {self.name} {what}")


def restart_agent(device: Device, job: Execution) -> None:
    """The operation `restart-agent`."""
    if device.resuming:
        device.later(0.0, lambda: device.ended(job, Outcome(Status.SUCCEEDED)))
    else:
        device.later(0.0, device.restart)
