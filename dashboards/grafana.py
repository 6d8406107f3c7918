"""A board of typed panels as a Grafana dashboard (classic JSON, schema 42), for one kind of store.

The builders leave panel ids empty and let a panel run over the right edge, so both are set here.
"""

import json
from typing import Any, Final

from grafana_foundation_sdk.builders import common, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model

from dashboards.dialects import Dialect
from dashboards.panels import FILTERS, Board, Drawing, Panel, Row

GRID_WIDTH: Final = 24
SIZES: Final = {
    Drawing.NUMBER: (4, 4),
    Drawing.LINES: (8, 8),
    Drawing.STATES: (12, 6),
    Drawing.TABLE: (16, 8),
}
"""Width and height in Grafana's grid."""
NARROW: Final = 3
"""Width of a number in a row of more than six."""
METRICS: Final = "${metrics}"
"""The variable with which a viewer chooses the data source."""
FOLDER: Final = "civic-fleet"
"""Uid of the folder that provisioning makes, and a tag of each dashboard."""


def uid(board: str, dialect: Dialect) -> str:
    """The dashboard's fixed uid."""
    return f"{board}-{dialect.name}"


def dashboard(board: Board, dialect: Dialect) -> build.Dashboard:
    """The whole dashboard: variables, headings and panels, each with an id and a place."""
    made = (
        build.Dashboard(board.title)
        .uid(uid(board.name, dialect))
        .tags([FOLDER, "generated"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(_source_variable(dialect))
    )
    for variable in _variables(dialect):
        made = made.with_variable(variable)
    made = made.link(
        build.DashboardLink("Civic Fleet")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([FOLDER])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
    number = y = 0
    for row in board.rows:
        number += 1
        heading = build.Row(row.title).id(number).grid_pos(model.GridPos(x=0, y=y, w=GRID_WIDTH, h=1))
        places, height = layout(row, y + 1)
        panels = []
        for panel, place in zip(row.panels, places, strict=True):
            number += 1
            panels.append(_drawn(panel, board, dialect).id(number).grid_pos(place))
        if row.folded:
            heading = heading.collapsed(True)
            for drawing in panels:
                heading = heading.with_panel(drawing)
            made = made.with_row(heading)
            y += 1
        else:
            made = made.with_row(heading)
            for drawing in panels:
                made = made.with_panel(drawing)
            y += 1 + height
    return made


def text(board: Any) -> str:
    """What Grafana loads, of any builder; the same panels give the same bytes."""
    return json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def layout(row: Row, y: int) -> tuple[list[model.GridPos], int]:
    """A place for each panel of a row that begins at `y`, and how high the row is."""
    places: list[model.GridPos] = []
    numbers = sum(panel.drawing is Drawing.NUMBER for panel in row.panels)
    x, down, deepest = 0, y, 0
    for panel in row.panels:
        width, height = SIZES[panel.drawing]
        if panel.drawing is Drawing.NUMBER and numbers * width > GRID_WIDTH:
            width = NARROW
        if x + width > GRID_WIDTH:
            x, down, deepest = 0, down + deepest, 0
        places.append(model.GridPos(x=x, y=down, w=width, h=height))
        x, deepest = x + width, max(deepest, height)
    return places, down + deepest - y


def _source_variable(dialect: Dialect) -> build.DatasourceVariable:
    provisioned = model.VariableOption(text=f"Civic Fleet ({dialect.title})", value=dialect.uid)
    return build.DatasourceVariable("metrics").label("Metrics").type(dialect.type).current(provisioned)


def _variables(dialect: Dialect) -> list[build.QueryVariable]:
    return [
        build.QueryVariable(name)
        .label(name.capitalize())
        .datasource(dialect.source(METRICS))
        .query(dialect.values_of(name))
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(model.VariableOption(text=["All"], value=["$__all"]))
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        for name in FILTERS
    ]


def _drawn(panel: Panel, board: Board, dialect: Dialect) -> Any:
    bounds = build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE)
    bounds = bounds.steps([model.Threshold(step.value, step.colour) for step in panel.thresholds])
    drawing = _kind(panel, dialect)
    drawing = drawing.title(panel.title).description(panel.description).unit(panel.unit).thresholds(bounds)
    drawing = drawing.datasource(dialect.source(METRICS))
    over_time = panel.drawing in {Drawing.LINES, Drawing.STATES}
    for ref, query in zip("AB", dialect.queries(panel), strict=False):
        drawing = drawing.with_target(
            dialect.target(
                query,
                panel,
                ref=ref,
                uid=METRICS,
                instant=not over_time,
                table=panel.drawing is Drawing.TABLE,
            )
        )
    if dialect.counts_nothing and panel.limit is not None:
        drawing = drawing.no_value("0")
    if board.drill_down and panel.groups and panel.filtered:
        drawing = drawing.data_links([_drill_down(panel, board.drill_down, dialect)])
    return drawing


def _kind(panel: Panel, dialect: Dialect) -> Any:
    match panel.drawing:
        case Drawing.LINES:
            dashed = common.GraphThresholdsStyleConfig().mode(common_model.GraphThresholdsStyleMode.DASHED)
            return timeseries.Panel().thresholds_style(dashed)
        case Drawing.STATES:
            named = {
                str(state.value): model.ValueMappingResult(text=state.text, color=state.colour, index=at)
                for at, state in enumerate(panel.states)
            }
            return statetimeline.Panel().mappings([model.ValueMap(options=named)])
        case Drawing.TABLE:
            column = "Value" if dialect.type == "prometheus" else "max"
            return table.Panel().sort_by([common.TableSortByFieldState().display_name(column).desc(True)])
        case Drawing.NUMBER:
            # Asked for now alone: a number that nobody sends any more becomes "No data", not its last value.
            reduced = common.ReduceDataOptions().calcs(["last"])
            return stat.Panel().graph_mode(common_model.BigValueGraphMode.NONE).reduce_options(reduced)


def _drill_down(panel: Panel, target: str, dialect: Dialect) -> build.DashboardLink:
    """To the other dashboard, at the same time, data source and kind, narrowed to what was clicked."""
    kept = {name: f"${{{name}:queryparam}}" for name in ("metrics", *FILTERS)}
    for group in panel.groups:
        field = "data.fields" if panel.drawing is Drawing.TABLE else "field.labels"
        kept[group] = f"var-{group}=${{__{field}.{group}}}"
    address = "&".join([f"/d/{uid(target, dialect)}?${{__url_time_range}}", *kept.values()])
    return build.DashboardLink(f"Open on the {target.capitalize()} dashboard").url(address)
