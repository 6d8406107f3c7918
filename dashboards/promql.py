"""Panels as PromQL, in the dialect that Prometheus and VictoriaMetrics share."""

from typing import Final

from dashboards.panels import FILTERS, Aggregation, Drawing, Panel

HEARD_WITHIN: Final = "2m"
"""A device that was not heard for so long has no last sample; twelve sampling periods."""
PEAK_WITHIN: Final = "$__rate_interval"
"""Over time nothing between two points of a line is missed; Grafana fills it in, 40 s at least."""


def series(panel: Panel) -> str:
    """VictoriaMetrics names a series by measurement and field."""
    return f"{panel.measurement}_{panel.metric}"


def queries(panel: Panel, *, filtered: bool = True) -> tuple[str, ...]:
    """The panel's queries; `$site`, `$kind`, `$device` are Grafana's to fill in, where `filtered`.

    A count is 0 when devices were heard and none of them is meant, and empty when none was heard at all.
    """
    filters = ",".join(f'{name}=~"${name}"' for name in FILTERS) if filtered and panel.filtered else ""
    name = f"{series(panel)}{{{filters}}}" if filters else series(panel)
    groups = ", ".join(panel.groups)
    by_device = f"max by (device) (last_over_time({name}[{HEARD_WITHIN}]))"
    match panel.aggregation:
        case Aggregation.BELOW:
            return (f"sum({by_device} < bool {panel.limit:g})",)
        case Aggregation.FROM:
            return (f"sum({by_device} >= bool {panel.limit:g})",)
        case Aggregation.ZEROS:
            return (f"sum({by_device} == bool 0)",)
        case Aggregation.SUM:
            return (f"sum({by_device})",)
        case Aggregation.RATE:
            return (f"sum by ({groups}) (rate({name}[{PEAK_WITHIN}]))",)
        case Aggregation.HIGHEST:
            return (_extreme("max", name, groups, panel.drawing),)
        case Aggregation.LOWEST:
            return (_extreme("min", name, groups, panel.drawing),)
        case Aggregation.EXTREMES:
            return tuple(_extreme(which, name, groups, panel.drawing) for which in ("max", "min"))


def values_of(tag: str) -> str:
    """The choices of a variable, narrowed by the variables before it."""
    narrowed = ",".join(f'{former}=~"${former}"' for former in FILTERS[: FILTERS.index(tag)])
    return f"label_values(link_silent_s{{{narrowed}}}, {tag})"


def _extreme(which: str, name: str, groups: str, drawing: Drawing) -> str:
    if drawing is Drawing.LINES:
        return f"{which} by ({groups}) ({which}_over_time({name}[{PEAK_WITHIN}]))"
    return f"{which} by ({groups}) (last_over_time({name}[{HEARD_WITHIN}]))"
