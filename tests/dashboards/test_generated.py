"""The committed dashboards and rules are the typed panels', and Grafana will find in them what it needs."""

import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog import runtime
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import alerting, units
from grafana_foundation_sdk.models import dashboard as model

from contract.telemetry import (
    AUTHORITY_METRICS,
    BROKER_METRICS,
    INCIDENT_METRICS,
    INGEST_METRICS,
    LEDGER_METRICS,
    LINK_METRICS,
    METRICS,
)
from dashboards import generate, limits
from dashboards.dialects import DIALECTS, INFLUXDB, VICTORIAMETRICS, InfluxQuery
from dashboards.fleet import FLEET
from dashboards.grafana import GRID_WIDTH, dashboard, text
from dashboards.kiosk import KIOSK
from dashboards.panels import Aggregation, Drawing, Panel, Row
from dashboards.rules import ISSUER_ENDS, RULES, SITE_INCIDENT, contact_point, route

NAMES = [f"{board.name}-{dialect}" for board in generate.BOARDS for dialect in DIALECTS]
UNITS = {value for name, value in vars(units).items() if name[0].isupper() and isinstance(value, str)}
VISIBLE_MAX = 13


def committed(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((generate.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def rows_of(board: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """What can be seen together: the open panels, and the inside of each folded row."""
    yield board["panels"]
    yield from (panel["panels"] for panel in board["panels"] if panel["type"] == "row" and panel["panels"])


def faults(board: dict[str, Any]) -> list[str]:
    """What is wrong with a dashboard: places, ids, words, units, sources."""
    found = []
    everything = [panel for row in rows_of(board) for panel in row]
    ids = [panel.get("id") for panel in everything]
    if None in ids or len(set(ids)) != len(ids):
        found.append("ids are missing or used twice")
    for row in rows_of(board):
        cells: dict[tuple[int, int], str] = {}
        for panel in row:
            title, place = panel.get("title"), panel["gridPos"]
            if place["x"] < 0 or place["x"] + place["w"] > GRID_WIDTH:
                found.append(f"{title} runs over the edge")
            across, down = (
                range(place[at], place[at] + place[size]) for at, size in (("x", "w"), ("y", "h"))
            )
            for cell in itertools.product(across, down):
                if cells.setdefault(cell, title) != title:
                    found.append(f"{title} lies on {cells[cell]}")
                    break
    for panel in everything:
        if panel["type"] != "row":
            found += words_and_bounds(panel)
    return found


def words_and_bounds(panel: dict[str, Any]) -> list[str]:
    """What a panel does not say."""
    found = []
    title, defaults = panel.get("title"), panel["fieldConfig"]["defaults"]
    if len(panel.get("description", "")) < 60:
        found.append(f"{title} does not say what to do")
    if defaults.get("unit") not in UNITS:
        found.append(f"{title} has no unit that Grafana knows")
    values = [step["value"] for step in defaults["thresholds"]["steps"]]
    if values[0] is not None or values[1:] != sorted(values[1:]) or len(values) < 2:
        found.append(f"{title} has no rising thresholds")
    if any(not _asks(target) for target in panel["targets"]):
        found.append(f"{title} asks no source or nothing")
    return found


def _asks(target: dict[str, Any]) -> bool:
    return target["datasource"]["uid"] == "${metrics}" and bool(target.get("expr") or target.get("query"))


def test_what_is_committed_is_what_the_panels_say() -> None:
    wanted = generate.files()
    assert {path.name for path in generate.FOLDER.iterdir()} == set(wanted)
    for name, content in wanted.items():
        found = (generate.FOLDER / name).read_text(encoding="utf-8")
        assert found == content, "run python -m dashboards generate and commit what it writes"


def test_the_command_writes_them_and_drops_what_is_no_more(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "dashboards", "generate", "--out", str(tmp_path)]
    (tmp_path / "old.json").write_text("{}")
    told = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.splitlines()[-1] == "old.json written"
    for path in generate.FOLDER.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    assert generate.write(tmp_path) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_layout_has_no_faults(name: str) -> None:
    board = committed(name)
    assert faults(board) == []
    assert board["uid"] == name


@pytest.mark.parametrize("name", NAMES)
def test_what_is_seen_at_once_is_little(name: str) -> None:
    visible = [panel for panel in committed(name)["panels"] if panel["type"] != "row"]
    assert len(visible) <= VISIBLE_MAX


def test_the_layout_wraps_before_the_edge() -> None:
    crowded = Row("All", (*FLEET.panels, *KIOSK.panels))
    for dialect in DIALECTS.values():
        board = replace(FLEET, rows=(crowded, *FLEET.rows))
        assert faults(json.loads(text(dashboard(board, dialect)))) == []


@pytest.mark.parametrize(
    ("at", "key", "value", "fault"),
    [
        (1, "id", None, "ids are missing"),
        (1, "id", 3, "ids are missing or used twice"),
        (1, "gridPos", {"x": 22, "y": 1, "w": 4, "h": 1}, "runs over the edge"),
        (1, "gridPos", {"x": 3, "y": 1, "w": 4, "h": 4}, "lies on"),
        (1, "description", "", "does not say what to do"),
        (1, "fieldConfig", {"defaults": {"thresholds": {"steps": [{"value": 1}]}}}, "has no unit"),
        (1, "targets", [{"datasource": {"uid": "x"}, "expr": "up"}], "asks no source"),
    ],
)
def test_the_lint_finds_planted_faults(at: int, key: str, value: object, fault: str) -> None:
    board = committed("fleet-victoriametrics")
    board["panels"][at][key] = value
    assert any(fault in found for found in faults(board)), faults(board)


def test_every_metric_of_the_contract_is_seen() -> None:
    shown = {(panel.measurement, panel.metric) for board in generate.BOARDS for panel in board.panels}
    tables = {
        "health": METRICS,
        "link": LINK_METRICS,
        "ingest": INGEST_METRICS,
        "ledger": LEDGER_METRICS,
        "incident": INCIDENT_METRICS,
        "broker": BROKER_METRICS,
        "authority": AUTHORITY_METRICS,
    }
    every = {(measurement, metric.name) for measurement, table in tables.items() for metric in table}
    # The skew stands in `link` as well, where a wrong clock cannot hide it.
    assert shown == every - {("health", "clock_skew_ms")}


def test_a_panel_or_rule_that_contradicts_itself_cannot_be_written() -> None:
    with pytest.raises(AssertionError, match="no metric of the contract"):
        replace(KIOSK.panels[0], metric="coffee_pct")
    with pytest.raises(AssertionError):
        replace(KIOSK.panels[0], aggregation=Aggregation.BELOW)
    with pytest.raises(AssertionError, match="not where the panel becomes red"):
        replace(SITE_INCIDENT, limit=limits.INCIDENTS[1] + 1)
    with pytest.raises(AssertionError, match="not where the panel becomes red"):
        replace(ISSUER_ENDS, limit=limits.ISSUER_DAYS[1])


def test_links_lead_to_the_other_dashboard_at_the_same_time_with_the_same_choices() -> None:
    for dialect in DIALECTS.values():
        for panel in committed(f"fleet-{dialect.name}")["panels"]:
            for link in panel.get("fieldConfig", {}).get("defaults", {}).get("links", []):
                assert link["url"].startswith(f"/d/kiosk-{dialect.name}?${{__url_time_range}}&")
                for kept in ("${metrics:queryparam}", "site", "kind", "device"):
                    assert kept in link["url"], link
        linked = {
            panel["title"]
            for panel in committed(f"fleet-{dialect.name}")["panels"]
            if "fieldConfig" in panel and panel["fieldConfig"]["defaults"].get("links")
        }
        assert linked == {
            panel.title
            for row in FLEET.rows
            if not row.folded
            for panel in row.panels
            if panel.groups and panel.filtered
        }


def test_a_count_of_nothing_reads_0_where_the_store_gives_no_answer() -> None:
    counting = {panel.title for panel in FLEET.panels if panel.limit is not None}
    for dialect, wanted in ((INFLUXDB, counting), (VICTORIAMETRICS, set())):
        panels = committed(f"fleet-{dialect.name}")["panels"]
        zeros = {
            panel["title"]
            for panel in panels
            if panel.get("fieldConfig", {}).get("defaults", {}).get("noValue")
        }
        assert zeros == wanted


def test_rules_lead_to_their_panel_and_say_what_to_do() -> None:
    for dialect in DIALECTS:
        rules = committed(f"rules-{dialect}")["rules"]
        assert {rule["title"] for rule in rules} == {rule.title for rule in RULES}
        for rule in rules:
            notes = rule["annotations"]
            board = committed(notes["__dashboardUid__"])
            (panel,) = (
                panel for row in rows_of(board) for panel in row if str(panel["id"]) == notes["__panelId__"]
            )
            assert panel["description"] == notes["description"]
            assert notes["runbook"].startswith("1. ")
            (condition,) = rule["data"][2]["model"]["conditions"]
            steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
            falling = condition["evaluator"]["type"] == "lt"
            (edge,) = (
                after["value"]
                for step, after in zip(steps, steps[1:] if falling else steps, strict=False)
                if step["color"] == "red"
            )
            assert condition["evaluator"]["params"] == [edge]
            assert not any(
                "$" in str(ask["model"].get(key, "")) for ask in rule["data"] for key in ("expr", "query")
            )


def test_alerts_go_to_the_contact_by_the_label_that_they_have() -> None:
    branch, contact = (
        json.loads(text(made)) for made in (route(), contact_point(("a@example.org", "b@example.org")))
    )
    assert branch["receiver"] == contact["name"]
    assert contact["settings"] == {"addresses": "a@example.org;b@example.org", "singleEmail": True}
    ((label, _, value),) = branch["object_matchers"]
    for dialect in DIALECTS:
        assert all(rule["labels"][label] == value for rule in committed(f"rules-{dialect}")["rules"])
    assert branch["group_by"] == ["alertname", "site"], "one message for a site, not for each device"


@pytest.mark.parametrize("name", NAMES)
def test_grafanas_own_types_read_it_without_loss(name: str) -> None:
    register_default_plugins()
    runtime.register_dataquery_variant(
        runtime.DataqueryConfig(identifier="influxdb", from_json_hook=InfluxQuery.from_json)
    )
    board = model.Dashboard.from_json(committed(name))

    class Made:
        def build(self) -> model.Dashboard:
            return board

    assert text(Made()) == (generate.FOLDER / f"{name}.json").read_text(encoding="utf-8")


def test_grafanas_own_types_read_the_rules() -> None:
    register_default_plugins()
    for dialect in DIALECTS:
        group = alerting.RuleGroup.from_json(committed(f"rules-{dialect}"))
        assert group.rules is not None
        assert [rule.uid for rule in group.rules] == [f"{rule.name}-{dialect}" for rule in RULES]


def test_drawings_are_what_grafana_calls_them() -> None:
    kinds = {
        Drawing.NUMBER: "stat",
        Drawing.LINES: "timeseries",
        Drawing.STATES: "state-timeline",
        Drawing.TABLE: "table",
    }
    for board in generate.BOARDS:
        seen = {
            panel["title"]: panel["type"]
            for row in rows_of(committed(f"{board.name}-influxdb"))
            for panel in row
        }
        assert all(seen[panel.title] == kinds[panel.drawing] for panel in board.panels)


def test_a_panel_is_checked_when_it_is_made() -> None:
    with pytest.raises(AssertionError):
        Panel(
            title="States without meaning",
            metric="printer_state",
            unit="none",
            aggregation=Aggregation.HIGHEST,
            drawing=Drawing.STATES,
            description="",
            thresholds=(),
        )
