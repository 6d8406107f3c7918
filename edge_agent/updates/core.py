"""Decides how an update of one component goes on: what is saved, asked, tried, kept and taken back.

Pure. A state is in the journal before what belongs to it is done; after a restart the saved state alone says
what is done next, and every effect may be done twice. What a newer agent has saved and this one does not
know is rolled back.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, assert_never

import msgspec

from contract.errors import MalformedError
from contract.updates import (
    BEFORE_ACTIVATION,
    DETAIL_LENGTH_MAX,
    UPDATE,
    ApplyUpdate,
    UpdateCode,
    UpdateNews,
    version_key,
)
from edge_agent.updates import messages as m
from edge_agent.updates.health import NotYet, Unwell, Well
from edge_agent.updates.messages import Effect, Entry, Event

Instant = float
"""Seconds of a clock that never jumps."""

FETCH_WAITS_S = (5.0, 15.0, 60.0, 300.0, 900.0)
"""Before a download is tried again, each with full jitter; the last one repeats."""
FETCH_TRIES_MAX = 1000
"""About ten days of the last wait, half of it on average; then the assignment has failed."""
AGAIN_S = 10.0
"""Before a disk or a board that did not answer is asked again."""
AGAIN_MAX = 60
"""How often in one state; ten minutes."""
BUSY_LOOK_S = 2.0
"""How often a busy device is looked at."""
WAIT_MAX_S = 7 * 86_400.0
"""A device that is busy for a week has another trouble; the assignment has failed."""
PROBE_S = 2.0
ATTEMPTS_MAX = 3
"""Activations of one update, and restarts in the middle of its trial."""
KEPT_ENDED = 20
"""Ended updates that are remembered, so that an order that comes again is not carried out again."""
COMMIT, ROLL_BACK = "commit", "roll-back"
UNPROVED = "the new version has not proved itself yet"


@dataclass(frozen=True)
class Limits:
    """How long a trial may take.

    `self_test_s`: until the new version is well. `link_s`: until it has a link, counting only time with a
    network, because an unplugged cable is not a bad image. `trial_s`: both, whatever the network does and
    whoever uses the device.
    """

    self_test_s: float = 120.0
    link_s: float = 900.0
    trial_s: float = 86_400.0


class Chance(Protocol):
    """`random.Random`, as far as the jitter needs it."""

    def random(self) -> float:
        """From 0 up to, not including, 1."""


@dataclass
class _Trial:
    """What this run of the agent has seen of a trial."""

    since: Instant
    probed_at: Instant
    networked_s: float = 0.0


class Course:
    """The updates of one component: the one under way, and one that may wait behind a trial.

    `entries` is the component's journal in the order of assignment.
    """

    def __init__(self, entries: Iterable[Entry], chance: Chance, limits: Limits = Limits()) -> None:
        self._entries = {entry.update: entry for entry in entries}
        self._chance = chance
        self._limits = limits
        self._linked = False
        self._work = 0
        self._asked: m.Work | None = None
        self._due: Instant | None = None
        self._tell_at: Instant | None = None
        self._telling: dict[str, int] = {}
        self._failures = 0
        self._waiting_since: Instant | None = None
        self._trial: _Trial | None = None
        self._undo = dict(self._entries)

    @property
    def current(self) -> Entry | None:
        """The update under way."""
        return next((entry for entry in self._entries.values() if entry.state not in UPDATE.ends), None)

    @property
    def holding(self) -> bool:
        """Whether the device takes no new work because of this update."""
        current = self.current
        return current is not None and current.state not in BEFORE_ACTIVATION

    def deadline(self) -> Instant | None:
        """When to look again, if nothing happens before."""
        return min((at for at in (self._due, self._tell_at) if at is not None), default=None)

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        """What follows from `event`: what is to be saved first, then answers and news, then what is done."""
        self._undo = dict(self._entries) if not isinstance(event, m.NotSaved) else self._undo
        effects: list[Effect] = []
        match event:
            case m.Started():
                effects = self._start(now)
            case m.Ordered(order):
                effects = self._order(order, now)
            case m.Cancelled(update):
                effects = self._cancel(update, now)
            case m.LinkUp():
                self._linked = True
                self._hasten(now)
            case m.LinkDown():
                self._linked = False
            case m.Told(update, revision):
                effects = self._told(update, revision)
            case m.NotTold():
                self._telling.clear()
                self._tell_at = now + AGAIN_S
            case m.NotSaved():
                effects = self._not_saved(now)
            case m.TimePassed():
                effects = self._overdue(now)
            case _:
                if event.work == self._work and self._asked is not None:
                    self._asked = None
                    effects = self._answered(event, now)
        effects += self._news()
        return sorted(effects, key=_rank)

    # What begins and what ends.

    def _start(self, now: Instant) -> list[Effect]:
        open_ones = [entry for entry in self._entries.values() if entry.state not in UPDATE.ends]
        effects: list[Effect] = []
        for entry in open_ones[:-1]:  # the power went between the end of the old and the new assignment
            if entry.state in BEFORE_ACTIVATION:
                effects += self._end(entry, "fail", UpdateCode.SUPERSEDED)
        return [*effects, *self._go_on(now, restarted=True)]

    def _order(self, order: ApplyUpdate, now: Instant) -> list[Effect]:
        answer = m.Answer(order.update)
        if order.update in self._entries:
            return [answer]
        effects: list[Effect] = [answer]
        for entry in list(self._entries.values()):
            if entry.state in BEFORE_ACTIVATION:
                effects += self._end(entry, "fail", UpdateCode.SUPERSEDED)
        free = self.current is None
        effects.append(self._put(Entry(order=order, state=UPDATE.initial)))
        return effects + (self._go_on(now) if free else [])

    def _cancel(self, update: str, now: Instant) -> list[Effect]:
        entry = self._entries.get(update)
        if entry is None or entry.state == "failed":
            return [m.Answer(update)]
        if entry.state not in BEFORE_ACTIVATION:
            sentence = f"version {entry.order.version} has been activated already; assign the other version"
            return [m.Answer(update, sentence)]
        effects = self._end(entry, "fail", UpdateCode.CANCELLED)
        return [m.Answer(update), *effects, *self._go_on(now)]

    def _end(self, entry: Entry, event: str, code: UpdateCode, detail: str = "") -> list[Effect]:
        under_way = self.current
        effects: list[Effect] = [self._move(entry, event, code=code, detail=detail)]
        if under_way is not None and under_way.update == entry.update:
            held = under_way.state not in BEFORE_ACTIVATION or isinstance(self._asked, m.Reserve)
            effects += [m.GiveUp()] if self._asked is not None else []
            effects += [m.Release()] if held else []
            self._forget_run()
        ended = [each for each in self._entries.values() if each.state in UPDATE.ends]
        for old in ended[: max(0, len(ended) - KEPT_ENDED)]:
            if old.told >= old.revision:
                del self._entries[old.update]
        return effects

    def _forget_run(self) -> None:
        self._asked, self._due, self._failures = None, None, 0
        self._waiting_since, self._trial = None, None

    # What is done in each state.

    def _go_on(self, now: Instant, *, restarted: bool = False) -> list[Effect]:
        """Do what belongs to the state of the current update; `restarted`: it may have been done before."""
        self._due = None
        entry = self.current
        if entry is None or self._asked is not None:
            return []
        match entry.state:
            case "assigned":
                return [self._ask(m.Look, ())]
            case "downloading":
                return [self._ask(m.Fetch, (entry.order,))]
            case "verified":
                return [self._ask(m.Stage, (entry,))]
            case "staged" | "waiting":
                return [self._ask(m.Reserve, ())]
            case "activating" | "trial" if entry.verdict:
                verdict = m.Commit if entry.verdict == COMMIT else m.RollBack
                return [self._ask(verdict, (entry.order.version,))]
            case "activating" | "trial":
                return self._try(entry, now, restarted=restarted)
            case _:
                unknown = f"this version of the agent does not know the saved state {entry.state!r:.40}"
                return self._decide(entry, ROLL_BACK, UpdateCode.LOST_TRACK, unknown, state="trial")

    def _try(self, entry: Entry, now: Instant, *, restarted: bool) -> list[Effect]:
        if self._trial is None:
            self._trial = _Trial(now, now)
        if restarted and entry.state == "trial":
            if entry.attempt >= ATTEMPTS_MAX:
                return self._decide(entry, ROLL_BACK, UpdateCode.TOO_MANY_ATTEMPTS)
            entry = self._keep(entry, attempt=entry.attempt + 1)
            return [m.Save(entry), self._ask(m.Look, ())]
        if entry.state == "activating":
            return [self._ask(m.Look, ())]
        return [self._ask(m.Probe, (entry.order.version,))]

    def _ask(self, kind: Callable[..., m.Work], about: tuple[object, ...]) -> m.Work:
        self._work += 1
        self._asked = kind(self._work, *about)
        return self._asked

    # What comes back.

    def _answered(self, event: m.Answered, now: Instant) -> list[Effect]:
        entry = self.current
        assert entry is not None, "work is given up with its update"
        if not isinstance(event, m.Failed):
            self._failures = 0
        match event:
            case m.Looked(_, version):
                return self._looked(entry, version, now)
            case m.Fetched(_, image, sha256):
                kept = self._keep(entry, image=image, sha256=sha256)
                return [self._move(kept, "verify"), *self._go_on(now)]
            case m.Lost():
                moved = self._move(entry, "download", attempt=entry.attempt + 1)
                return [moved, *self._go_on(now)]
            case m.Staged():
                return [self._move(entry, "stage"), *self._go_on(now)]
            case m.Reserved(_, busy):
                return self._reserved(entry, busy, now)
            case m.Activated():
                return [self._move(entry, "try"), *self._go_on(now)]
            case m.Probed():
                return self._probed(entry, event, now)
            case m.Committed():
                return [*self._end(entry, COMMIT, UpdateCode.NONE), *self._go_on(now)]
            case m.RolledBack():
                return [*self._end(entry, ROLL_BACK, entry.code, entry.detail), *self._go_on(now)]
            case m.Failed():
                return self._failed(entry, event, now)
            case _:
                assert_never(event)

    def _looked(self, entry: Entry, version: str, now: Instant) -> list[Effect]:
        runs = _same(entry.order.version, version)
        if entry.state == "assigned":
            if runs:
                return [*self._end(entry, "commit", UpdateCode.ALREADY_RUNNING), *self._go_on(now)]
            if _older(entry.order.version, version) and not entry.order.downgrade:
                sentence = f"version {version} runs; order the downgrade expressly if it is meant"
                return [*self._end(entry, "fail", UpdateCode.DOWNGRADE, sentence), *self._go_on(now)]
            return [self._move(entry, "download", attempt=1), *self._go_on(now)]
        if runs and entry.state == "activating":
            return [self._move(entry, "try"), *self._go_on(now)]
        return [self._ask(m.Probe, (entry.order.version,))]

    def _reserved(self, entry: Entry, busy: str, now: Instant) -> list[Effect]:
        if not busy:
            return [
                self._move(entry, "activate", attempt=1),
                self._ask(m.Activate, (entry.order.version,)),
            ]
        self._waiting_since = self._waiting_since if self._waiting_since is not None else now
        if now - self._waiting_since >= WAIT_MAX_S:
            return [*self._end(entry, "fail", UpdateCode.DEVICE_BUSY, busy), *self._go_on(now)]
        self._due = now + BUSY_LOOK_S
        if entry.state == "staged":
            return [self._move(entry, "wait", code=UpdateCode.DEVICE_BUSY, detail=busy)]
        return []

    def _probed(self, entry: Entry, event: m.Probed, now: Instant) -> list[Effect]:
        trial = self._trial
        assert trial is not None, "only a trial is probed"
        trial.networked_s += now - trial.probed_at if event.network else 0.0
        trial.probed_at = now
        match event.health:
            case Unwell(sentence):
                return self._decide(entry, ROLL_BACK, UpdateCode.SELF_TEST_FAILED, sentence)
            case NotYet(sentence) if entry.state == "activating":
                return self._activate_again(entry, sentence)
            case Well() if entry.state == "activating":
                return [self._move(entry, "try"), *self._go_on(now)]
            case NotYet(sentence) if now - trial.since >= self._limits.self_test_s:
                code = UpdateCode.SELF_TEST_FAILED if sentence else UpdateCode.NO_ANSWER
                return self._take_back(entry, code, sentence, event.busy, now)
            case Well() if self._linked:
                return self._decide(entry, COMMIT, UpdateCode.NONE)
            case Well() if trial.networked_s >= self._limits.link_s:
                return self._take_back(entry, UpdateCode.NO_LINK, "", event.busy, now)
            case Well() if now - trial.since >= self._limits.trial_s:
                return self._decide(entry, ROLL_BACK, UpdateCode.NO_LINK)
        self._due = now + PROBE_S
        return []

    def _take_back(self, entry: Entry, code: UpdateCode, found: str, busy: str, now: Instant) -> list[Effect]:
        """Roll back a version that has not proved itself; while the device is in use, only wait for it to be.

        A sitting may open in the middle of a recorder's trial. To commit restarts nothing and is done at
        once; to roll back restarts the agent, and the sitting would lose those seconds. A version that was
        not found to be bad (no link, no answer of the microphone) therefore goes on until the hall is free,
        and is committed if it proves itself before. What is really broken does not come here: an unwell
        version is rolled back at once, and one that ends or hangs is taken back by launcher and guard. The
        wait ends `trial_s` after the trial has begun: a sitting that nobody ends keeps no version for ever.
        """
        trial = self._trial
        assert trial is not None, "only a trial is taken back"
        if not busy or now - trial.since >= self._limits.trial_s:
            return self._decide(entry, ROLL_BACK, code, found)
        self._due = now + PROBE_S
        return self._note(entry, UpdateCode.DEVICE_BUSY, f"{busy}; {found or UNPROVED}")

    def _activate_again(self, entry: Entry, sentence: str) -> list[Effect]:
        """The power went after the state was saved and before the target had it."""
        if entry.attempt >= ATTEMPTS_MAX:
            return self._decide(entry, ROLL_BACK, UpdateCode.TOO_MANY_ATTEMPTS, sentence)
        entry = self._keep(entry, attempt=entry.attempt + 1)
        return [m.Save(entry), self._ask(m.Activate, (entry.order.version,))]

    def _decide(
        self, entry: Entry, verdict: str, code: UpdateCode, detail: str = "", state: str = ""
    ) -> list[Effect]:
        """Write down what becomes of the trial, then do it."""
        entry = self._keep(
            entry, verdict=verdict, code=code, detail=_short(detail), state=state or entry.state
        )
        kind = m.Commit if verdict == COMMIT else m.RollBack
        self._failures = 0
        return [m.Save(entry), self._ask(kind, (entry.order.version,))]

    # What goes wrong.

    def _failed(self, entry: Entry, event: m.Failed, now: Instant) -> list[Effect]:
        self._failures += 1
        if entry.state in BEFORE_ACTIVATION:
            return self._failed_before(entry, event, now)
        if event.again and self._failures < AGAIN_MAX and not self._trial_over(now):
            self._due = now + AGAIN_S
            return []
        if entry.verdict == ROLL_BACK:
            detail = f"it could not be taken back: {event.sentence}"
            return [*self._end(entry, ROLL_BACK, UpdateCode.NO_ANSWER, detail), *self._go_on(now)]
        code = UpdateCode.NO_ANSWER if event.again else UpdateCode.IMAGE_REFUSED
        if entry.verdict == COMMIT and not event.again:
            code = UpdateCode.LOST_TRACK  # between the decision and its being done the target went back
        return self._decide(entry, ROLL_BACK, code, event.sentence)

    def _failed_before(self, entry: Entry, event: m.Failed, now: Instant) -> list[Effect]:
        downloading = entry.state == "downloading"
        tries = entry.attempt if downloading else self._failures
        if not event.again or tries >= (FETCH_TRIES_MAX if downloading else AGAIN_MAX):
            return [*self._end(entry, "fail", event.code, event.sentence), *self._go_on(now)]
        if not downloading:
            self._due = now + AGAIN_S
            return self._note(entry, event.code, event.sentence)
        wait = FETCH_WAITS_S[min(self._failures, len(FETCH_WAITS_S)) - 1]
        self._due = now + wait * (0.5 + self._chance.random() / 2)
        entry = self._keep(entry, attempt=entry.attempt + 1)
        return self._note(entry, event.code, event.sentence) or [m.Save(entry)]

    def _note(self, entry: Entry, code: UpdateCode, sentence: str) -> list[Effect]:
        """Tell why it waits, once for each reason."""
        if entry.code == code:
            return []
        return [self._put(self._keep(entry, code=code, detail=_short(sentence), revision=entry.revision + 1))]

    def _trial_over(self, now: Instant) -> bool:
        if self._trial is None:
            self._trial = _Trial(now, now)
        entry = self.current
        undecided = entry is not None and not entry.verdict
        return undecided and now - self._trial.since >= self._limits.self_test_s

    def _not_saved(self, now: Instant) -> list[Effect]:
        """As if nothing had been decided; later what is saved is gone on with, as after a restart."""
        held = self.holding
        self._entries = dict(self._undo)
        self._telling.clear()
        self._work += 1
        self._forget_run()
        self._due = self._tell_at = now + AGAIN_S
        return [m.GiveUp(), *([m.Release()] if held and not self.holding else [])]

    def _overdue(self, now: Instant) -> list[Effect]:
        if self._tell_at is not None and now >= self._tell_at:
            self._tell_at = None
        if self._due is not None and now >= self._due:
            return self._go_on(now)
        return []

    def _hasten(self, now: Instant) -> None:
        """With the link the repository is often back too; not all devices ask at the same moment."""
        entry = self.current
        if entry is not None and entry.state == "downloading" and self._due is not None:
            self._due = min(self._due, now + self._chance.random() * FETCH_WAITS_S[0])

    # What is written and told.

    def _move(self, entry: Entry, event: str, **changes: object) -> m.Save:
        changes = {"code": UpdateCode.NONE, "detail": "", **changes}
        changes["detail"] = _short(str(changes["detail"]))
        state = UPDATE.apply(entry.state, event)
        return self._put(self._keep(entry, state=state, revision=entry.revision + 1, **changes))

    def _keep(self, entry: Entry, **changes: object) -> Entry:
        changed = msgspec.structs.replace(entry, **changes)
        self._entries[entry.update] = changed
        return changed

    def _put(self, entry: Entry) -> m.Save:
        self._entries[entry.update] = entry
        return m.Save(entry)

    def _told(self, update: str, revision: int) -> list[Effect]:
        self._telling.pop(update, None)
        entry = self._entries.get(update)
        if entry is None or entry.told >= revision:
            return []
        return [self._put(msgspec.structs.replace(entry, told=revision))]

    def _news(self) -> list[Effect]:
        if self._tell_at is not None:
            return []
        effects: list[Effect] = []
        for entry in self._entries.values():
            if entry.told < entry.revision and self._telling.get(entry.update, 0) < entry.revision:
                self._telling[entry.update] = entry.revision
                effects.append(m.Tell(news(entry)))
        return effects


def news(entry: Entry) -> UpdateNews:
    """What the cloud is told of an entry."""
    return UpdateNews(
        update=entry.update,
        component=entry.order.component,
        version=entry.order.version,
        revision=entry.revision,
        state=entry.state,
        attempt=entry.attempt,
        code=entry.code,
        detail=entry.detail,
    )


def _rank(effect: Effect) -> int:
    match effect:
        case m.GiveUp():
            return 0
        case m.Save():
            return 1
        case m.Answer():
            return 2
        case m.Tell():
            return 3
        case _:
            return 4


def _same(version: str, other: str) -> bool:
    try:
        return version_key(version) == version_key(other)
    except MalformedError:
        return version == other


def _older(version: str, than: str) -> bool:
    """Whether `version` is older; what runs and has no version in our sense is older than everything."""
    try:
        return version_key(version) < version_key(than)
    except MalformedError:
        return False


def _short(sentence: str) -> str:
    return sentence if len(sentence) <= DETAIL_LENGTH_MAX else sentence[: DETAIL_LENGTH_MAX - 1] + "…"
