"""Bugs that are planted to see the worlds find them: a world that finds none of these proves nothing.

Each is a small change to what a core decides, or to what the code around it does or believes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from cloud.devices.presence import Known, Said
from cloud.twin.core import Twin
from cloud.watermark import Verdict, Watermark, note
from contract.link import DroppedRange
from contract.messages import AT_MAX_MS, AT_MIN_MS
from edge_agent.documents import printing as p
from edge_agent.documents.printer import JobState, PrinterJob
from edge_agent.link import outbox as o
from edge_agent.link import reconnection as r
from edge_agent.recordings.records import Record
from edge_agent.twin import core as t
from simulators.world.faults import Fault


@dataclass(frozen=True)
class Plant:
    """No bug. A flag or a method of another value is one."""

    syncs: bool = True
    trusts_broker: bool = False
    blind: bool = False
    believes_full_disk: bool = False
    notices_loss: bool = True
    acknowledges_early: bool = False
    counts_anew: bool = False
    second_lock: bool = True
    saves_in_place: bool = False
    positions_stand_still: bool = False
    watches: bool = True
    impatient: bool = False
    flashes_in_place: bool = False
    dates_by_wall_clock: bool = False
    deaf_without_time: bool = False
    declares_silence: bool = True
    trusts_positions: bool = False
    uses_reserve: bool = True
    makes_reserve: bool = True
    gives_up: bool = True
    ends_at_issue: bool = False
    throws_old_certificates_away: bool = False
    proves_by_any_link: bool = False
    gives_certificates_up: bool = True
    shows_next: bool = True
    believes_cloud_time: bool = True
    spreads_requests: bool = True
    tells_of_changes: bool = True
    applies_deltas: bool = False

    def pending(self, ranges: tuple[DroppedRange, ...]) -> tuple[DroppedRange, ...]:
        """What is written down to be declared."""
        return ranges

    def reason(self, reason: r.Reason) -> r.Reason:
        """Why the link was lost, as the device sees it."""
        return reason

    def chance(self, rng: r.Chance) -> r.Chance:
        """The chance of the waits before a device dials."""
        return rng

    def moment(self, stamp: int, _wall_ms: int) -> int:
        """When something happened: a date or an offset."""
        return stamp

    def outbox(self, effects: list[o.Effect]) -> list[o.Effect]:
        """What the outbox decided."""
        return effects

    def resend_at(self, deadline: float | None) -> float | None:
        """When the outbox looks again."""
        return deadline

    def keeps(self, *, connected: bool) -> bool:  # noqa: ARG002 - a plant reads it
        """Whether a message is kept at all."""
        return True

    def kept_from(self, seq: int) -> int:
        """From where the device says that it still keeps."""
        return seq

    def boot(self, boot: str) -> str:
        """The id of a new boot."""
        return boot

    def now(self, monotonic: float, _wall_ms: int) -> float:
        """The time that the cores are told."""
        return monotonic

    def stamp(self, wall_ms: int) -> int:
        """The wall clock as messages carry it; one that was never set says 2020, as in `link.run`."""
        return min(max(wall_ms, AT_MIN_MS), AT_MAX_MS)

    def printing(self, effects: list[p.Effect]) -> list[p.Effect]:
        """What the print job decided."""
        return effects

    def printer(self, _record: p.Record, answer: p.Event) -> p.Event:
        """What the printer's adapter makes of its answer."""
        return answer

    def hears(self, _answer: p.Event) -> bool:
        """Whether the answer of a request comes back at all."""
        return True

    def note(self, mark: Watermark, seq: int, kept_from: int) -> tuple[Watermark, Verdict]:
        """The watermark after a message of the events lane."""
        return note(mark, seq, kept_from=kept_from)

    def placed_by(self, mark: Watermark | None) -> Watermark | None:
        """The watermark by which declared drops are told from what came all the same."""
        return mark

    def said(self, _known: Known, said: Said) -> Said:
        """What a word of a device's presence is taken for."""
        return said

    def twin(self, effects: list[t.Effect]) -> list[t.Effect]:
        """What the device's twin decided."""
        return effects

    def deleted(self, twin: Twin) -> Twin:
        """What is left of a twin that was deleted."""
        return twin

    def captures(self, captured: bool) -> bool:
        """What is made of the payment service's word."""
        return captured

    def record(self, record: Record) -> Record:
        """What is written down of a recording."""
        return record


class ForgetBeforeAck(Plant):
    """Sent is believed to be stored."""

    def outbox(self, effects: list[o.Effect]) -> list[o.Effect]:
        out: list[o.Effect] = []
        for effect in effects:
            out.append(effect)
            if isinstance(effect, o.Publish):
                out.append(o.Forget(effect.boot, effect.lane, effect.seq))
        return out


class PublishBeforeAppend(Plant):
    """The wire is faster than the disk."""

    def outbox(self, effects: list[o.Effect]) -> list[o.Effect]:
        return _first(effects, o.Publish)


class PrintBeforeLedger(Plant):
    """The paper first, the book-keeping after it."""

    def printing(self, effects: list[p.Effect]) -> list[p.Effect]:
        return _first(effects, p.Spool)


class SilentDrop(Plant):
    """Dropped messages are never declared."""

    def kept_from(self, seq: int) -> int:
        return min(seq, 1)


class ReuseBoot(Plant):
    """Every start counts from one under the same name."""

    def boot(self, boot: str) -> str:  # noqa: ARG002
        return "boot-0001"


class NeverResends(Plant):
    """What was published once is waited for until the connection breaks."""

    def resend_at(self, deadline: float | None) -> float | None:  # noqa: ARG002
        return None


class DropsWhenOffline(Plant):
    """What happens while the line is away was not important."""

    def keeps(self, *, connected: bool) -> bool:
        return connected


class WallClockTimers(Plant):
    """Deadlines are those of the wall clock."""

    def now(self, _monotonic: float, wall_ms: int) -> float:
        return wall_ms / 1000


class Stamps1970(Plant):
    """The wall clock is taken as it is."""

    def stamp(self, wall_ms: int) -> int:
        return wall_ms

    def moment(self, _stamp: int, wall_ms: int) -> int:
        return wall_ms


class DatesByGuess(Plant):
    """A clock that was never set is taken for one that says 2020."""

    def moment(self, _stamp: int, wall_ms: int) -> int:
        return self.stamp(wall_ms)


class ForgetsDrops(Plant):
    """What was dropped is declared only by the agent that dropped it."""

    def pending(self, ranges: tuple[DroppedRange, ...]) -> tuple[DroppedRange, ...]:  # noqa: ARG002
        return ()


class FightsBack(Plant):
    """Whoever took the session is thrown out at once."""

    def reason(self, reason: r.Reason) -> r.Reason:
        return "unavailable" if reason == "taken-over" else reason


class _Longest:
    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002
        return b


class NoJitter(Plant):
    """Every device waits as long as every other."""

    def chance(self, rng: r.Chance) -> r.Chance:  # noqa: ARG002
        return _Longest()


class SilenceIsRefusal(Plant):
    """A printer that does not answer has not got the paper."""

    def printer(self, record: p.Record, answer: p.Event) -> p.Event:
        spooled = record.state is p.State.SPOOLING and isinstance(answer, p.Silent)
        return p.SpoolRefused("no answer") if spooled else answer


class ForgottenIsPrinted(Plant):
    """A job that the printer does not know any more has been printed."""

    def printer(self, record: p.Record, answer: p.Event) -> p.Event:
        unknown = isinstance(answer, p.JobSeen) and answer.job is None
        return _told(record, JobState.COMPLETED, 1) if unknown else answer


class SilenceIsFailure(Plant):
    """A printer that fell silent while it printed has not printed."""

    def printer(self, record: p.Record, answer: p.Event) -> p.Event:
        silent = record.state is p.State.PRINTING and isinstance(answer, p.Silent)
        return _told(record, JobState.ABORTED, 0) if silent else answer


class StoppedIsGone(Plant):
    """A job that waits for paper will never be printed."""

    def printer(self, record: p.Record, answer: p.Event) -> p.Event:
        job = answer.job if isinstance(answer, p.JobSeen) else None
        waits = job is not None and job.state is JobState.PENDING
        return _told(record, JobState.ABORTED, 0) if waits else answer


class WaitsForEver(Plant):
    """A request that fails has no answer, and there is no timeout."""

    def hears(self, answer: p.Event) -> bool:
        return not (isinstance(answer, p.NotFetched) and not answer.final)


class HighestSeen(Plant):
    """The highest that came is acknowledged, whatever is missing below it."""

    def note(self, mark: Watermark, seq: int, kept_from: int) -> tuple[Watermark, Verdict]:
        if seq <= mark.seq:
            return mark, Verdict.SEEN
        return Watermark(max(seq, kept_from - 1)), Verdict.NEW


class DeclaredIsDropped(Plant):
    """What a device declares as dropped has not come."""

    def placed_by(self, mark: Watermark | None) -> Watermark | None:  # noqa: ARG002
        return None


class BelievesAnyWill(Plant):
    """Offline is offline, whichever boot it speaks of."""

    def said(self, known: Known, said: Said) -> Said:
        return said if said.online else Said(False, known.boot, known.connection)


class MissedIsCaptured(Plant):
    """A payment service that fails has done it all the same."""

    def captures(self, captured: bool) -> bool:  # noqa: ARG002
        return True


class KeepsNothing(Plant):
    """What is desired is done at once, and written down some other day."""

    def twin(self, effects: list[t.Effect]) -> list[t.Effect]:
        return [effect for effect in effects if not isinstance(effect, t.Keep)]


class ForgetsVersions(Plant):
    """A twin that was deleted begins anew."""

    def deleted(self, twin: Twin) -> Twin:
        return replace(twin, version=0)


class ForgetsTheFloor(Plant):
    """Who had the floor before the time was told is known only to the agent that heard it."""

    def record(self, record: Record) -> Record:
        undated = tuple(msgspec.structs.replace(each, floor=()) for each in record.undated)
        return msgspec.structs.replace(record, undated=undated)


@dataclass(frozen=True)
class Planted:
    """A bug. Each of `found_by` is a fault, with the company that it needs; that fault must show the bug.

    A bug that needs no fault has none there.
    """

    plant: Plant
    found_by: tuple[tuple[Fault, ...], ...]


F = Fault
PLANTS: dict[str, Planted] = {
    "forget-before-ack": Planted(ForgetBeforeAck(), ((F.LINK_CUT,), (F.LOSS,))),
    "never-resends": Planted(NeverResends(), ((F.LOSS,), (F.BROKER_DROPS, F.SLOW_CONSUMER, F.PARTITION))),
    "counts-every-arrival": Planted(Plant(counts_anew=True), ((F.DUPLICATION,),)),
    "deaf-without-time": Planted(Plant(deaf_without_time=True), ()),
    "forgets-the-floor": Planted(ForgetsTheFloor(), ((F.POWER_CUT, F.PARTITION),)),
    "silent-silence": Planted(Plant(declares_silence=False), ()),
    "trusts-positions": Planted(Plant(trusts_positions=True), ()),
    "one-lock": Planted(Plant(second_lock=False), ((F.DELAY,), (F.PARTITION,))),
    "highest-seen": Planted(HighestSeen(), ((F.REORDERING,),)),
    "declared-is-dropped": Planted(DeclaredIsDropped(), ((F.LOSS,),)),
    "stays-down": Planted(Plant(notices_loss=False), ((F.LINK_CUT,),)),
    "believes-any-will": Planted(BelievesAnyWill(), ((F.HALF_OPEN, F.POWER_CUT),)),
    "drops-when-offline": Planted(DropsWhenOffline(), ((F.PARTITION,), (F.BROKER_KILL,))),
    "silent-drop": Planted(SilentDrop(), ((F.PARTITION,),)),
    "publish-before-append": Planted(PublishBeforeAppend(blind=True), ((F.POWER_CUT,),)),
    "reuse-boot": Planted(ReuseBoot(), ((F.POWER_CUT,),)),
    "print-before-ledger": Planted(PrintBeforeLedger(), ((F.POWER_CUT_AT_WORK,),)),
    "flashes-in-place": Planted(Plant(flashes_in_place=True), ()),
    "never-syncs": Planted(Plant(syncs=False), ((F.UNSYNCED_TAIL, F.POWER_CUT),)),
    "saves-in-place": Planted(Plant(saves_in_place=True), ((F.TORN_WRITE, F.POWER_CUT_AT_WORK),)),
    "wall-clock-timers": Planted(WallClockTimers(), ((F.CLOCK_STEP, F.LOSS),)),
    "stamps-1970": Planted(Stamps1970(), ((F.COLD_CLOCK,),)),
    "believes-full-disk": Planted(Plant(believes_full_disk=True), ((F.DISK_FULL,),)),
    "trust-the-broker": Planted(Plant(trusts_broker=True), ((F.BROKER_KILL,),)),
    "ack-before-store": Planted(Plant(acknowledges_early=True), ((F.CLOUD_KILL,),)),
    "impatient": Planted(Plant(impatient=True), ((F.SLOW_CONSUMER,),)),
    "waits-for-ever": Planted(WaitsForEver(), ((F.HTTP_FAILURE,),)),
    "silence-is-refusal": Planted(SilenceIsRefusal(), ((F.PRINTER_SWALLOW,),)),
    "silence-is-failure": Planted(SilenceIsFailure(), ((F.PRINTER_SILENT,),)),
    "forgotten-is-printed": Planted(ForgottenIsPrinted(), ((F.PRINTER_CYCLE, F.PAPER_OUT),)),
    "stopped-is-gone": Planted(StoppedIsGone(), ((F.PAPER_OUT,),)),
    "missed-is-captured": Planted(MissedIsCaptured(), ((F.PAYMENTS_FAILURE,),)),
    "no-watchdog": Planted(Plant(watches=False), ((F.RECOGNISER_DEATH,), (F.MICROPHONE_LOSS,))),
    "dates-by-wall-clock": Planted(
        Plant(dates_by_wall_clock=True),
        ((F.CLOCK_STEP, F.PARTITION), (F.COLD_CLOCK, F.POWER_CUT, F.PARTITION), (F.CLOCK_DRIFT,)),
    ),
    "dates-by-guess": Planted(DatesByGuess(), ((F.COLD_CLOCK, F.POWER_CUT),)),
    "forgets-drops": Planted(ForgetsDrops(), ((F.POWER_CUT, F.PARTITION),)),
    "fights-back": Planted(FightsBack(), ((F.DOUBLE,),)),
    "never-gives-up": Planted(Plant(gives_up=False), ((F.DEAF,),)),
    "no-reserve": Planted(Plant(uses_reserve=False), ((F.DISK_FULL,),)),
    "reserve-used-once": Planted(Plant(makes_reserve=False), ((F.DISK_FULL,),)),
    "no-jitter": Planted(NoJitter(), ()),
    "positions-stand-still": Planted(Plant(positions_stand_still=True), ((F.MICROPHONE_LOSS,),)),
    "ends-at-issue": Planted(Plant(ends_at_issue=True), ()),
    "throws-old-away": Planted(Plant(throws_old_certificates_away=True), ()),
    "proves-by-any-link": Planted(Plant(proves_by_any_link=True), ()),
    "shows-no-next": Planted(Plant(shows_next=False), ((F.POWER_CUT_AT_WORK, F.PARTITION),)),
    "tries-for-ever": Planted(Plant(gives_certificates_up=False), ((F.WRONG_ISSUER,),)),
    "asks-at-once": Planted(Plant(spreads_requests=False), ((F.BLACKOUT,),)),
    "believes-own-clock": Planted(Plant(believes_cloud_time=False), ((F.CLOCK_STEP,),)),
    "keeps-no-settings": Planted(KeepsNothing(), ()),
    "applies-deltas": Planted(Plant(applies_deltas=True), ((F.REORDERING,),)),
    "forgets-versions": Planted(ForgetsVersions(), ()),
    "tells-nobody": Planted(Plant(tells_of_changes=False), ()),
}


def _told(record: p.Record, state: JobState, sheets: int) -> p.JobSeen:
    return p.JobSeen(PrinterJob(record.ipp_job_id or 1, record.document, state, (), sheets))


def _first(effects: Sequence[Any], kind: type) -> list[Any]:
    return [e for e in effects if isinstance(e, kind)] + [e for e in effects if not isinstance(e, kind)]
