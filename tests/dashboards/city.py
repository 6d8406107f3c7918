"""A small city's last minutes, as its devices send them and our ingest stores them, with planted faults."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

from cloud.broker_figures import Broker
from cloud.enrolment import ends
from cloud.enrolment.ends import End, What
from cloud.link import series
from cloud.link.books import Account
from cloud.link.core import Numbers
from cloud.telemetry import control_metrics, own_metrics
from cloud.telemetry.control_metrics import Incidents
from cloud.telemetry.core import Member
from cloud.telemetry.keeper import Keeper
from cloud.telemetry.ledger import Ledger
from cloud.telemetry.own_metrics import OwnMetrics
from cloud.telemetry.store import Point
from cloud.telemetry.store_influx import InfluxStore
from cloud.telemetry.store_memory import MemoryStore
from contract.messages import Lane, encode, seal
from contract.telemetry import Sample, TelemetryBatch, Value
from simulators.city.plan import Plan
from tests.dashboards.influx import Influx

PLAN = Plan(data=Path(), cache=Path())
DEVICES = [*PLAN.kiosk_ids, *PLAN.hall_ids]
PERIOD_S = 10
LASTS_S = 900
WELL_S = 600
"""Until so long before the end all is well; then the faults begin."""
SILENT, NO_PAPER, HOT, FULL, SKEWED, JAMMED, LATE, COPIED = (
    "kiosk-03",
    "kiosk-05",
    "kiosk-07",
    "kiosk-09",
    "kiosk-11",
    "kiosk-12",
    "kiosk-13",
    "kiosk-14",
)
SILENT_S = 480
SKEW_MS = -20_000
DEAF_S = 400.0
LATE_MS = 4_500
"""From measurement to the broker, by a slow uplink."""
REFUSED = 3


def member(device: str) -> Member:
    """As the registry has it."""
    return Member(PLAN.site(device), "recorder" if device in PLAN.hall_ids else "kiosk")


def health(device: str, left_s: int) -> dict[str, Value]:
    """What the device measures `left_s` seconds before the end."""
    number = DEVICES.index(device)
    faulty = left_s < WELL_S
    found: dict[str, Value] = {
        "cpu_pct": 10.5 + number,
        "memory_pct": 20.5 + number,
        "disk_pct": 30.5 + number,
        "temperature_c": 86.5 if faulty and device == HOT else 40.5 + number,
        "uptime_s": 100_000 + number - left_s,
        "clock_skew_ms": SKEW_MS if faulty and device == SKEWED else 5 * number,
        "outbox_waiting": 600 if faulty and device == FULL else 1,
        "outbox_dropped": 40 if faulty and device == FULL else 0,
        "outbox_bytes": 300_000 + number,
        "certificate_days_left": 60.5 - number,
        "certificate_failures": 0,
        "outbox_refused": 2 if faulty and device == FULL else 0,
        "link_taken_over": 9 if faulty and device == COPIED else 0,
    }
    if device in PLAN.hall_ids:
        return found | {
            "microphone_level_dbfs": -30.5 - number,
            "recordings_waiting_bytes": 10_000_000 + number,
            "recordings_full": False,
        }
    stopped = faulty and device in (NO_PAPER, JAMMED)
    return found | {
        "printer_state": 5 if stopped else 3 + number % 2,
        "printer_ready": not stopped,
        "printer_paper_empty": faulty and device == NO_PAPER,
        "printer_jammed": faulty and device == JAMMED,
        "printer_toner_pct": 90.5 - number,
    }


def account(device: str, left_s: int = 0) -> Account:
    """The device's ledger `left_s` seconds before the end."""
    number = DEVICES.index(device)
    faulty = left_s < WELL_S
    full, copied = faulty and device == FULL, faulty and device == COPIED
    return Account(
        device=device,
        kind=member(device).kind,
        site=member(device).site,
        numbers=Numbers(
            stored=1000 + number,
            missing=2 if full else 0,
            dropped=40 if full else 0,
            undeclared=3 if full else 0,
            repeated=number,
        ),
        refused={"malformed": number},
        skew_ms=5 * number - 1,
        returns=4 if copied else 0,
        shared=copied,
    )


def last(device: str) -> dict[str, Value]:
    """The device's last values."""
    return health(device, SILENT_S if device == SILENT else 0)


def heard(device: str) -> bool:
    """Whether it is heard at the end."""
    return device != SILENT


class LineStore(MemoryStore):
    """Puts points into InfluxDB 1.6 as our adapter's lines, by the write API that this one has."""

    def __init__(self, influx: Influx) -> None:
        super().__init__()
        self._influx = influx
        self._adapter = InfluxStore(influx.url, bucket="fleet", org="fleet")

    def write(self, points: Sequence[Point]) -> None:
        """See `TelemetryStore`."""
        self._influx.write("\n".join(self._adapter._line(point) for point in points))

    def close(self) -> None:
        """See `TelemetryStore`."""
        self._adapter.close()


@dataclass
class Time:
    """The ingest's clock."""

    now_s: float

    def wall(self) -> datetime:
        return datetime.fromtimestamp(self.now_s, UTC)

    def monotonic(self) -> float:
        return self.now_s


def messages(left_s: int, now_s: int, seq: int) -> Iterator[tuple[str, bytes]]:
    """What every device sends at one moment; garbage of one that is not well made, early on."""
    for device in DEVICES:
        if device == SILENT and left_s < SILENT_S:
            continue
        at = now_s * 1000 + int(health(device, left_s)["clock_skew_ms"]) - (LATE_MS if device == LATE else 0)
        body = encode(TelemetryBatch(samples=[Sample(at=at, values=health(device, left_s))]))
        yield (
            device,
            seal(body, boot="b", lane=Lane.TELEMETRY, seq=seq, at=at, sent=at, historical=False, kept_from=0),
        )
        if seq <= REFUSED and device == DEVICES[0]:
            yield device, b"garbage"


def ledger_points(left_s: int, now_s: int) -> list[Point]:
    """What the control plane writes."""
    return [
        Point(
            device,
            member(device).site,
            member(device).kind,
            now_s * 1000,
            series.values(account(device, left_s)),
            series.MEASUREMENT,
        )
        for device in DEVICES
    ]


def broker(left_s: int) -> dict[str, float]:
    """The broker's own figures `left_s` seconds before the end; at the end it drops and is nearly full."""
    faulty = left_s < WELL_S
    return {
        "dropped": 7 if faulty else 0,
        "drops_5min": 7 if faulty else 0,
        "connections": 17_000 if faulty else 30,
        "full_pct": 85.0 if faulty else 0.2,
        "sessions": 31,
        "stored_messages": 60,
        "stored_bytes": 9_000,
        "received": 100_000 - 3 * left_s,
        "sent": 200_000 - 4 * left_s,
    }


FORMER_DEVICES = 5
DAYS_LEFT = {
    What.ISSUER: (1_500.5, 364.5),
    What.ROOT: (7_000.5, 729.5),
    What.SERVERS: (300.5, 29.5),
    What.REVOCATIONS: (20.5, -0.5),
}
"""While all is well, and at the end."""


def authority(left_s: int) -> dict[str, float | int]:
    """What the fleet's trust hangs on, `left_s` seconds before the end."""
    at = datetime.fromtimestamp(0, UTC)
    faulty = left_s < WELL_S
    found = [End(what, "x", at + timedelta(days=days[faulty])) for what, days in DAYS_LEFT.items()]
    return dict(ends.values(found, FORMER_DEVICES if faulty else 0, at))


def control_points(left_s: int, now_s: int) -> list[Point]:
    """Incidents and the broker, as the control plane writes them; the ingest listens until near the end.

    Beside them is what it writes of the authorities.
    """
    faulty = left_s < WELL_S
    site = {member(SILENT).site: 1} if faulty else {}
    sites = frozenset(member(device).site for device in DEVICES)
    at = datetime.fromtimestamp(now_s, UTC)
    incidents = Incidents(sites, site, site, DEAF_S if faulty else 0.0)
    values = tuple(authority(left_s).items())
    hangs_on = Point(
        control_metrics.NAME, own_metrics.SITE, own_metrics.KIND, now_s * 1000, values, ends.MEASUREMENT
    )
    return [*control_metrics.points(at, incidents, Broker(at, broker(left_s), 0)), hangs_on]


def fill(store: InfluxStore | LineStore, folder: Path, now_s: int) -> None:
    """Let the ingest's keeper store the last minutes before `now_s`, and report of itself."""
    time = Time(now_s - LASTS_S)
    ledger = Ledger(folder / "telemetry.db")
    keeper = Keeper(
        store,
        ledger,
        lambda: {device: member(device) for device in DEVICES},
        clock=time.wall,
        monotonic=time.monotonic,
        stop=Event(),
        own=OwnMetrics("svc-ingest", time.wall()),
    )
    try:
        for seq, left_s in enumerate(range(LASTS_S, -1, -PERIOD_S), 1):
            time.now_s = now_s - left_s
            keeper.keep(list(messages(left_s, int(time.now_s), seq)))
            keeper.report()
            store.write(ledger_points(left_s, int(time.now_s)))
            store.write(control_points(left_s, int(time.now_s)))
    finally:
        ledger.close()
        store.close()
