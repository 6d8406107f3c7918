"""Panels as PromQL, in the dialect that Prometheus and VictoriaMetrics share."""

from typing import Final

from dashboards.panels import Aggregation, Panel

MEASUREMENT: Final = "health"
"""VictoriaMetrics names a series measurement_field; the store writes each metric as a field of this one."""
HEARD_WITHIN: Final = "2m"
"""A device that was not heard for so long has no last sample; twelve sampling periods."""
FILTERS: Final = ("site", "kind", "device")
"""Tags of each sample, and the dashboard's variables."""


def series(metric: str) -> str:
    """The name under which the store shows a metric of the contract."""
    return f"{MEASUREMENT}_{metric}"


def query(panel: Panel) -> str:
    """The panel's query; `$site`, `$kind` and `$device` are Grafana's to fill in.

    A count is 0 when devices were heard and none of them is meant, and empty when none was heard at all.
    """
    filters = ",".join(f'{name}=~"${name}"' for name in FILTERS)
    last = f"last_over_time({series(panel.metric)}{{{filters}}}[{HEARD_WITHIN}])"
    by_device = f"max by (device) ({last})"
    match panel.aggregation:
        case Aggregation.HEARD:
            return f"count({by_device}) or vector(0)"
        case Aggregation.EQUAL:
            return f"sum({by_device} == bool {panel.equals})"
        case Aggregation.SUM:
            return f"sum({by_device})"
        case Aggregation.HIGHEST:
            return f"max by (site) ({last})"
        case Aggregation.LOWEST:
            return f"min by (site) ({last})"
        case Aggregation.FARTHEST:
            return f"max by (site) (abs({last}))"
