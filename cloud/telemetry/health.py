"""What an operator must look at: decided from presence and the newest values, without I/O."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from cloud.telemetry.store import Last
from contract.twin import INTERVAL_USUAL_S

SILENT_AFTER = timedelta(seconds=60)
"""A connected device sends every 10 s; six are missing."""
SAMPLES_SILENT = 3
"""Missing samples of a device that sends less often."""
DISK_PCT = 90.0
MEMORY_PCT = 95.0
TEMPERATURE_C = 80.0
"""Below the throttling point of common boards (85 °C on a Raspberry Pi 4)."""
SKEW_MS = 60_000
"""Certificates and time stamps begin to suffer."""
OUTBOX_WAITING = 500
TONER_PCT = 5.0


class Concern(StrEnum):
    """Something that a person should do something about."""

    OFFLINE = "offline"
    FLAPPING = "flapping"
    SILENT = "silent"
    PAPER = "paper"
    JAM = "jam"
    PRINTER = "printer"
    TONER = "toner"
    DISK = "disk"
    MEMORY = "memory"
    HOT = "hot"
    CLOCK = "clock"
    OUTBOX = "outbox"


class Newcomer(StrEnum):
    """A registered device that was never enrolled."""

    AWAITED = "awaited"
    TOKENLESS = "tokenless"


def newcomer(online: bool, *, enrolled: bool, invited: bool) -> Newcomer | None:
    """Whether a device need not be here yet; `invited` is one whose token is open.

    Whoever prepares many devices at once is not told that each is away. Once its token has ended the device
    cannot come, and it is the token that somebody must do something about.
    """
    if online or enrolled:
        return None
    return Newcomer.AWAITED if invited else Newcomer.TOKENLESS


def concerns(
    online: bool,
    latest: Mapping[str, Last],
    now: datetime,
    *,
    sampling_s: float = INTERVAL_USUAL_S,
    flapping: bool = False,
    expected_off: bool = False,
) -> list[Concern]:
    """What is wrong with one device; nothing means that it is well.

    Of a device that is not connected only that is said, unless it is off as expected: its values are old. A
    wrong clock is reckoned with when its samples' age is judged, and that it sends every `sampling_s`.
    """
    if not online:
        return [] if expected_off else [Concern.OFFLINE]
    found = [Concern.FLAPPING] if flapping else []
    skew = latest["clock_skew_ms"].value if "clock_skew_ms" in latest else 0.0
    seen = max((last.at - skew for last in latest.values()), default=0)
    silent_s = max(SILENT_AFTER.total_seconds(), SAMPLES_SILENT * sampling_s)
    if now.timestamp() * 1000 - seen > silent_s * 1000:
        found.append(Concern.SILENT)

    def value(metric: str) -> float | None:
        last = latest.get(metric)
        return last.value if last else None

    def above(metric: str, limit: float) -> bool:
        measured = value(metric)
        return measured is not None and measured > limit

    if value("printer_paper_empty") == 1:
        found.append(Concern.PAPER)
    if value("printer_jammed") == 1:
        found.append(Concern.JAM)
    if value("printer_ready") == 0 and not {Concern.PAPER, Concern.JAM} & set(found):
        found.append(Concern.PRINTER)
    toner = value("printer_toner_pct")
    if toner is not None and toner < TONER_PCT:
        found.append(Concern.TONER)
    limits = (
        (above("disk_pct", DISK_PCT), Concern.DISK),
        (above("memory_pct", MEMORY_PCT), Concern.MEMORY),
        (above("temperature_c", TEMPERATURE_C), Concern.HOT),
        (abs(skew) > SKEW_MS, Concern.CLOCK),
        (above("outbox_waiting", OUTBOX_WAITING), Concern.OUTBOX),
    )
    return found + [concern for wrong, concern in limits if wrong]
