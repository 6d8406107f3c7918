"""A device's disk, a broker and a control plane that fit on a page, around the real core of renewal.

Time jumps to whatever comes next. The cloud is the harshest that the contract allows: it ends the old
certificate in the moment in which the new one is proven.
"""

import random
from dataclasses import dataclass, field

from edge_agent.enrolment import renewal as r
from edge_agent.link.certificate import Life

DAY_S = 86_400.0
LIFE_S = 30 * DAY_S
LIMITS = r.Limits(
    renew_at_share=2 / 3,
    renew_jitter_share=0.05,
    spread_s=60,
    trial_s=60,
    retry_s=60,
    retry_max_s=3600,
    refused_s=1800,
    token_look_s=5,
)
DIAL_S = 2.0
"""From dialing to the broker's answer."""
LINK_WAIT_S = 45.0
"""A link that was refused or cut dials again after this long."""
GRACE_S = 90 * DAY_S


class PowerCutError(Exception):
    """The device is off."""


@dataclass
class Cloud:
    """Certificates are numbers; `good` are those that the broker accepts, `active` the one proven last."""

    good: set[int] = field(default_factory=set)
    active: int = 0
    lives: dict[int, Life] = field(default_factory=dict)
    revoked: set[int] = field(default_factory=set)
    away: bool = False
    refuses_new: bool = False
    tokens: int = 0

    def issue(self, now_s: float) -> int:
        number = len(self.lives) + 1
        self.lives[number] = Life(now_s - DAY_S, now_s + LIFE_S)
        if not self.refuses_new:
            self.good.add(number)
        return number

    def accepts(self, number: int, now_s: float) -> bool:
        return number in self.good and now_s < self.lives[number].not_after_s

    def may_renew(self, number: int, now_s: float) -> bool:
        known = number in self.good or number == self.active
        return known and number not in self.revoked and now_s < self.lives[number].not_after_s + GRACE_S

    def prove(self, number: int) -> None:
        self.active, self.good = number, {number}

    def revoke(self, number: int) -> None:
        self.good.discard(number)
        self.revoked.add(number)


@dataclass
class Disk:
    """What survives a power cut."""

    current: int
    next: int = 0
    proven: bool = False
    plain: bool = False
    old: int = 0


class Device:
    """One device; `cut_at` cuts the power at an effect, before it (even) or once it is carried out (odd)."""

    def __init__(self, cloud: Cloud, disk: Disk, now_s: float, cut_at: int | None = None) -> None:
        self.cloud, self.disk, self.now_s, self.cut_at = cloud, disk, now_s, cut_at
        self.effects: list[r.Effect] = []
        self.token = False
        self.network = True
        self.update_on_trial = False
        self._chance = random.Random(1)
        self.boot()

    def boot(self) -> None:
        disk = self.disk
        found = r.Found(
            life=self.cloud.lives[disk.current],
            proven=disk.proven,
            plain=disk.plain,
            staged=disk.next != 0,
            leftover=disk.old != 0,
            update_on_trial=self.update_on_trial,
        )
        self.core = r.Renewal(found, LIMITS, self._chance, self._now())
        self.shows_next = self.connected = False
        self.held = ""
        self._dial_at = self.now_s

    @property
    def shown(self) -> int:
        return self.disk.next if self.shows_next else self.disk.current

    def run(self, until_s: float) -> None:
        """Let time pass; the power comes back at once where it is cut."""
        while True:
            at = min(self.core.deadline(), self._dial_at)
            if at > until_s:
                self.now_s = until_s
                return
            self.now_s = max(self.now_s, at)
            try:
                if self._dial_at <= self.now_s:
                    self._dial()
                else:
                    self.hear(r.TimePassed(self.update_on_trial))
            except PowerCutError:
                self.boot()
            assert self.keeps_an_identity(), "no certificate on the disk is good any more"

    def keeps_an_identity(self) -> bool:
        known = {self.disk.current, self.disk.next} - {0}
        return bool(known & self.cloud.good) or self.cloud.active in self.cloud.revoked

    def lose_link(self) -> None:
        self.connected, self._dial_at = False, self.now_s + LINK_WAIT_S
        self.hear(r.LinkDown())

    def hear(self, event: r.Event) -> None:
        answer: r.Event | None = event
        while answer is not None:
            effects = self.core.handle(answer, self._now())
            answer = None
            for effect in effects:
                assert answer is None, "only the last effect has an answer"
                answer = self._carry_out(effect)

    def _dial(self) -> None:
        self._dial_at = self.now_s + LINK_WAIT_S
        if self.held or not self.network:
            return
        if self.cloud.accepts(self.shown, self.now_s):
            self.connected, self._dial_at = True, float("inf")
            self.hear(r.LinkUp())
        else:
            self.hear(r.LinkRefused("the broker does not know this certificate"))

    def _carry_out(self, effect: r.Effect) -> r.Event | None:
        if isinstance(effect, r.LookForToken):
            return r.TokenSeen() if self.token else None
        number = len(self.effects)
        self.effects.append(effect)
        if self.cut_at == 2 * number:
            self.cut_at = None
            raise PowerCutError
        answer = self._perform(effect)
        if self.cut_at == 2 * number + 1:
            self.cut_at = None
            raise PowerCutError
        return answer

    def _perform(self, effect: r.Effect) -> r.Event | None:
        disk, cloud = self.disk, self.cloud
        match effect:
            case r.Ask(instead):
                return self._ask(instead)
            case r.Use(following):
                self.shows_next, self.connected, self._dial_at = following, False, self.now_s + DIAL_S
                self.held = "" if following else self.held
            case r.Hold(sentence):
                self.held = sentence
            case r.Release():
                self.held, self.connected, self._dial_at = "", False, self.now_s + DIAL_S
            case r.Prove():
                over = self.now_s >= cloud.lives[self.shown].not_after_s
                if cloud.away or not self.network or over:  # TLS takes none that is over
                    return r.Failed(False, "no answer")
                if self.shown not in cloud.good:
                    return r.Failed(True, "409: another one was proven")
                cloud.prove(self.shown)
                return r.Proven()
            case r.Commit():
                assert self.shows_next
                assert disk.next == cloud.active
                disk.old, disk.current, disk.next, disk.proven = disk.current, disk.next, 0, True
                disk.plain = self.shows_next = False
                return r.Committed(cloud.lives[disk.current])
            case r.NoteProven():
                disk.proven = True
                return r.Done()
            case r.ClearSpare():
                disk.old = disk.next = 0
                return r.Done()
            case r.Encrypt():
                disk.plain = False
                return r.Done()
        return None

    def _ask(self, instead: bool) -> r.Event:
        if self.disk.next and not instead:
            return r.Staged()
        if self.cloud.away or not self.network:
            return r.Failed(False, "no answer")
        known = self.cloud.may_renew(self.disk.current, self.now_s)
        if not known and self.disk.next and self.cloud.may_renew(self.disk.next, self.now_s):
            self.disk.next = self.cloud.issue(self.now_s)
            return r.Staged()
        if self.token:
            self.token = False
            self.cloud.revoked.clear()
        elif not self.cloud.may_renew(self.disk.current, self.now_s):
            return r.Failed(True, "make a new token")
        self.disk.old, self.disk.next = 0, self.cloud.issue(self.now_s)
        return r.Staged()

    def _now(self) -> r.Moment:
        return r.Moment(self.now_s, self.now_s)


def device(cut_at: int | None = None, *, proven: bool = True, plain: bool = False) -> Device:
    """A device that was enrolled a moment ago, at time 0 of a story."""
    cloud = Cloud()
    first = cloud.issue(0.0)
    if proven:
        cloud.prove(first)
    return Device(cloud, Disk(first, proven=proven, plain=plain), 0.0, cut_at)
