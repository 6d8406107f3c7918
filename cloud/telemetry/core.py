"""What becomes of a handful of telemetry messages: points to store, marks to move, messages to refuse.

Pure: who is registered and which watermarks stand come in, everything that is to be written comes out.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cloud.refusals import Reason, Refusal, refusal
from cloud.telemetry.decode import Sample, samples
from cloud.telemetry.store import Point
from cloud.watermark import Key, Tally, Verdict, Watermark, note, tally
from contract.errors import MalformedError, UnknownVersionError
from contract.messages import AT_MAX_MS, AT_MIN_MS, MESSAGE_BYTES_MAX, Envelope, Lane, open_envelope

TOPIC_NAME = "telemetry"
NOTHING = Tally()
NEVER_MS = -2 * AT_MAX_MS
"""A difference of clocks that cannot be."""


@dataclass(frozen=True)
class Member:
    """What points are tagged with, from the registry; one that was never `enrolled` need not be heard."""

    site: str
    kind: str
    enrolled: bool = True


@dataclass
class Sorted:
    """The outcome; `messages`, `samples` and `values` count what had not come before, `lost` what never came.

    `oldest` is when the oldest of the messages that are not historical was measured: ms since 1970 UTC by the
    cloud's clock, as far as the device knows its own skew; `skews` has what devices know (ms). `leads` has
    the largest difference *sent minus received* of each device (ms), for `cloud.skew`. `excess` counts
    messages of each device that were not looked at.
    """

    points: list[Point] = field(default_factory=list)
    marks: dict[Key, Watermark] = field(default_factory=dict)
    tallies: dict[Key, Tally] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    excess: Mapping[str, int] = field(default_factory=dict)
    leads: dict[str, int] = field(default_factory=dict)
    messages: int = 0
    samples: int = 0
    values: int = 0
    lost: int = 0
    oldest: int | None = None
    skews: dict[str, int] = field(default_factory=dict)


def sort_out(
    messages: Sequence[tuple[str, bytes]],
    members: Mapping[str, Member],
    standing: Callable[[Key], Watermark],
    received_ms: int = 0,
) -> Sorted:
    """Sort out `messages`, each a device (from its topic) and a payload; `standing` gives a stored watermark.

    `received_ms` is when they came, by the cloud's clock. A message that came before is stored again, which
    changes nothing, so that a gap that was given up too early costs nothing. A malformed body counts as
    received; what is no envelope does not.
    """
    out = Sorted()
    in_order: Counter[Key] = Counter()
    for device, payload in messages:
        member = members.get(device)
        if member is None:
            out.refused.append(refusal(device, TOPIC_NAME, Reason.FOREIGN, payload))
            continue
        envelope, reason = _open(payload)
        if envelope is None:
            out.refused.append(refusal(device, TOPIC_NAME, reason, payload))
            continue
        key = Key(device, envelope.boot, envelope.lane)
        before = out.marks.get(key) or standing(key)
        after, verdict = note(before, envelope.seq, kept_from=envelope.kept_from, give_up=True)
        out.marks[key] = after
        if AT_MIN_MS <= envelope.sent <= AT_MAX_MS:
            lead_ms = envelope.sent - received_ms
            if lead_ms > out.leads.get(device, NEVER_MS):
                out.leads[device] = lead_ms
        try:
            found = samples(envelope.body)
        except MalformedError:
            found = None
        if found is not None and before.seq + 1 == after.seq and not (before.above or after.above):
            in_order[key] += 1  # nearly all; the general case costs more than the rest of the loop
        else:
            counted = tally(
                before, after, verdict, envelope.seq, kept_from=envelope.kept_from, refused=found is None
            )
            out.tallies[key] = out.tallies.get(key, NOTHING).plus(counted)
            out.lost += counted.given_up
        if found is None:
            if verdict is Verdict.NEW:
                out.refused.append(refusal(device, TOPIC_NAME, Reason.MALFORMED, payload))
            continue
        out.points += [Point(device, member.site, member.kind, at, values) for at, values in found]
        if verdict is Verdict.NEW:
            _count(out, found)
            if found and not envelope.historical:
                at, values = found[-1]
                skew = dict(values).get("clock_skew_ms")
                if skew is not None:
                    out.skews[device] = int(skew)
                measured = at - int(skew or 0)
                out.oldest = measured if out.oldest is None else min(out.oldest, measured)
    for key, count in in_order.items():
        out.tallies[key] = out.tallies.get(key, NOTHING).plus(Tally(stored=count))
    return out


def _open(payload: bytes) -> tuple[Envelope | None, Reason]:
    if len(payload) > MESSAGE_BYTES_MAX:
        return None, Reason.OVERSIZED
    try:
        envelope = open_envelope(payload)
    except UnknownVersionError:
        return None, Reason.VERSION
    except MalformedError:
        return None, Reason.NOT_AN_ENVELOPE
    if envelope.lane is not Lane.TELEMETRY:
        return None, Reason.WRONG_LANE
    if envelope.seq < 1:
        return None, Reason.NOT_AN_ENVELOPE
    return envelope, Reason.MALFORMED


def _count(out: Sorted, found: Sequence[Sample]) -> None:
    out.messages += 1
    out.samples += len(found)
    out.values += sum([len(values) for _, values in found])
