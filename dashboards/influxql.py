"""Panels as InfluxQL, for InfluxDB 1.x and for the InfluxQL interface of its followers.

InfluxQL cannot compare inside a sum, so that a count of nothing is an empty answer, not a 0; the panel then
shows "0" for "no value". It knows neither `abs` nor the age of a point.
"""

from typing import Final

from dashboards.panels import FILTERS, Aggregation, Drawing, Panel

HEARD_WITHIN: Final = "2m"
"""As in `promql`."""


def queries(panel: Panel, *, filtered: bool = True) -> tuple[str, ...]:
    """The panel's queries; `${site:regex}`, `$timeFilter` and the like are Grafana's to fill in."""
    over_time = panel.drawing in {Drawing.LINES, Drawing.STATES}
    chosen = _chosen(FILTERS) if filtered and panel.filtered else ""
    groups = ", ".join(f'"{group}"' for group in panel.groups)
    last = (
        f'SELECT last("{panel.metric}") AS "v" FROM "{panel.measurement}" '
        f"WHERE time > now() - {HEARD_WITHIN}{chosen} GROUP BY {', '.join(map(_quoted, _with_device(panel)))}"
    )
    match panel.aggregation:
        case Aggregation.BELOW:
            return (f'SELECT count("v") FROM ({last}) WHERE "v" < {panel.limit:g}',)
        case Aggregation.FROM:
            return (f'SELECT count("v") FROM ({last}) WHERE "v" >= {panel.limit:g}',)
        case Aggregation.ZEROS:
            return (f'SELECT count("v") - sum("v") FROM ({last})',)
        case Aggregation.SUM:
            return (f'SELECT sum("v") FROM ({last})',)
        case Aggregation.RATE:
            what = f'non_negative_derivative(max("{panel.metric}"), 1s)'
            return (_over_time(what, panel, chosen, groups),)
        case Aggregation.HIGHEST:
            which: tuple[str, ...] = ("max",)
        case Aggregation.LOWEST:
            which = ("min",)
        case Aggregation.EXTREMES:
            which = ("max", "min")
    if over_time:
        return tuple(_over_time(f'{each}("{panel.metric}")', panel, chosen, groups) for each in which)
    return tuple(f'SELECT {each}("v") FROM ({last}) GROUP BY {groups}' for each in which)


def values_of(tag: str) -> str:
    """The choices of a variable, narrowed by the variables before it."""
    former = FILTERS[: FILTERS.index(tag)]
    narrowed = " WHERE " + _chosen(former).removeprefix(" AND ") if former else ""
    return f'SHOW TAG VALUES FROM "link" WITH KEY = "{tag}"{narrowed}'


def _over_time(what: str, panel: Panel, chosen: str, groups: str) -> str:
    return (
        f'SELECT {what} FROM "{panel.measurement}" WHERE $timeFilter{chosen} '
        f"GROUP BY time($__interval), {groups} fill(none)"
    )


def _chosen(names: tuple[str, ...]) -> str:
    return "".join(f' AND "{name}" =~ /^${{{name}:regex}}$/' for name in names)


def _with_device(panel: Panel) -> tuple[str, ...]:
    return panel.groups if "device" in panel.groups else (*panel.groups, "device")


def _quoted(name: str) -> str:
    return f'"{name}"'
