"""How wrong a device's clock is, reckoned from what it sends: the decision, without I/O.

Each message says when it was sent by the device's clock; the cloud knows when it came. The difference, *sent
minus received*, is the clock's skew less the time on the way, and no message comes before it was sent: so the
skew is at least the largest difference seen, and the message that travelled fastest tells it best. That is
the minimum filter of NTP (RFC 5905, section 10: of eight samples the one with the least delay counts), for
one direction. A clock that was set back looks like a slow way at first; like NTP (its step-out, 900 s in
appendix A.1.1) we believe it when nothing else has come for a while, here 300 s.

What it says is used for judging and showing, never to restamp what a device said.
"""

from typing import NamedTuple

BUCKET_S = 60
WINDOW_S = 300
SAMPLES_MIN = 8
"""Differences in the window before it counts; as many as NTP's clock filter holds."""


class Bucket(NamedTuple):
    """The largest difference of one minute of the server's clock, and how many there were."""

    minute: int
    lead_ms: int
    samples: int


class Skew(NamedTuple):
    """`skew_ms` is the device's clock minus the server's, at least; None until enough has come."""

    skew_ms: int | None = None
    window: tuple[Bucket, ...] = ()


def note(known: Skew, lead_ms: int, at_s: float) -> Skew:
    """What is known after a message that was sent `lead_ms` later than it came, which was at `at_s`.

    A larger difference proves that the clock is ahead by so much, and is believed at once. A smaller one is
    believed when nothing better came for a whole window: till then it is a message that was long on its way.
    What was kept by the broker while nobody took it comes in one burst, which does not fill a window.
    """
    minute = int(at_s // BUCKET_S)
    first = minute - WINDOW_S // BUCKET_S + 1
    kept = [bucket for bucket in known.window if first <= bucket.minute <= minute]
    if kept and kept[-1].minute == minute:
        last = kept.pop()
        kept.append(Bucket(minute, max(last.lead_ms, lead_ms), last.samples + 1))
    else:
        kept.append(Bucket(minute, lead_ms, 1))
    best = max(bucket.lead_ms for bucket in kept)
    full = kept[0].minute == first and sum(bucket.samples for bucket in kept) >= SAMPLES_MIN
    if full:
        return Skew(best, tuple(kept))
    return Skew(None if known.skew_ms is None else max(known.skew_ms, best), tuple(kept))
