"""One device: the real cores of link and jobs, and a thin driver that does their effects one by one.

Between any two effects the power may go; then memory is gone, and the disk is what is left. What is written
is synced in a step of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, assert_never

import msgspec

from contract.jobs import Execution, Request, Status
from contract.messages import Lane, Presence, encode, seal
from edge_agent.documents import printing as p
from edge_agent.jobs import core as j
from edge_agent.jobs.server_time import ServerClock
from edge_agent.link import outbox as o
from edge_agent.link import reconnection as r
from edge_agent.ports import Outcome, ServerTime
from simulators.world.broker import Broker, Connection, Packet
from simulators.world.clock import Action, Clock, Wall
from simulators.world.disk import Disk, FullError, Key, Message
from simulators.world.faults import Fault, Faults
from simulators.world.plants import Plant
from simulators.world.trace import Trace

OFF_MIN_S, OFF_MAX_S = 1.0, 60.0
RESTART_S = 2.0
SYNC = "sync"
UNSTOPPABLE = frozenset({"print-document", "restart-agent"})

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

    def effect(self, *, at_work: bool) -> None:
        """Something is about to be done."""
        cut = self.effects == self.cut_after or self.faults.happens(Fault.POWER_CUT)
        cut |= at_work and self.faults.happens(Fault.POWER_CUT_AT_WORK)
        self.effects += 1
        if cut:
            raise PowerCutError


@dataclass
class Device:
    """`operations` are what its jobs can ask; `on_start` is what its ways do at each start of the agent,
    `on_link` what they do when the link has come up or gone down, `on_time` what when the
    server tells its time.
    """

    name: str
    clock: Clock
    faults: Faults
    broker: Broker
    power: Power
    bounds: o.Bounds
    plant: Plant
    trace: Trace
    operations: dict[str, Perform] = field(default_factory=dict)
    on_start: list[Action] = field(default_factory=list)
    on_link: list[Callable[[bool], None]] = field(default_factory=list)
    on_time: list[Callable[[ServerTime], None]] = field(default_factory=list)
    disk: Disk = field(default_factory=Disk)
    on: bool = False
    cuts: int = 0

    def __post_init__(self) -> None:
        self.life = 0
        self.boot = ""
        self.resuming = False
        self.wall = Wall(self.clock, self.faults)
        self.dropped = 0
        """Of this life, counted by what was done and not by what the outbox says."""
        self.overruled: set[j.Key] = set()
        self._armed: dict[str, float] = {}
        self._connection: Connection | None = None

    @property
    def now(self) -> float:
        """What the cores are told: seconds of a clock that never jumps."""
        return self.plant.now(self.clock.now, self.wall.ms())

    # --- power ---

    def switch_on(self) -> None:
        """Power comes, and the agent starts."""
        self.wall.power_on()
        self._start_agent()

    def restart(self) -> None:
        """End the agent in order; the service manager starts it again."""
        self.publish_presence(online=False)
        if self._connection is not None:
            self.broker.hang_up(self._connection)
        self._off()
        self.clock.later(RESTART_S, self._start_agent)

    def run(self, action: Action) -> None:
        """Do something on this device, unless it is off; a power cut ends everything that it does."""
        if not self.on:
            return
        try:
            action()
        except PowerCutError:
            self.cuts += 1
            self.trace(self.name, "POWER CUT")
            if self._connection is not None:
                # What the socket had not sent went with the memory; what it had sent is on its way.
                all_lost = self.power.cut_after is not None or self.faults.rng.random() < 0.5
                self._connection.unsent = all_lost
                self.broker.cut(self._connection, device_knows=True)
            self._off()
            self.disk.power_lost(self.faults)
            self.clock.later(self.faults.rng.uniform(OFF_MIN_S, OFF_MAX_S), self.switch_on)

    def later(self, delay_s: float, action: Action) -> None:
        """Do `action` in a while, if the agent still lives then."""
        life = self.life

        def due() -> None:
            if life == self.life:
                self.run(action)

        self.clock.later(delay_s, due)

    def effect(self, effect: object, *, at_work: bool = False) -> None:
        """Called before each effect: here the power may go."""
        self.power.effect(at_work=at_work or isinstance(effect, p.Effect))
        self.trace(self.name, effect)

    def sync(self, *, at_work: bool = False) -> None:
        """Make what was written stay."""
        if self.plant.syncs:
            self.effect(SYNC, at_work=at_work)
            self.disk.sync()

    def _off(self) -> None:
        self.on = False
        self.life += 1
        self._connection = None

    def _start_agent(self) -> None:
        self.life += 1
        self.on = True
        self.dropped = 0
        self._armed = {}
        self._connection = None
        self.run(self._start)

    def _start(self) -> None:
        """A new boot id, on the disk before its first use; then the cores from the disk."""
        self.boot = self.plant.boot(f"boot-{len(self.disk.boots) + 1:04d}")
        self.effect("begin boot")
        self.disk.begin(self.boot)
        self.sync()
        kept = [row for row in self.disk.stored(self.now, self.wall.ms()) if row.boot != self.boot]
        self.outbox = o.Outbox(self.boot, kept, self.bounds)
        self.reconnection = r.Reconnection(self.faults.rng, self.now)
        entries = list(self.disk.entries.values())
        self._server_clock = ServerClock()
        self.jobs = j.Jobs(f"{self.boot}-{self.life}", frozenset(self.operations), entries, UNSTOPPABLE)
        self._arm_reconnection()
        for start in self.on_start:
            start()
        self.tell_jobs(j.TimePassed())

    # --- link ---

    def send(
        self, topic: str, ids: dict[str, str], body: msgspec.Struct, *, lane: Lane, must: bool
    ) -> Key | None:
        """`Link.send`: under which key it is on the disk.

        None when it was refused, or dropped as it may be. Raises nothing of its own.
        """
        if not self.plant.keeps(connected=self.reconnection.state == "up"):
            self.disk.promised.add((self.boot, lane, -1))
            return None
        message = Message(topic, ids, encode(body), must, self.plant.stamp(self.wall.ms()))
        key = None
        event = o.Recorded(lane, must, len(message.body))
        for effect in self.plant.outbox(self.outbox.handle(event, self.now)):
            found = self._do_outbox(effect, message)
            key = found or key
        self._arm_link()
        return key

    def tell_outbox(self, event: o.Event) -> None:
        """Give the outbox an event and do what follows."""
        for effect in self.plant.outbox(self.outbox.handle(event, self.now)):
            self._do_outbox(effect, None)
        self._arm_link()

    def _do_outbox(self, effect: o.Effect, message: Message | None) -> Key | None:
        """The key of what was appended."""
        self.effect(effect)
        match effect:
            case o.Append(lane, seq, must):
                assert message is not None
                return self._append((self.boot, lane, seq), message, must)
            case o.Forget(boot, lane, seq):
                self.disk.forget(boot, lane, seq)
                self.sync()
            case o.Drop(boot, lane, seq):
                self.dropped += 1
                self.disk.drop((boot, lane, seq))
                self.sync()
            case o.Publish(boot, lane, seq):
                self._publish_kept(effect, self.disk.messages.get((boot, lane, seq)) or message)
            case o.Refuse():
                pass
            case o.Skip():
                self.dropped += 1
            case _:
                assert_never(effect)
        return None

    def _append(self, key: Key, message: Message, must: bool) -> Key | None:
        try:
            self.disk.append(key, message)
        except FullError:
            if self.plant.believes_full_disk:
                self.disk.promised.add(key)
                return key
            self.outbox.handle(o.Unwritten(key[1], key[2]), self.now)
            self.dropped += not must
            return None
        self.sync()
        if must:
            self.disk.promised.add(key)
        return key

    def _publish_kept(self, effect: o.Publish, message: Message | None) -> None:
        if message is None or not (self.plant.blind or self._is_kept(effect)):
            return
        payload = seal(
            message.body,
            boot=effect.boot,
            lane=effect.lane,
            seq=effect.seq,
            at=message.at,
            sent=self.plant.stamp(self.wall.ms()),
            historical=effect.historical,
            kept_from=self.plant.kept_from(effect.kept_from),
        )
        kept = f"{effect.boot}:{effect.lane}:{effect.seq}"
        self.publish(message.topic, message.ids | {"kept": kept}, payload)

    def _is_kept(self, effect: o.Publish) -> bool:
        return (effect.boot, effect.lane, effect.seq) in self.disk.messages

    def publish(self, topic: str, ids: dict[str, str], body: Any) -> None:
        """Publish now and keep nothing."""
        if self._connection is not None and self.reconnection.state == "up":
            self.broker.from_device(self._connection, Packet(topic, ids, body))

    def publish_presence(self, *, online: bool) -> None:
        """Say that this boot is there, or goes."""
        self.publish("presence", {}, self._presence(online=online))

    def _presence(self, *, online: bool) -> Presence:
        at = self.plant.stamp(self.wall.ms())
        return Presence(boot=self.boot, at=at, online=online, kind="device", agent="1")

    def tell_reconnection(self, event: r.Event) -> None:
        """Give the reconnection an event and do what follows."""
        for effect in self.reconnection.handle(event, self.now):
            self.effect(effect)
            match effect:
                case r.Dial():
                    self._dial()
                case r.HangUp():
                    if self._connection is not None:
                        self.broker.hang_up(self._connection)
                        self._connection = None
                case _:
                    assert_never(effect)
        self._arm_reconnection()

    def _dial(self) -> None:
        life = self.life

        def mine(action: Action) -> None:
            if life == self.life and self._connection is connection:
                self.run(action)

        connection = self.broker.connection(
            self.name,
            Packet("presence", {}, self._presence(online=False)),
            receive=lambda packet: mine(lambda: self._receive(packet)),
            down=lambda: mine(self._down),
            taken=lambda packet: mine(lambda: self._taken(packet)),
        )
        self._connection = connection
        self.broker.dial(connection, lambda: mine(self._up))

    def _up(self) -> None:
        self.tell_reconnection(r.Established())
        if self.reconnection.state == "up":
            self.publish_presence(online=True)
            self.tell_jobs(j.Connected())
            self.tell_outbox(o.Connected())
            for told in self.on_link:
                told(True)

    def _down(self) -> None:
        self._connection = None
        if self.plant.notices_loss:
            self.tell_reconnection(r.Lost("unavailable"))
        self.tell_outbox(o.Disconnected())
        self.tell_jobs(j.Disconnected())
        for told in self.on_link:
            told(False)

    def _receive(self, packet: Packet) -> None:
        match packet.topic:
            case "ack":
                self.tell_outbox(packet.body)
            case "jobs":
                if isinstance(packet.body, j.Handed):
                    self._hear_time(packet.body.token, int(packet.ids["timestamp"]))
                self.tell_jobs(packet.body)

    def _hear_time(self, token: str, timestamp_s: int) -> None:
        now = self._server_clock.answered(token, timestamp_s, self.clock.now)
        if now is not None:
            for hear in self.on_time:
                hear(now)

    def _taken(self, packet: Packet) -> None:
        """PUBACK: the broker has it, which proves nothing."""
        if self.plant.trusts_broker and "kept" in packet.ids:
            boot, lane, seq = packet.ids["kept"].split(":")
            self.tell_outbox(o.Acked(boot, Lane(lane), int(seq)))

    def _arm_link(self) -> None:
        if self.plant.impatient and self.outbox.rows:
            self.arm("nagging", self.now + 1.0, lambda: self.tell_outbox(o.Connected()))
        at = self.plant.resend_at(self.outbox.deadline())
        self.arm("outbox", at, lambda: self.tell_outbox(o.TimePassed()))

    def _arm_reconnection(self) -> None:
        at = self.reconnection.deadline()
        self.arm("reconnection", at, lambda: self.tell_reconnection(r.TimePassed()))

    # --- jobs ---

    def tell_jobs(self, event: j.Event) -> None:
        """Give the jobs an event and do what follows."""
        for effect in self.jobs.handle(event, self.now):
            self.effect(effect)
            try:
                self._do_jobs(effect)
            except FullError:
                if isinstance(effect, j.Begin):
                    self.later(0.0, lambda e=effect: self.tell_jobs(j.NotBegun(j.key(e.execution))))  # type: ignore[misc]  # mypy types no defaults of lambdas
                    break
        self.arm("jobs", self.jobs.deadline(), lambda: self.tell_jobs(j.TimePassed()))

    def ended(self, job: Execution, outcome: Outcome) -> None:
        """An operation has come to its end."""
        self.tell_jobs(j.Ended(j.key(job), outcome))

    def _do_jobs(self, effect: j.Effect) -> None:
        match effect:
            case j.Ask(token):
                self._server_clock.ask(token, self.clock.now)
                self.publish("start-next", {}, token)
            case j.Look((job, number), token):
                look = Request(client_token=token, execution_number=number, include_job_document=False)
                self.publish("describe", {"job": job}, look)
            case j.Begin(execution):
                self.disk.put(self.disk.entries, j.key(execution), j.Entry(execution, 1, None, settled=False))
                self.sync()
            case j.Attempt(which, attempts):
                self.disk.change(which, attempts=attempts)
                self.sync()
            case j.Perform(execution) | j.Resume(execution):
                self.resuming = isinstance(effect, j.Resume)
                operation = self.operations[(execution.job_document or {})["operation"]]
                operation(self, execution)
            case j.GiveUp():
                pass  # no operation of this world hangs, but by a plant
            case j.Conclude(which, outcome):
                self.disk.change(which, outcome=outcome, settled=False)
                self.sync()
            case j.Report(job, update):
                self.publish("update", {"job": job}, update)
            case j.Settle(which, overruled):
                if overruled:
                    self.overruled.add(which)
                self.disk.change(which, settled=True)
                self.sync()
            case _:
                assert_never(effect)

    def arm(self, name: str, deadline: float | None, tick: Action) -> None:
        """Call `tick` at `deadline`, unless `name` is armed anew before."""
        if deadline is None or self._armed.get(name) == deadline:
            return
        self._armed[name] = deadline

        def due() -> None:
            if self._armed.get(name) == deadline:
                del self._armed[name]
                tick()

        self.later(max(0.0, deadline - self.now), due)


def restart_agent(device: Device, job: Execution) -> None:
    """The operation `restart-agent`."""
    if device.resuming:
        device.later(0.0, lambda: device.ended(job, Outcome(Status.SUCCEEDED)))
    else:
        device.later(0.0, device.restart)
