"""Whether two machines use one device's identity: the decision, without I/O.

The broker lets one client with a name in and puts the other out, so that two machines with one certificate
take the session from each other, each under a boot of its own: A, B, A … A restart of the agent is always a
boot that was never there before, so a boot that *comes back* after another has replaced it is a second
machine. Messages say nothing here: an agent sends what earlier boots have left, under their names. A
machine that was copied while it ran has the same boot; then the numbers of connections within the boot go
back, which they never do in one.

What is said of one coming may itself come twice (at least once is what the broker promises); the number of
the connection, and what the device's clock said then (`at`), tell a second coming from a second copy.
"""

from itertools import pairwise
from typing import NamedTuple

SEEN_MAX = 16
"""Comings that are remembered of each device."""
WITHIN_S = 3600.0
"""A boot that comes back later than this is no sign any more; two machines meet within minutes."""
SHARED_FOR_S = 3600.0
"""So long after the last return the identity counts as shared."""


class Coming(NamedTuple):
    """A device came online under `boot`; `said_ms` is its own clock, `at_ms` the server's.

    `connection` is the number within the boot, 0 where an older agent does not say it.
    """

    boot: str
    connection: int
    said_ms: int
    at_ms: int


def note(seen: tuple[Coming, ...], coming: Coming) -> tuple[tuple[Coming, ...], bool]:
    """What to remember after `coming`, and whether it proves a second machine."""
    if any(known[:3] == coming[:3] for known in seen):
        return seen, False
    recent = [known for known in seen if abs(coming.at_ms - known.at_ms) <= WITHIN_S * 1000]
    steps = pairwise([*recent, coming])
    replaced = {before.boot for before, after in steps if before.boot != after.boot}
    copied = any(known.boot == coming.boot and known.connection >= coming.connection > 0 for known in recent)
    return (*recent, coming)[-SEEN_MAX:], coming.boot in replaced or copied


def is_shared(returned_at_ms: int | None, now_ms: int) -> bool:
    """Whether two machines use the identity, as far as the last return tells."""
    return returned_at_ms is not None and now_ms - returned_at_ms <= SHARED_FOR_S * 1000
