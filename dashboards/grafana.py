"""The typed panels as a Grafana dashboard (classic JSON, schema 42).

The builders leave panel ids empty and let a panel run over the right edge, so both are set here.
"""

import json
from typing import Final

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model

from dashboards.panels import PER_SITE, ROWS, Panel, Row
from dashboards.promql import FILTERS, query, series

GRID_WIDTH: Final = 24
STAT_SIZE: Final = (4, 4)
SERIES_SIZE: Final = (8, 8)
"""Width and height in Grafana's grid."""
SOURCE: Final = common_model.DataSourceRef(type_val="prometheus", uid="${metrics}")


def fleet(rows: tuple[Row, ...] = ROWS) -> build.Dashboard:
    """The Fleet dashboard: a heading and its panels, row after row, each panel with an id and a place."""
    board = (
        build.Dashboard("Fleet")
        .uid("fleet")
        .tags(["civic-fleet", "generated"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(build.DatasourceVariable("metrics").label("Metrics").type("prometheus"))
    )
    for variable in variables():
        board = board.with_variable(variable)
    number = y = 0
    for row in rows:
        number += 1
        place = model.GridPos(x=0, y=y, w=GRID_WIDTH, h=1)
        board = board.with_row(build.Row(row.title).id(number).grid_pos(place))
        x, y, deepest = 0, y + 1, 0
        for panel in row.panels:
            number += 1
            width, height = SERIES_SIZE if panel.aggregation in PER_SITE else STAT_SIZE
            if x + width > GRID_WIDTH:
                x, y, deepest = 0, y + deepest, 0
            place = model.GridPos(x=x, y=y, w=width, h=height)
            board = board.with_panel(drawn(panel).id(number).grid_pos(place))
            x, deepest = x + width, max(deepest, height)
        y += deepest
    return board


def text(board: build.Dashboard) -> str:
    """The JSON that Grafana loads; the same panels give the same bytes."""
    return json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def variables() -> list[build.QueryVariable]:
    """Site, kind and device, each narrowed by those before it."""
    made = []
    for at, name in enumerate(FILTERS):
        narrowed = ",".join(f'{former}=~"${former}"' for former in FILTERS[:at])
        made.append(
            build.QueryVariable(name)
            .label(name.capitalize())
            .datasource(SOURCE)
            .query(f"label_values({series('uptime_s')}{{{narrowed}}}, {name})")
            .multi(True)
            .include_all(True)
            .all_value(".*")
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        )
    return made


def drawn(panel: Panel) -> stat.Panel | timeseries.Panel:
    """One number, or a line for each site, with the panel's words, unit, thresholds and query."""
    bounds = build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE)
    bounds = bounds.steps([model.Threshold(step.value, step.colour) for step in panel.thresholds])
    target = prometheus.Dataquery().ref_id("A").datasource(SOURCE).expr(query(panel))
    if panel.aggregation in PER_SITE:
        lines = common.GraphThresholdsStyleConfig().mode(common_model.GraphThresholdsStyleMode.DASHED)
        drawing: stat.Panel | timeseries.Panel = timeseries.Panel().thresholds_style(lines)
        target = target.range().legend_format("{{site}}")
    else:
        # Asked for now alone: a number that nobody sends any more becomes "No data", not its last value.
        drawing = stat.Panel().graph_mode(common_model.BigValueGraphMode.NONE)
        drawing = drawing.reduce_options(common.ReduceDataOptions().calcs(["last"]))
        target = target.instant().legend_format(panel.title)
    return (
        drawing.title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .thresholds(bounds)
        .with_target(target)
    )
