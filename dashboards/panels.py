"""What the fleet's dashboard shows: one typed list, from which queries and Grafana's JSON are made.

A metric is one of `contract.telemetry.METRICS`, and each of those is on at least one panel. A description
says what is seen and what to do about it. Thresholds go upwards; the first has no value and holds from below.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from contract.telemetry import BY_NAME

Colour = Literal["green", "orange", "red"]


class Aggregation(Enum):
    """How many devices become what is drawn; each device counts by its last sample."""

    HEARD = "how many devices have sent the metric"
    EQUAL = "how many devices say exactly `equals`"
    SUM = "the sum over devices"
    HIGHEST = "the highest device of each site"
    LOWEST = "the lowest device of each site"
    FARTHEST = "the device farthest from zero of each site"


PER_SITE: Final = {Aggregation.HIGHEST, Aggregation.LOWEST, Aggregation.FARTHEST}
"""These give one line a site and are drawn over time; the others are one number."""


@dataclass(frozen=True)
class Threshold:
    """From `value` upwards (in the panel's unit) the panel has this colour."""

    value: float | None
    colour: Colour


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel; `unit` is Grafana's identifier of it, `equals` belongs to `Aggregation.EQUAL` only."""

    title: str
    metric: str
    unit: str
    aggregation: Aggregation
    description: str
    thresholds: tuple[Threshold, ...]
    equals: int | None = None

    def __post_init__(self) -> None:
        assert self.metric in BY_NAME, f"{self.title}: {self.metric} is no metric of the contract"
        assert (self.equals is not None) == (self.aggregation is Aggregation.EQUAL), self.title


@dataclass(frozen=True)
class Row:
    """A heading and its panels."""

    title: str
    panels: tuple[Panel, ...]


def rising(orange: float, red: float) -> tuple[Threshold, ...]:
    """Good when low."""
    return (Threshold(None, "green"), Threshold(orange, "orange"), Threshold(red, "red"))


def falling(orange: float, green: float) -> tuple[Threshold, ...]:
    """Good when high."""
    return (Threshold(None, "red"), Threshold(orange, "orange"), Threshold(green, "green"))


HEALTHY = Row(
    "Is the fleet healthy?",
    (
        Panel(
            title="Devices heard",
            metric="uptime_s",
            unit="none",
            aggregation=Aggregation.HEARD,
            description="Devices whose health arrived in the last 2 minutes. Fewer than you have: open the "
            "status page, see which are offline and whether they share a site (one dead uplink).",
            thresholds=(Threshold(None, "red"), Threshold(1, "green")),
        ),
        Panel(
            title="Printers not ready",
            metric="printer_ready",
            unit="none",
            aggregation=Aggregation.EQUAL,
            equals=0,
            description="Kiosks whose printer does not answer or is stopped; they offer no documents. Look "
            "at paper and jams beside this, else switch the printer off and on and check its cable.",
            thresholds=rising(1, 3),
        ),
        Panel(
            title="Printers without paper",
            metric="printer_paper_empty",
            unit="none",
            aggregation=Aggregation.EQUAL,
            equals=1,
            description="Kiosks whose printer asks for paper. Send somebody with paper of the kind the tray "
            "is set to; printing goes on by itself.",
            thresholds=rising(1, 3),
        ),
        Panel(
            title="Printers jammed",
            metric="printer_jammed",
            unit="none",
            aggregation=Aggregation.EQUAL,
            equals=1,
            description="Kiosks whose printer reports a jam. Send a technician; then look on the documents "
            "page for a paper that is in doubt at that kiosk.",
            thresholds=rising(1, 2),
        ),
        Panel(
            title="Messages waiting on devices",
            metric="outbox_waiting",
            unit="short",
            aggregation=Aggregation.SUM,
            description="Messages that devices keep until the cloud has stored them. Growing: the broker or "
            "the ingest process does not keep up or is down; nothing is lost while this is below the limits.",
            thresholds=rising(2_000, 100_000),
        ),
        Panel(
            title="Samples dropped by policy",
            metric="outbox_dropped",
            unit="short",
            aggregation=Aggregation.SUM,
            description="Health samples that full devices gave up since they started; what must "
            "arrive is never dropped. Above zero: find the long outage; raise outbox.rows_max if it can "
            "recur and the disk has room.",
            thresholds=rising(1, 10_000),
        ),
    ),
)
MACHINES = Row(
    "Machines: the worst device of each site",
    (
        Panel(
            title="Processor",
            metric="cpu_pct",
            unit="percent",
            aggregation=Aggregation.HIGHEST,
            description="Processor time in use. Recorders work hard while a hall is in session. A kiosk that "
            "stays above 80 %: collect diagnostics, then restart its agent.",
            thresholds=rising(80, 95),
        ),
        Panel(
            title="Memory",
            metric="memory_pct",
            unit="percent",
            aggregation=Aggregation.HIGHEST,
            description="Memory in use. A line that climbs for days is a leak: collect diagnostics before "
            "you restart the agent.",
            thresholds=rising(80, 95),
        ),
        Panel(
            title="Disk",
            metric="disk_pct",
            unit="percent",
            aggregation=Aggregation.HIGHEST,
            description="Space used where the agent keeps its data. Above 80 %: see what grows; a full disk "
            "stops new documents before it loses kept messages.",
            thresholds=rising(80, 95),
        ),
        Panel(
            title="Temperature",
            metric="temperature_c",
            unit="celsius",
            aggregation=Aggregation.HIGHEST,
            description="Hottest processor sensor. Above 75 °C: clean the fan filter, check sun and heating "
            "at the site.",
            thresholds=rising(75, 90),
        ),
        Panel(
            title="Clock skew",
            metric="clock_skew_ms",
            unit="ms",
            aggregation=Aggregation.FARTHEST,
            description="Device clock against server clock, without its sign. Above a second: check that the "
            "device reaches its time server; certificates fail when it grows to hours.",
            thresholds=rising(1_000, 60_000),
        ),
        Panel(
            title="Shortest uptime",
            metric="uptime_s",
            unit="s",
            aggregation=Aggregation.LOWEST,
            description="Time since the most recent start at the site. A line that falls back again and "
            "again is a device that restarts: check power and temperature.",
            thresholds=falling(600, 3_600),
        ),
    ),
)
HARDWARE = Row(
    "Kiosks and halls",
    (
        Panel(
            title="Printers stopped",
            metric="printer_state",
            unit="none",
            aggregation=Aggregation.EQUAL,
            equals=5,
            description="Printers in state stopped (RFC 8011). The display of the printer says why; the "
            "agent prints again once it is idle.",
            thresholds=rising(1, 3),
        ),
        Panel(
            title="Lowest toner",
            metric="printer_toner_pct",
            unit="percent",
            aggregation=Aggregation.LOWEST,
            description="Lowest marker level of each site. Below 15 %: bring a cartridge with the next "
            "round; below 5 % at once.",
            thresholds=falling(5, 15),
        ),
        Panel(
            title="Loudest microphone",
            metric="microphone_level_dbfs",
            unit="dB",
            aggregation=Aggregation.HIGHEST,
            description="Loudness of the last second, below full scale. During a sitting below -60: the "
            "microphone is muted or unplugged. Near 0: turn the gain down, captions suffer.",
            thresholds=(
                Threshold(None, "red"),
                Threshold(-60, "orange"),
                Threshold(-45, "green"),
                Threshold(-3, "red"),
            ),
        ),
        Panel(
            title="Recordings that wait",
            metric="recordings_waiting_bytes",
            unit="bytes",
            aggregation=Aggregation.HIGHEST,
            description="Recorded sound that is only on the recorder. Half a gigabyte is an hour and a half: "
            "look whether the control plane is reached, and at upload_refused in the recorder's log.",
            thresholds=rising(500_000_000, 5_000_000_000),
        ),
        Panel(
            title="Recorders full",
            metric="recordings_full",
            unit="none",
            aggregation=Aggregation.EQUAL,
            equals=1,
            description="Recorders that record nothing because their disk is full. Let what waits be "
            "uploaded, or free some space; it goes on by itself.",
            thresholds=rising(1, 1.5),
        ),
    ),
)
ROWS: Final = (HEALTHY, MACHINES, HARDWARE)
