"""What certificates add to a device: the real cores of their renewal and of its clock, over two slots.

Each write is one step with a sync, as `edge_agent.link.identity` and `edge_agent.enrolment.attempt` do it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, assert_never

import msgspec

from contract.messages import AT_MIN_MS
from edge_agent.enrolment import renewal as r
from edge_agent.link.clock import DeviceClock
from edge_agent.link.identity import FIRST, Pointer
from simulators.world.cloud_certificates import Certificate
from simulators.world.device import Device
from simulators.world.disk import FullError

A = TypeVar("A")

LIMITS = r.Limits(
    renew_at_share=2 / 3,
    renew_jitter_share=0.05,
    spread_s=20,
    trial_s=30,
    retry_s=20,
    retry_max_s=120,
    refused_s=120,
    token_look_s=60,
)
"""Those of the settings, for certificates that live for minutes."""


@dataclass(frozen=True)
class Refused:
    """The control plane has said no, and asking again changes little."""

    sentence: str


@dataclass(frozen=True)
class Proven:
    """What the control plane says to a proof, and what its clock says."""

    refused: Refused | None
    server_ms: int


@dataclass(frozen=True)
class Renewed:
    """What it says to a request, and what its clock says."""

    found: Certificate | Refused
    server_ms: int


class Authority(Protocol):
    """The control plane, as a device reaches it over HTTPS; no answer is None."""

    def renew(
        self, device: str, shown: Certificate, key: str, answer: Callable[[Renewed | None], None]
    ) -> None:
        """Ask for a certificate for `key`."""

    def prove(self, device: str, shown: Certificate, answer: Callable[[Proven | None], None]) -> None:
        """Say that a link has stood with `shown`."""


@dataclass(frozen=True)
class Slot:
    """One of two: a key, and once it was answered the certificate for it."""

    key: str
    certificate: Certificate | None = None


class Certificates:
    """The certificates of one device, from the first, with which it was enrolled.

    `chosen` are the serials that it has made its own, in their order.
    """

    def __init__(self, device: Device, authority: Authority, first: Certificate, chance: r.Chance) -> None:
        self.name = device.name
        self.chosen: list[str] = []
        self._device = device
        self._authority = authority
        self._chance = chance
        self._keys = 1
        self._events: deque[r.Event] = deque()
        self._busy = self._redialing = False
        device.disk.wallet |= {"pointer": Pointer(), FIRST: Slot(first.key, first)}
        device.shows = self._shown
        device.on_start.append(self._start)
        device.on_link.append(lambda up: self._hear(r.LinkUp() if up else r.LinkDown()))
        device.on_refused.append(lambda: self._hear(r.LinkRefused("the broker said no")))

    # --- what lies on the disk ---

    @property
    def pointer(self) -> Pointer:
        """Which slot is the device's identity."""
        found: Pointer = self._device.disk.wallet["pointer"]
        return found

    @property
    def current(self) -> Certificate:
        """The certificate of the identity."""
        slot = self.slot(self.pointer.current)
        assert slot is not None
        assert slot.certificate is not None, f"{self.name} has no identity any more"
        return slot.certificate

    @property
    def next(self) -> Certificate | None:
        """The certificate that is to follow, if there is one."""
        slot = self.slot(self.pointer.spare)
        return slot.certificate if slot is not None and not self.pointer.spare_is_old else None

    @property
    def starts(self) -> int:
        """How often the agent has started."""
        return self._device.starts

    @property
    def held(self) -> list[Certificate]:
        """Every certificate on the disk that the device can show some time."""
        return [self.current, *([self.next] if self.next is not None else [])]

    def slot(self, name: str) -> Slot | None:
        """What lies in a slot."""
        found: Slot | None = self._device.disk.wallet.get(name)
        return found

    def _write(self, name: str, value: Pointer | Slot | None) -> None:
        self._device.effect(f"write {name}", at_work=True)
        self._device.disk.put(self._device.disk.wallet, name, value)
        self._device.sync(at_work=True)

    # --- the agent's life ---

    def _start(self) -> None:
        device, pointer = self._device, self.pointer
        self._events.clear()
        self._busy = self._redialing = self._shows_next = self._held = False
        life = self.current.life
        base_ms, ceiling_ms = round(life.not_before_s * 1000), round(life.not_after_s * 1000)
        self._clock = DeviceClock(device.disk.floor.get("floor", 0), base_ms, ceiling_ms)
        found = r.Found(
            life=life,
            proven=pointer.proven,
            staged=self.next is not None,
            leftover=pointer.spare_is_old,
        )
        limits = LIMITS if device.plant.spreads_requests else replace(LIMITS, spread_s=0.0)
        self._core = r.Renewal(found, limits, self._chance, self._now())
        self._arm()

    def _now(self) -> r.Moment:
        device = self._device
        return r.Moment(device.now, self._clock.certain_ms(device.wall.ms(), device.now) / 1000)

    def _arm(self) -> None:
        self._device.arm("certificates", self._core.deadline(), self._time_passed)

    def _time_passed(self) -> None:
        if not self._busy:
            self._hear(r.TimePassed())

    def _hear(self, event: r.Event) -> None:
        """What the link says while the core waits for an answer comes after that."""
        if not self._redialing:
            self._events.append(event)
            self._work()

    def _work(self) -> None:
        while self._events and not self._busy:
            self._handle(self._events.popleft())
        if not self._busy:
            self._arm()

    def _answered(self, answer: r.Answer) -> None:
        self._busy = False
        self._handle(answer)
        self._work()

    def _later(self, delay_s: float, answer: r.Answer) -> None:
        """An answer that comes some time."""
        self._busy = True
        self._device.later(delay_s, lambda: self._answered(answer))

    # --- what is decided, and done ---

    def _handle(self, event: r.Event) -> None:
        for effect in self._core.handle(event, self._now()):
            self._device.effect(effect, at_work=not isinstance(effect, r.LookForToken))
            try:
                self._do(effect)
            except FullError:
                self._later(0.0, r.Failed(False, "the disk is full"))

    def _do(self, effect: r.Effect) -> None:
        match effect:
            case r.Ask(instead):
                self._ask(instead)
            case r.Use(following):
                self._use(following)
            case r.Hold():
                self._held = True
            case r.Release():
                self._held = False
                self._redial()
            case r.Prove():
                self._prove()
            case r.Commit():
                self._commit()
                self._later(0.0, r.Committed(self.current.life))
            case r.NoteProven():
                self._write("pointer", msgspec.structs.replace(self.pointer, proven=True))
                self._later(0.0, r.Done())
            case r.ClearSpare():
                self._clear_spare()
                self._later(0.0, r.Done())
            case r.Encrypt() | r.LookForToken():
                pass  # keys are not modelled, and nobody brings tokens
            case _:
                assert_never(effect)

    def _shown(self) -> Certificate | None:
        """`Wallet.context`: what the next connection shows, if it may show anything."""
        if self._held:
            return None
        return (self.next if self._shows_next else None) or self.current

    def _use(self, following: bool) -> None:
        self._shows_next = following
        if following:
            self._held = False
            if self._device.plant.throws_old_certificates_away:
                self._commit()
                self._clear_spare()
        self._redial()
        if following and self._device.plant.proves_by_any_link:
            self._events.append(r.LinkUp())

    def _redial(self) -> None:
        self._redialing = True
        self._device.redial()
        self._redialing = False
        self._events.clear()  # whatever the link said until now, it said of the connection before

    def _commit(self) -> None:
        pointer, following = self.pointer, self.next
        if pointer.spare_is_old or following is None:
            return
        self._write("pointer", Pointer(current=pointer.spare, proven=True, spare_is_old=True))
        self._shows_next = False
        self.chosen.append(following.serial)
        life = following.life
        self._clock.renewed(round(life.not_before_s * 1000), round(life.not_after_s * 1000))

    def _clear_spare(self) -> None:
        pointer = self.pointer
        slot = self.slot(pointer.spare)
        if slot is not None:
            self._write(pointer.spare, replace(slot, certificate=None))
            self._write(pointer.spare, None)
        if pointer.spare_is_old:
            self._write("pointer", msgspec.structs.replace(pointer, spare_is_old=False))

    # --- what is asked of the control plane ---

    def _ask(self, instead: bool) -> None:
        """`attempt.renew`: the key is on the disk before it is asked with, and is used again."""
        if self.pointer.spare_is_old:
            self._clear_spare()
        slot = self.slot(self.pointer.spare)
        if slot is not None and slot.certificate is not None:
            if instead and self._device.plant.gives_certificates_up:
                self._ask_in_place_of(slot)
            else:
                self._later(0.0, r.Staged())  # it was here before the power went
            return
        if slot is None:
            slot = self._new_slot()
            self._write(self.pointer.spare, slot)
        kept = slot
        self._ask_with(self.current, kept, lambda answer: self._take(kept, answer))

    def _new_slot(self) -> Slot:
        self._keys += 1
        return Slot(f"key {self._keys} of {self.name}")

    def _ask_in_place_of(self, refused: Slot) -> None:
        """Nothing is removed before another one is there."""
        new, shown = self._new_slot(), refused.certificate
        assert shown is not None

        def take(answer: Renewed | None) -> None:
            if answer is not None and isinstance(answer.found, Refused) and self._device.plant.shows_next:
                self._ask_with(shown, refused, take_second)
            elif answer is not None and isinstance(answer.found, Certificate):
                self._clear_spare()
                self._write(self.pointer.spare, new)
                self._take(new, answer)
            else:
                self._take(new, answer)

        def take_second(answer: Renewed | None) -> None:
            if answer is None:
                self._answered(r.Failed(True, "the present one is refused, and the next one is no help"))
            else:
                self._take(refused, answer)

        self._ask_with(self.current, new, take)

    def _ask_with(self, shown: Certificate, slot: Slot, take: Callable[[Renewed | None], None]) -> None:
        """Show `shown` to get a certificate for the key of `slot`."""

        def hear(answer: Renewed | None) -> None:
            try:
                take(answer)
            except FullError:
                self._answered(r.Failed(False, "the disk is full"))

        self._busy = True
        self._authority.renew(self.name, shown, slot.key, self._in_this_life(hear))

    def _take(self, slot: Slot, answer: Renewed | None) -> None:
        if answer is None:
            self._answered(r.Failed(False, "no answer"))
        elif isinstance(answer.found, Refused):
            self._answered(r.Failed(True, answer.found.sentence))
        else:
            self._write(self.pointer.spare, replace(slot, certificate=answer.found))
            self._told_time(answer.server_ms)
            self._answered(r.Staged())

    def _prove(self) -> None:
        shown = self._shown()
        if shown is None:
            self._later(0.0, r.Failed(False, "the certificate has ended"))
            return
        self._busy = True
        self._authority.prove(self.name, shown, self._in_this_life(self._proven))

    def _proven(self, answer: Proven | None) -> None:
        if answer is None:
            self._answered(r.Failed(False, "no answer"))
            return
        self._told_time(answer.server_ms)
        self._answered(r.Proven() if answer.refused is None else r.Failed(True, answer.refused.sentence))

    def _in_this_life(self, action: Callable[[A], None]) -> Callable[[A], None]:
        """An answer that comes after a restart finds nobody who asked."""
        life, device = self._device.life, self._device

        def hear(answer: A) -> None:
            if life == device.life:
                device.run(lambda: action(answer))

        return hear

    def _told_time(self, server_ms: int) -> None:
        if not self._device.plant.believes_cloud_time or server_ms < AT_MIN_MS:
            return
        floor_ms = self._clock.told(server_ms, self._device.now)
        if floor_ms is not None:
            try:
                self._device.disk.put(self._device.disk.floor, "floor", floor_ms)
            except FullError:
                return  # as the timekeeper: it is written when it has moved further
            self._device.sync()
