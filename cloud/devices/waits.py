"""Until when a device that was told to wait may be away, after the broker was taken on purpose. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

LATE_S = 60.0
"""What a device needs to be back and believed once its waiting time is over."""


@dataclass(frozen=True)
class Wait:
    """Devices of `site` ('' is every site) that lose the broker from `begins` to `ends` may stay away for
    `longest_s` seconds (`contract.link.Reconnect`)."""

    site: str
    begins: datetime
    ends: datetime
    longest_s: float


def expected_until(waits: Iterable[Wait], site: str, gone_at: datetime, now: datetime) -> datetime | None:
    """Until when a device of `site` that went at `gone_at` may be off; None when it should be there."""
    found = [
        gone_at + timedelta(seconds=each.longest_s + LATE_S)
        for each in waits
        if each.site in ("", site) and each.begins <= gone_at <= each.ends
    ]
    until = max(found, default=None)
    return until if until is not None and until > now else None
