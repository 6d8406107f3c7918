"""What a panel is: which metric, how devices become numbers, how it is drawn, and what to do about it.

From panels come queries (`promql`, `influxql`), Grafana's JSON (`grafana`) and alert rules (`rules`). The
panels themselves are in `fleet` and `kiosk`. A metric is one of `contract.telemetry`.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

from contract.telemetry import (
    AUTHORITY_METRICS,
    BROKER_METRICS,
    INCIDENT_METRICS,
    INGEST_METRICS,
    LEDGER_METRICS,
    LINK_METRICS,
    METRICS,
)

Colour = Literal["green", "orange", "red", "blue"]
Measurement = Literal["health", "link", "ingest", "ledger", "incident", "broker", "authority"]
NAMES: Final = {
    "health": {metric.name for metric in METRICS},
    "link": {metric.name for metric in LINK_METRICS},
    "ingest": {metric.name for metric in INGEST_METRICS},
    "ledger": {metric.name for metric in LEDGER_METRICS},
    "incident": {metric.name for metric in INCIDENT_METRICS},
    "broker": {metric.name for metric in BROKER_METRICS},
    "authority": {metric.name for metric in AUTHORITY_METRICS},
}
FILTERS: Final = ("site", "kind", "device")
"""Tags of each sample; on a dashboard these are the variables, each narrowed by those before it."""


class Aggregation(Enum):
    """How devices become what is drawn; each device counts by its last sample, two minutes old at most."""

    BELOW = "how many devices are below `limit`"
    FROM = "how many devices are at `limit` or above"
    SUM = "the sum over devices; of a metric that is 0 or 1, how many say 1"
    ZEROS = "how many devices say 0, of a metric that is 0 or 1"
    HIGHEST = "the highest of each group"
    LOWEST = "the lowest of each group"
    EXTREMES = "the highest and the lowest of each group"
    RATE = "growth of a counter in a second"


class Drawing(Enum):
    """The kind of panel."""

    NUMBER = "one number, or one for each group, of now"
    LINES = "a line for each group over the chosen time"
    STATES = "a band of coloured states for each group over the chosen time"
    TABLE = "a row for each group, of now, the highest first"


@dataclass(frozen=True)
class Threshold:
    """From `value` upwards (in the panel's unit) the panel has this colour."""

    value: float | None
    colour: Colour


@dataclass(frozen=True)
class State:
    """What a value means to a person."""

    value: int
    text: str
    colour: Colour


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel; `unit` is Grafana's identifier of it. `groups` are tags; without any all devices are one."""

    title: str
    metric: str
    unit: str
    aggregation: Aggregation
    drawing: Drawing
    description: str
    thresholds: tuple[Threshold, ...]
    measurement: Measurement = "health"
    groups: tuple[str, ...] = ()
    limit: float | None = None
    states: tuple[State, ...] = ()

    def __post_init__(self) -> None:
        counting = {Aggregation.BELOW, Aggregation.FROM}
        known = NAMES[self.measurement]
        assert self.metric in known, f"{self.title}: {self.metric} is no metric of the contract"
        assert (self.limit is not None) == (self.aggregation in counting), self.title
        assert bool(self.states) == (self.drawing is Drawing.STATES), self.title

    @property
    def filtered(self) -> bool:
        """Whether the dashboard's variables apply; they do not to what is about ourselves."""
        return self.measurement not in ("ingest", "incident", "broker", "authority")


@dataclass(frozen=True)
class Row:
    """A heading and its panels; a folded row shows none until it is opened."""

    title: str
    panels: tuple[Panel, ...]
    folded: bool = False


@dataclass(frozen=True)
class Board:
    """A dashboard. `drill_down` is the name of the one that data links lead to."""

    name: Literal["fleet", "kiosk"]
    title: str
    rows: tuple[Row, ...]
    drill_down: Literal["kiosk"] | None = None

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All of all rows."""
        return tuple(panel for row in self.rows for panel in row.panels)


def rising(limits: tuple[float, float]) -> tuple[Threshold, ...]:
    """Good when low: orange and red from the two limits on."""
    return (Threshold(None, "green"), Threshold(limits[0], "orange"), Threshold(limits[1], "red"))


def falling(limits: tuple[float, float]) -> tuple[Threshold, ...]:
    """Good when high: orange and green from the two limits on."""
    return (Threshold(None, "red"), Threshold(limits[0], "orange"), Threshold(limits[1], "green"))


def around_zero(limits: tuple[float, float]) -> tuple[Threshold, ...]:
    """Good near zero, on both sides."""
    orange, red = limits
    return (
        Threshold(None, "red"),
        Threshold(-red, "orange"),
        Threshold(-orange, "green"),
        Threshold(orange, "orange"),
        Threshold(red, "red"),
    )
