"""When this device asks for a new certificate, tries it, takes it, goes back, or says that a person must act.

Pure. Effects are carried out in their order; where the last one has an answer, that is the next event. Every
effect may be the last before the power goes; what is on the disk then is `Found` by the next start:

| the power went          | on the disk                     | the next start                               |
|-------------------------|---------------------------------|----------------------------------------------|
| while it asked          | perhaps a key in the spare slot | asks again with that key                     |
| after the answer        | a whole next identity           | tries it once the link is up, or was refused |
| in a trial, or proven   | the same                        | the same; proving twice is harmless          |
| after the commitment    | the new one is current          | removes the old one, and goes on             |

Between the proof and the commitment the cloud may already have ended the old certificate: the device is
refused with it, and a device that is refused tries the next one at once. A next one that is refused may yet
be the only one by which the cloud knows the device: it was proven, and has ended before that was committed.
So it is not removed, but shown in its turn when another is asked for.

A connection stands longer than the certificate with which it was opened, while TLS takes that for no proof
any more, which looks like no answer. So a proof that does not work is not asked for ever on one connection:
the next identity connects anew, and one that is over is refused.

Certificates that were issued together are due and end together, and whoever lost its trust lost it with all
others. So whatever the device decides to ask by itself, it asks at a moment by chance (full jitter, as in
`edge_agent.link.reconnection`). Only a new token is asked with at once: a person stands beside it and waits.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol, assert_never

from contract.lifecycle import Machine
from edge_agent.link.certificate import DAY_S, Life

RENEWAL = Machine(
    "renewal",
    "resting",
    {
        "resting": {"ask": "asking"},
        "asking": {"stage": "staged", "fail": "resting", "refuse": "refused"},
        "staged": {"try": "trial"},
        "trial": {"connect": "proving", "fail": "staged", "discard": "resting"},
        "proving": {"prove": "resting", "lose": "trial", "fail": "staged", "discard": "resting"},
        "refused": {"ask": "asking", "accept": "resting"},
    },
)
CLOCK_LOOK_S = 3600.0
"""However far off the next step is, the time is looked at this often: a clock may be set meanwhile."""
UPDATE_LOOK_S = 60.0
"""How often it is looked whether an update of the agent is still on trial."""
TRIALS_MAX = 3
"""A next identity that was refused so often is given up, and another one is asked for."""
PROOFS_MAX = 5
"""So many proofs without success on one connection; then the next identity must connect anew."""
DOUBLINGS_MAX = 16
TICK_S = 0.001

Instant = float
"""Seconds of a clock that never jumps."""
Urgency = Literal["none", "due", "ended"]
"""What the clock alone says of the present certificate."""


class Chance(Protocol):
    """A source of chance; `random.Random` is one."""

    def uniform(self, a: float, b: float) -> float:
        """A number between `a` and `b`, all equally likely."""


@dataclass(frozen=True)
class Moment:
    """Now: by a clock that never jumps, and by what is known of the time (seconds since 1970, or a bound)."""

    instant: Instant
    utc_s: float


@dataclass(frozen=True)
class Limits:
    """See `edge_agent.settings.Certificate`."""

    renew_at_share: float
    renew_jitter_share: float
    spread_s: float
    trial_s: float
    retry_s: float
    retry_max_s: float
    refused_s: float
    token_look_s: float


@dataclass(frozen=True)
class Found:
    """What lies on the disk at the start.

    `proven`: the cloud knows that the current identity connects. `plain`: its key is not encrypted. `staged`:
    a next identity is there. `leftover`: the identity before was not removed yet.
    """

    life: Life
    proven: bool
    plain: bool = False
    staged: bool = False
    leftover: bool = False
    update_on_trial: bool = False


@dataclass(frozen=True)
class LinkUp:
    """The broker has accepted the identity that is shown."""


@dataclass(frozen=True)
class LinkDown:
    """The connection is gone."""


@dataclass(frozen=True)
class LinkRefused:
    """The broker, or TLS, has said no."""

    sentence: str


@dataclass(frozen=True)
class Staged:
    """The answer to `Ask`: a next identity is on the disk."""


@dataclass(frozen=True)
class Proven:
    """The answer to `Prove`: the cloud has taken the identity that is shown."""


@dataclass(frozen=True)
class Committed:
    """The answer to `Commit`: the identity that was tried is the device's; `life` is its."""

    life: Life


@dataclass(frozen=True)
class Done:
    """The answer to `Encrypt`, `NoteProven` and `ClearSpare`."""


@dataclass(frozen=True)
class Failed:
    """The answer to any effect: it did not work. `refused`: somebody said no; asking again changes little.

    `after_s`: whoever answered wants not to be asked again before so many seconds have passed.
    """

    refused: bool
    sentence: str
    after_s: float = 0.0


@dataclass(frozen=True)
class TokenSeen:
    """The answer to `LookForToken`: there is one that was not asked with yet."""


@dataclass(frozen=True)
class TimePassed:
    """The deadline has come. `update_on_trial`: the version of the agent that runs may be taken back."""

    update_on_trial: bool = False


Answer = Staged | Proven | Committed | Done | Failed
Event = LinkUp | LinkDown | LinkRefused | TokenSeen | TimePassed | Answer


@dataclass(frozen=True)
class Ask:
    """Get the next identity onto the disk: `Staged` or `Failed`.

    `instead`: of one that lies there and was refused. It stays until there is another; where the present one
    is refused, it is shown in its turn.
    """

    instead: bool = False


@dataclass(frozen=True)
class Use:
    """Show the next identity, or the current one again, and connect with it anew."""

    next: bool


@dataclass(frozen=True)
class Hold:
    """Open no connection: the certificate has ended. Says why."""

    sentence: str


@dataclass(frozen=True)
class Release:
    """Open connections again."""


@dataclass(frozen=True)
class Prove:
    """Tell the cloud, with the identity that is shown, that it connects: `Proven` or `Failed`."""


@dataclass(frozen=True)
class Commit:
    """Make the next identity the current one; one rename: `Committed` or `Failed`."""


@dataclass(frozen=True)
class NoteProven:
    """Write down that the cloud has taken the current identity: `Done` or `Failed`."""


@dataclass(frozen=True)
class ClearSpare:
    """Remove what lies in the spare slot: `Done` or `Failed`."""


@dataclass(frozen=True)
class Encrypt:
    """Put the plain key under the vault's secret: `Done` or `Failed`."""


@dataclass(frozen=True)
class LookForToken:
    """See whether somebody has brought a new token: `TokenSeen` or nothing."""


Effect = Ask | Use | Hold | Release | Prove | Commit | NoteProven | ClearSpare | Encrypt | LookForToken
Chore = ClearSpare | Encrypt | Prove | NoteProven
"""What is to be done beside the renewal itself, while that rests or waits for a person."""


class Renewal:
    """One device's certificates."""

    def __init__(self, found: Found, limits: Limits, chance: Chance, now: Moment) -> None:
        self.state = "staged" if found.staged else RENEWAL.initial
        self.life = found.life
        self.failures = 0
        """Failures since the cloud has last taken an identity of this device."""
        self.sentence = ""
        """The last of them; empty where there was none."""
        self.again_at: Instant = now.instant
        """When what failed last is tried again, if nobody brings a token before."""
        self._limits = limits
        self._chance = chance
        self._linked = self._was_refused = self._held = False
        self._update_on_trial = found.update_on_trial
        self._trials = self._unproven = 0
        self._spurned = False
        """Whether the next identity that lies there was given up."""
        self._open: Effect | None = None
        chores = ((ClearSpare(), found.leftover), (Encrypt(), found.plain), (Prove(), not found.proven))
        self._chores: dict[Chore, Instant] = {chore: now.instant for chore, due in chores if due}
        self._ask_at: Instant | None = None
        self._asked_at: Instant | None = None
        self._try_at = self._prove_at = self._look_at = self._trial_ends = now.instant
        self._due_s = self._due(found.life)
        self._urgency: Urgency = "none"
        self._due_at = now.instant
        """With an urgency: the moment by chance at which something is done about it."""
        self._wake = now.instant

    @property
    def shows_next(self) -> bool:
        """Whether the next identity is the one that is shown."""
        return self.state in ("trial", "proving")

    def days_left(self, utc_s: float) -> float:
        """Until the current certificate ends; below zero it has ended."""
        return (self.life.not_after_s - utc_s) / DAY_S

    def deadline(self) -> Instant:
        """When to look again, if nothing happens before."""
        return self._wake

    def handle(self, event: Event, now: Moment) -> list[Effect]:
        """What follows from `event`, in the order in which it must be done."""
        assert (self._open is not None) == isinstance(event, Answer), f"{self._open} is open, {event} came"
        effects: list[Effect] = []
        match event:
            case LinkUp():
                effects = self._link_up()
            case LinkDown():
                self._link_down(now)
            case LinkRefused(sentence):
                effects = self._link_refused(sentence, now)
            case Staged() | Proven() | Committed() | Done() | Failed():
                effects = self._answered(event, now)
            case TokenSeen():
                self._ask_at = now.instant
            case TimePassed(on_trial):
                self._update_on_trial = on_trial
            case _:
                assert_never(event)
        self._look_at_the_clock(now)
        if not effects and self._open is None:
            effects = self._further(now)
        effects = [*self._judge(now), *effects]
        if effects and not isinstance(effects[-1], Use | Hold | Release | LookForToken):
            self._open = effects[-1]
        self._schedule(now)
        return effects

    def _link_up(self) -> list[Effect]:
        self._linked, self._was_refused, self._unproven = True, False, 0
        if self.state == "trial":
            self._move("connect")
            return [Prove()]
        if self.state == "refused":
            self._move("accept")
        return []

    def _link_down(self, now: Moment) -> None:
        self._linked = False
        if self.state == "proving":
            self._move("lose")
            self._trial_ends = now.instant + self._limits.trial_s

    def _link_refused(self, sentence: str, now: Moment) -> list[Effect]:
        self._linked, self._was_refused = False, True
        if self.shows_next:
            return self._go_back(sentence, now, refused=True)
        recently = self._asked_at is not None and now.instant < self._asked_at + self._limits.refused_s
        if self.state == "resting" and not recently:
            self.sentence = sentence
            wanted = now.instant + self._chance.uniform(0, self._limits.spread_s)
            self._ask_at = wanted if self._ask_at is None else min(self._ask_at, wanted)
        return []

    def _answered(self, event: Answer, now: Moment) -> list[Effect]:
        """The answer to the one effect that is open."""
        effect, self._open = self._open, None
        assert effect is not None
        if isinstance(event, Failed):
            return self._failed(effect, event, now)
        if isinstance(event, Proven):
            self.failures, self.sentence = 0, ""
        match event:
            case Staged():
                self._move("stage")
                self._spurned = False
                self._try_at, self._ask_at = now.instant, None
            case Proven() if self.state == "proving":
                return [Commit()]
            case Proven():
                self._chores = {chore: at for chore, at in self._chores.items() if chore != Prove()}
                return [NoteProven()]
            case Committed(life):
                self._move("prove")
                self.life, self._due_s, self._ask_at = life, self._due(life), None
                self._chores = {}
                return [ClearSpare()]
            case Done():
                assert isinstance(effect, Chore)
                self._chores.pop(effect, None)
            case _:
                assert_never(event)
        return []

    def _failed(self, effect: Effect, event: Failed, now: Moment) -> list[Effect]:
        self.failures += 1
        self.sentence = event.sentence
        if isinstance(effect, Ask):
            self._move("refuse" if event.refused else "fail")
            self._ask_at = self.again_at = now.instant + event.after_s + self._wait(event.refused, now)
            self._look_at = now.instant + self._limits.token_look_s
        elif self.state == "proving":
            if isinstance(effect, Prove) and event.refused:
                return self._go_back(event.sentence, now, refused=True)
            self._unproven += isinstance(effect, Prove)
            self._prove_at = self.again_at = now.instant + self._wait(False, now)
        elif isinstance(effect, Chore):
            self._chores[effect] = self.again_at = now.instant + self._wait(event.refused, now)
            if isinstance(effect, Prove) and event.refused:
                # The cloud says that this identity is over: ask what is to be done.
                self._ask_at = now.instant + self._chance.uniform(0, self._limits.spread_s)
        return []

    def _go_back(self, sentence: str, now: Moment, *, refused: bool) -> list[Effect]:
        """The trial is over; the identity before is shown again, and after a while the next one."""
        self.failures += 1
        self._trials += refused
        self._linked = False
        self.sentence = sentence
        self._try_at = self.again_at = now.instant + self._wait(refused, now)
        if self._trials < TRIALS_MAX:
            self._move("fail")
            return [Use(next=False)]
        self._move("discard")
        self._trials, self._ask_at, self._spurned = 0, self._try_at, True
        return [Use(next=False)]

    def _look_at_the_clock(self, now: Moment) -> None:
        """What is due by the clock is due for many devices in one moment: each takes its own after it."""
        urgency: Urgency = "none"
        if self._ended(now):
            urgency = "ended"
        elif now.utc_s >= self._due_s and self._may_ask(now):
            urgency = "due"
        if urgency != self._urgency:
            self._urgency = urgency
            self._due_at = now.instant + self._chance.uniform(0, self._limits.spread_s)

    def _further(self, now: Moment) -> list[Effect]:
        """What is due though nothing has happened."""
        match self.state:
            case "resting" | "refused":
                return self._chore(now) or self._asking(now)
            case "staged":
                if now.instant >= self._next_try():
                    return self._connect_with_next("try", now)
            case "trial":
                if now.instant >= self._trial_ends:
                    return self._go_back("the new certificate did not connect in time", now, refused=False)
            case "proving":
                if now.instant >= self._prove_at and self._unproven >= PROOFS_MAX:
                    return self._connect_with_next("lose", now)
                if now.instant >= self._prove_at:
                    return [Prove()]
        return []

    def _connect_with_next(self, event: str, now: Moment) -> list[Effect]:
        self._move(event)
        self._linked = self._held = False
        self._trial_ends = now.instant + self._limits.trial_s
        return [Use(next=True)]

    def _chore(self, now: Moment) -> list[Effect]:
        for chore, at in self._chores.items():
            if now.instant >= at and self._may(chore):
                return [chore]
        return []

    def _may(self, chore: Chore) -> bool:
        """The agent before an update cannot read what this one encrypts; proofs need a connection."""
        if isinstance(chore, Encrypt):
            return not self._update_on_trial
        return self._linked or not isinstance(chore, Prove)

    def _asking(self, now: Moment) -> list[Effect]:
        if self._may_ask(now) and now.instant >= self._next_ask(now):
            self._move("ask")
            self._asked_at = self._due_at = now.instant
            return [Ask(self._spurned)]
        if self._looks_for_token() and now.instant >= self._look_at:
            self._look_at = now.instant + self._limits.token_look_s
            return [LookForToken()]
        return []

    def _next_ask(self, now: Moment) -> Instant:
        if self._ask_at is not None:
            return self._ask_at
        return self._due_at if self._urgency != "none" else _when(self._due_s, now)

    def _next_try(self) -> Instant:
        """The next identity is tried where the present one connects, or will not any more."""
        if self._linked or self._was_refused:
            return self._try_at
        return max(self._try_at, self._due_at) if self._urgency == "ended" else math.inf

    def _looks_for_token(self) -> bool:
        """Whether a person may stand beside a device that waits for its moment."""
        return self.state == "refused" or self._ask_at is not None or self._urgency == "ended"

    def _may_ask(self, now: Moment) -> bool:
        """While an update is on trial the identity stays where the version before looks for it."""
        return not self._update_on_trial or self._ended(now) or self._was_refused

    def _judge(self, now: Moment) -> list[Effect]:
        """Whether connections are worth the while with what is shown."""
        hold = self._ended(now) and not self.shows_next
        if hold == self._held or self.shows_next:
            return []
        self._held = hold
        if not hold:
            return [Release()]
        return [Hold("this device's certificate has ended; a new one is asked for before anything else")]

    def _ended(self, now: Moment) -> bool:
        return now.utc_s >= self.life.not_after_s

    def _wait(self, refused: bool, now: Moment) -> float:
        limits = self._limits
        if refused:
            return self._chance.uniform(limits.refused_s / 2, limits.refused_s)
        doubled = limits.retry_s * 2 ** min(max(self.failures - 1, 0), DOUBLINGS_MAX)
        cap = limits.retry_s if self._ended(now) else limits.retry_max_s
        return self._chance.uniform(0, min(doubled, cap))

    def _due(self, life: Life) -> float:
        share = self._limits.renew_at_share + self._chance.uniform(0, self._limits.renew_jitter_share)
        return life.begins_s + min(share, 1.0) * (life.not_after_s - life.begins_s)

    def _move(self, event: str) -> None:
        self.state = RENEWAL.apply(self.state, event)

    def _schedule(self, now: Moment) -> None:
        """The next moment at which `_further` or `_judge` could say something else."""
        at = [now.instant + (UPDATE_LOOK_S if self._update_on_trial else CLOCK_LOOK_S)]
        if self._open is None:
            match self.state:
                case "resting" | "refused":
                    at += [due for chore, due in self._chores.items() if self._may(chore)]
                    if self._may_ask(now):
                        at.append(self._next_ask(now))
                    if self._looks_for_token():
                        at.append(self._look_at)
                case "staged":
                    at.append(self._next_try())
                case "trial":
                    at.append(self._trial_ends)
                case "proving":
                    at.append(self._prove_at)
        if not self._ended(now):
            at.append(_when(self.life.not_after_s, now))
        self._wake = max(now.instant, min(at))


def _when(utc_s: float, now: Moment) -> Instant:
    """When it will be `utc_s` by the other clock; never a moment too early, where their fractions differ."""
    ahead_s = utc_s - now.utc_s
    return now.instant + (max(ahead_s, TICK_S) if ahead_s > 0 else 0.0)
