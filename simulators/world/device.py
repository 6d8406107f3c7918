"""One device: the real cores of link and jobs, and a thin driver that does their effects one by one.

Between any two effects the power may go; then memory is gone, and the disk is what is left. What is written
is synced in a step of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, assert_never

import msgspec

from contract.jobs import Execution, Request, Status
from contract.link import DroppedRange
from contract.messages import AT_MIN_MS, Lane, Presence, encode, seal
from edge_agent.documents import printing as p
from edge_agent.jobs import core as j
from edge_agent.jobs.server_time import ServerClock
from edge_agent.link import outbox as o
from edge_agent.link import reconnection as r
from edge_agent.link.dating import Stamp
from edge_agent.link.journal import Message as Read
from edge_agent.link.keeping import as_sent, stored_rows, undatable
from edge_agent.ports import Outcome, ServerTime
from simulators.world.broker import NOTICED_S, Broker, Connection, Packet, Reason
from simulators.world.clock import Action, Clock, Wall
from simulators.world.cloud_certificates import Certificate
from simulators.world.disk import Disk, FullError, Key, Message
from simulators.world.faults import Fault, Faults
from simulators.world.plants import Plant
from simulators.world.trace import Trace

OFF_MIN_S, OFF_MAX_S = 1.0, 60.0
RESTART_S = 2.0
FLOOR_MS = AT_MIN_MS
"""What every device knows to have passed."""
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
    `on_link` what they do when the link has come up or gone down, `on_refused` what when the broker has said
    no, `on_time` what when the server tells its time, `on_packet` what with a message of a topic.
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
    on_refused: list[Action] = field(default_factory=list)
    on_packet: dict[str, Callable[[Packet], None]] = field(default_factory=dict)
    shows: Callable[[], Certificate | None] | None = None
    """What the next connection shows; it gives None where there is nothing to be shown now. None here: the
    world has no certificates."""
    disk: Disk = field(default_factory=Disk)
    on: bool = False
    cuts: int = 0

    def __post_init__(self) -> None:
        self.life = 0
        self.boot = ""
        self.connections = 0
        self.resuming = False
        self.wall = Wall(self.clock, self.faults)
        self.dropped = 0
        """Of this life, counted by what was done and not by what the outbox says."""
        self.starts = 0
        self.taken_over = 0
        """Of all lives."""
        self.up_at = 0.0
        """When the link last came up."""
        self.refused_without_need = 0
        """Messages that must be kept, and were refused although the reserve was there."""
        self.deletions: dict[Key, bool] = {}
        """What a full disk did not delete, and whether it is dropped; it is deleted with the next write."""
        self.true_ms: dict[Key, int] = {}
        """When each sample was really taken."""
        self.answer_ms_max = 0
        """The longest way of an answer that told the time, with its request's."""
        self._pending: tuple[DroppedRange, ...] = ()
        self._dated = False
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
            self.lose_power()

    def lose_power(self, off_s: float | None = None) -> None:
        """The power goes, for `off_s` or a while by chance; nothing where it is away already."""
        if not self.on:
            return
        self.cuts += 1
        self.trace(self.name, "POWER CUT")
        if self._connection is not None:
            # What the socket had not sent went with the memory; what it had sent is on its way.
            all_lost = self.power.cut_after is not None or self.faults.rng.random() < 0.5
            self._connection.unsent = all_lost
            self.broker.cut(self._connection, device_knows=True)
        self._off()
        self.disk.power_lost(self.faults)
        away_s = self.faults.rng.uniform(OFF_MIN_S, OFF_MAX_S) if off_s is None else off_s
        self.clock.later(away_s, self.switch_on)

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
        self.starts += 1
        self.on = True
        self.dropped = 0
        self.deletions = {}
        self._armed = {}
        self._connection = None
        self.run(self._start)

    def _start(self) -> None:
        """A new boot id, on the disk before its first use; then the cores from the disk."""
        self.boot = self.plant.boot(f"boot-{len(self.disk.boots) + 1:04d}")
        self.effect("begin boot")
        self.disk.begin(self.boot)
        self.sync()
        self._stamp = Stamp(self.now)
        self._dated = self._date()
        kept = self.disk.kept(self.boot)
        wall_ms = self.wall.ms() if self._stamp.trusted else None
        rows = stored_rows(kept, self.now, wall_ms)
        self.outbox = o.Outbox(self.boot, rows, self.bounds, self.disk.pending, clock_trusted=self._dated)
        if not self.disk.make_reserve():
            self.outbox.handle(o.DiskFull(), self.now)
        self._pending = self.outbox.pending
        self.reconnection = r.Reconnection(self.plant.chance(self.faults.rng), self.now)
        entries = list(self.disk.entries.values())
        self._server_clock, self._asked_at = ServerClock(), self.clock.now
        self.jobs = j.Jobs(f"{self.boot}-{self.life}", frozenset(self.operations), entries, UNSTOPPABLE)
        self._arm_reconnection()
        for row in kept:
            if undatable(row):
                self.tell_outbox(o.Undatable(row.boot, row.lane, row.seq))
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
        self._look_at_the_clock()
        at = self.plant.moment(self.stamp_ms(), self.wall.ms())
        message = Message(topic, ids, encode(body), must, at, int(self.clock.now * 1000))
        key = None
        event = o.Recorded(lane, must, len(message.body))
        for effect in self.plant.outbox(self.outbox.handle(event, self.now)):
            found = self._do_outbox(effect, message)
            key = found or key
        self._arm_link()
        return key

    def stamp_ms(self) -> int:
        """`Link.stamp`: the moment for a sample."""
        return self._stamp.now(self.wall.ms(), FLOOR_MS, self.now)

    def tell_outbox(self, event: o.Event) -> None:
        """Give the outbox an event and do what follows."""
        self._look_at_the_clock()
        for effect in self.plant.outbox(self.outbox.handle(event, self.now)):
            self._do_outbox(effect, None)
        self._arm_link()

    def _look_at_the_clock(self) -> None:
        """Once it is trusted, it is written down when this boot began; only then may its samples go."""
        if self._dated or not self._date():
            return
        self._dated = True
        self.tell_outbox(o.ClockTrusted())

    def _date(self) -> bool:
        self._stamp.look(self.wall.ms(), FLOOR_MS, self.now)
        if self._stamp.origin is None:
            return False
        try:
            self.disk.put(self.disk.origins, self.boot, self._stamp.origin)
        except FullError:
            return False
        self.sync()
        return True

    def _do_outbox(self, effect: o.Effect, message: Message | None) -> Key | None:
        """The key of what was appended."""
        self.effect(effect)
        match effect:
            case o.Append(lane, seq, must):
                assert message is not None
                return self._append((self.boot, lane, seq), message, must)
            case o.Declare(seq, body, ranges, pending):
                self._declare((self.boot, Lane.EVENTS, seq), body, ranges, pending)
            case o.Forget(boot, lane, seq):
                self.deletions |= dict.fromkeys(self.disk.upto(boot, lane, seq), False) | self.deletions
                self._written(None, None, must=True)
            case o.Drop(boot, lane, seq, pending):
                self.dropped += 1
                self.disk.dropped.add((boot, lane, seq))
                self.deletions[boot, lane, seq] = True
                self._pending = self.plant.pending(pending)
                self._written(None, None, must=True)
            case o.Skip(pending):
                self.dropped += 1
                self._pending = self.plant.pending(pending)
                self._written(None, None, must=True)
            case o.Publish(boot, lane, seq):
                self._publish_kept(effect, self.disk.messages.get((boot, lane, seq)) or message)
            case o.Refuse():
                pass
            case o.MakeReserve():
                if self.plant.makes_reserve and self.disk.make_reserve():
                    self.tell_outbox(o.ReserveMade())
            case o.HangUp():
                self._hang_up()
            case _:
                assert_never(effect)
        return None

    def _written(self, key: Key | None, message: Message | None, *, must: bool) -> bool:
        """Whether the disk took it, and what it did not delete before; the reserve is for what must be."""
        try:
            self.disk.write(key, message, self.deletions, self._pending)
        except FullError:
            self.outbox.handle(o.DiskFull(), self.now)
            if not must or not self.plant.uses_reserve or not self.disk.release():
                return False
            self.effect("release the reserve")
            return self._written(key, message, must=must)
        self.deletions = {}
        self.sync()
        return True

    def _append(self, key: Key, message: Message, must: bool) -> Key | None:
        had = self.disk.reserve
        if self._written(key, message, must=must):
            self.true_ms[key] = message.true_ms
            if must:
                self.disk.promised.add(key)
            return key
        if self.plant.believes_full_disk:
            self.disk.promised.add(key)
            return key
        self.outbox.handle(o.Unwritten(key[1], key[2]), self.now)
        self.dropped += not must
        self.refused_without_need += must and had
        return None

    def _declare(
        self, key: Key, body: bytes, ranges: tuple[DroppedRange, ...], pending: tuple[DroppedRange, ...]
    ) -> None:
        before, self._pending = self._pending, self.plant.pending(pending)
        at = self.plant.moment(self.stamp_ms(), self.wall.ms())
        message = Message("dropped", {}, body, must=True, at=at, true_ms=int(self.clock.now * 1000))
        if self._written(key, message, must=True):
            self.disk.promised.add(key)
        else:
            self._pending = before
            self.outbox.handle(o.Undeclared(key[2], ranges), self.now)

    def _hang_up(self) -> None:
        """Nobody answers on this connection."""
        if not self.plant.gives_up:
            self.outbox.handle(o.Connected(), self.now)
        elif self._connection is not None:
            self.broker.hang_up(self._connection)
            self._down("unavailable")

    def _publish_kept(self, effect: o.Publish, message: Message | None) -> None:
        if message is None or not (self.plant.blind or self._is_kept(effect)):
            return
        at, body = as_sent(
            Read(
                effect.boot,
                effect.lane,
                effect.seq,
                message.must,
                message.at,
                message.topic,
                message.body,
                self.disk.origins.get(effect.boot),
            ),
            self.plant.stamp(self.wall.ms()),
        )
        payload = seal(
            body,
            boot=effect.boot,
            lane=effect.lane,
            seq=effect.seq,
            at=at,
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
        return Presence(
            boot=self.boot, at=at, online=online, kind="device", agent="1", connection=self.connections
        )

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
        self.connections += 1

        def mine(action: Action) -> None:
            if life == self.life and self._connection is connection:
                self.run(action)

        if self._connection is not None:
            self.broker.hang_up(self._connection)
        shown = self.shows() if self.shows is not None else None
        connection = self.broker.connection(
            self.name,
            Packet("presence", {}, self._presence(online=False)),
            receive=lambda packet: mine(lambda: self._receive(packet)),
            down=lambda reason: mine(lambda: self._down(reason)),
            taken=lambda packet: mine(lambda: self._taken(packet)),
            unheard=lambda packet: mine(lambda: self._unheard(packet)),
            shown=shown,
        )
        self._connection = connection
        if shown is None and self.shows is not None:
            self.clock.later(NOTICED_S, lambda: connection.down("unavailable"))
        else:
            self.broker.dial(connection, lambda: mine(self._up))

    def redial(self) -> None:
        """`Link.redial`: connect anew at once; nothing more is heard of the connection before."""
        was_up = self.reconnection.state == "up"
        self.tell_reconnection(r.Asked())
        self.tell_outbox(o.Disconnected())
        self.tell_jobs(j.Disconnected())
        if was_up:
            for told in self.on_link:
                told(False)

    def _up(self) -> None:
        self.tell_reconnection(r.Established())
        if self.reconnection.state == "up":
            self.up_at = self.clock.now
            self.publish_presence(online=True)
            self.tell_jobs(j.Connected())
            self.tell_outbox(o.Connected())
            for told in self.on_link:
                told(True)

    def _down(self, reason: Reason) -> None:
        self._connection = None
        if reason == "taken-over":
            self.taken_over += 1
        if self.plant.notices_loss:
            self.tell_reconnection(r.Lost(self.plant.reason(reason)))
        self.tell_outbox(o.Disconnected())
        self.tell_jobs(j.Disconnected())
        for told in self.on_link:
            told(False)
        if reason == "refused":
            for turned_away in self.on_refused:
                turned_away()

    def _receive(self, packet: Packet) -> None:
        match packet.topic:
            case "ack":
                self.tell_outbox(packet.body)
            case "jobs":
                if isinstance(packet.body, j.Handed):
                    self._hear_time(packet.body.token, int(packet.ids["timestamp"]))
                self.tell_jobs(packet.body)
            case topic if topic in self.on_packet:
                self.on_packet[topic](packet)

    def _hear_time(self, token: str, timestamp_s: int) -> None:
        now = self._server_clock.answered(token, timestamp_s, self.clock.now)
        if now is not None:
            self.answer_ms_max = max(self.answer_ms_max, int((self.clock.now - self._asked_at) * 1000) + 1)
            for hear in self.on_time:
                hear(now)

    def _taken(self, packet: Packet) -> None:
        """PUBACK: the broker has it, which proves nothing."""
        if self.plant.trusts_broker and "kept" in packet.ids:
            self.tell_outbox(o.Acked(*_kept(packet)))

    def _unheard(self, packet: Packet) -> None:
        """PUBACK 0x10: the broker had it, and nobody else ever will."""
        if "kept" in packet.ids:
            share = self.faults.stream(Fault.BROKER_KILL).uniform(0.0, 1.0)
            self.tell_outbox(o.Unheard(*_kept(packet), share))

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
                self._asked_at = self.clock.now
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


def _kept(packet: Packet) -> Key:
    """Which message of the outbox a packet carries."""
    boot, lane, seq = packet.ids["kept"].split(":")
    return boot, Lane(lane), int(seq)


def restart_agent(device: Device, job: Execution) -> None:
    """The operation `restart-agent`."""
    if device.resuming:
        device.later(0.0, lambda: device.ended(job, Outcome(Status.SUCCEEDED)))
    else:
        device.later(0.0, device.restart)
