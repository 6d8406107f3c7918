"""Every query of both dashboards and of both rules, asked of a real VictoriaMetrics and a real InfluxDB.

Both are filled by the ingest's own keeper from the messages of a small city with planted faults:
VictoriaMetrics through `InfluxStore`, InfluxDB 1.6 by /write with the same lines, because it has no v2 API.
"""

import json
import operator
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cloud.broker_figures import NEAR_PCT
from cloud.enrolment import ends
from cloud.enrolment.ends import TOLD_BEFORE, What
from cloud.link import series
from cloud.telemetry import control_metrics
from cloud.telemetry import health as status_page
from cloud.telemetry.own_metrics import INGEST, LINK
from cloud.telemetry.pages import DEAF_S
from cloud.telemetry.store import MEASUREMENT
from cloud.telemetry.store_influx import InfluxStore
from dashboards import generate, limits
from dashboards.dialects import DIALECTS, Dialect
from dashboards.fleet import FLEET
from dashboards.kiosk import KIOSK
from dashboards.panels import FILTERS, NAMES, Aggregation, Board, Drawing, Panel
from dashboards.rules import (
    BROKER_DROPS,
    BROKER_FULL,
    IDENTITY_SHARED,
    INGEST_DEAF,
    ISSUER_ENDS,
    PAPER_OUT,
    REVOCATIONS_OLD,
    ROOT_ENDS,
    RULES,
    SERVERS_END,
    SITE_INCIDENT,
    Rule,
)
from tests.dashboards import city
from tests.dashboards.influx import Influx
from tests.dashboards.interpolation import at_moment, interpolated, over_time
from tests.dashboards.victoria import Victoria

NOW_S = int(time.time()) // 60 * 60
PEAK_S = 60
Groups = tuple[str, ...]
Asked = dict[Groups, float]
CASES = [(board, panel) for board in (FLEET, KIOSK) for panel in board.panels]


@dataclass
class Store:
    """A filled server; `ask` gives the last value of each group, of the query as Grafana sends it."""

    dialect: Dialect
    ask: Callable[[str, Groups, int, bool], Asked]
    values_of: Callable[[str], list[str]]


@pytest.fixture(scope="module")
def victoriametrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("victoria")
    with Victoria(folder / "data") as server:
        city.fill(InfluxStore(server.url, bucket="fleet", org="fleet"), folder, NOW_S)
        server.settle()

        def ask(query: str, groups: Groups, at_s: int, in_time: bool) -> Asked:
            if in_time:
                rows = server.ask_range(query, at_s - 300, at_s, PEAK_S)
                return {labels(row["metric"], groups): float(row["values"][-1][1]) for row in rows}
            rows = server.ask(query, at_s)
            return {labels(row["metric"], groups): float(row["value"][1]) for row in rows}

        def values_of(query: str) -> list[str]:
            found = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
            assert found
            return server.values_of(found[2], found[1])

        yield Store(DIALECTS["victoriametrics"], ask, values_of)


@pytest.fixture(scope="module")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("influx")
    with Influx(folder) as server:
        city.fill(city.LineStore(server), folder, NOW_S)

        def ask(query: str, groups: Groups, at_s: int, _over_time: bool) -> Asked:
            query = at_moment(over_time(query, at_s - 300, at_s, PEAK_S), at_s)
            return {labels(row.get("tags", {}), groups): row["values"][-1][-1] for row in server.ask(query)}

        yield Store(
            DIALECTS["influxdb"], ask, lambda query: [row[1] for row in server.ask(query)[0]["values"]]
        )


@pytest.fixture(params=["victoriametrics", "influxdb"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


def labels(found: dict[str, str], groups: Groups) -> Groups:
    assert set(groups) <= set(found), (groups, found)
    return tuple(found[group] for group in groups)


def is_over_time(panel: Panel) -> bool:
    return panel.drawing in {Drawing.LINES, Drawing.STATES}


def ask(store: Store, panel: Panel, at_s: int = NOW_S, **chosen: str) -> list[Asked]:
    return [
        store.ask(interpolated(query, **chosen), panel.groups, at_s, is_over_time(panel))
        for query in store.dialect.queries(panel)
    ]


def measured(panel: Panel, device: str) -> float | None:
    """What the panel's metric is at the end, of a device that is heard; None where it has none."""
    if panel.measurement == "ledger":
        return float(dict(series.values(city.account(device)))[panel.metric])
    if panel.metric == "silent_s":
        return float(city.SILENT_S) if device == city.SILENT else 0.0
    if panel.metric == "skew_ms":
        return float(city.last(device)["clock_skew_ms"])
    value = city.last(device).get(panel.metric) if city.heard(device) else None
    return None if value is None else float(value)


def expected(panel: Panel, which: Callable[[list[float]], float]) -> Asked:
    """What should be seen, reckoned from what the devices sent."""
    groups: dict[Groups, list[float]] = {}
    for device in city.DEVICES:
        value = measured(panel, device)
        if value is not None:
            tags = {"device": device, "site": city.member(device).site, "kind": city.member(device).kind}
            groups.setdefault(tuple(tags[group] for group in panel.groups), []).append(value)
    return {group: which(values) for group, values in groups.items()}


OWN: dict[str, Asked] = {
    "Given up by this ingest": {(): 0},
    "Lag of samples": {("svc-ingest",): city.LATE_MS},
    "Samples stored": {("svc-ingest",): (len(city.DEVICES) - 1) / city.PERIOD_S},
    "Messages refused": {(): city.REFUSED},
    "Telemetry not listened to": {("cloud",): city.DEAF_S},
    "Messages in": {("broker",): 3},
    "Messages out": {("broker",): 4},
}
SITES = {(city.PLAN.site(device),) for device in city.DEVICES}
OWN |= {
    title: {site: float(site == (city.PLAN.site(city.SILENT),)) for site in SITES}
    for title in ("Incidents going on", "Devices away in incidents")
}
OWN |= {
    panel.title: {("broker",): city.broker(0)[panel.metric]}
    for panel in FLEET.panels
    if panel.measurement == "broker" and panel.title not in OWN
}
OWN |= {
    panel.title: {(("cloud",) if panel.groups else ()): city.authority(0)[panel.metric]}
    for panel in FLEET.panels
    if panel.measurement == "authority"
}
WHICH: dict[Aggregation, list[Callable[[list[float]], float]]] = {
    Aggregation.SUM: [sum],
    Aggregation.ZEROS: [lambda values: float(values.count(0))],
    Aggregation.HIGHEST: [max],
    Aggregation.LOWEST: [min],
    Aggregation.EXTREMES: [max, min],
}


@pytest.mark.parametrize(("board", "panel"), CASES, ids=[f"{b.name}-{p.title}" for b, p in CASES])
def test_a_panel_shows_what_devices_sent(store: Store, board: Board, panel: Panel) -> None:
    if not panel.filtered:
        wanted = [OWN[panel.title]]
    elif panel.limit is not None:
        below = panel.aggregation is Aggregation.BELOW
        wanted = [expected(panel, lambda values: sum((value < panel.limit) == below for value in values))]  # type: ignore[operator]
    else:
        wanted = [expected(panel, which) for which in WHICH[panel.aggregation]]
    found = ask(store, panel)
    # A line's last point holds a minute, in which silences go on; clocks go on and differ by milliseconds.
    moves = panel.metric == "uptime_s" or (panel.metric == "silent_s" and is_over_time(panel))
    assert len(found) == len(wanted)
    for got, want in zip(found, wanted, strict=True):
        assert got.keys() == want.keys()
        assert got
        assert got == pytest.approx(
            want,
            abs=PEAK_S if moves else 1e-6,
            rel=1e-9 if panel.filtered else 0.02,
        )


def test_planted_faults_are_seen(store: Store) -> None:
    def of(board: Board, title: str) -> Asked:
        return ask(store, next(panel for panel in board.panels if panel.title == title))[0]

    site = {device: city.PLAN.site(device) for device in city.DEVICES}
    assert of(FLEET, "Devices online") == {(): len(city.DEVICES) - 1}
    assert of(FLEET, "Devices silent") == {(): 1}
    assert of(FLEET, "Kiosks without paper") == {(): 1}
    assert of(FLEET, "Printers not ready") == {(): 2}
    assert of(FLEET, "Temperature")[(site[city.HOT],)] == 86.5
    assert of(FLEET, "Outbox")[(site[city.FULL],)] == 600
    assert of(FLEET, "Dropped by policy") == {(): 40}
    assert of(FLEET, "Dropped, not declared") == {(): 3}
    assert of(FLEET, "Missing now") == {(): 2}
    assert of(FLEET, "Lost") == {(): 0}
    twice = of(FLEET, "One identity, two machines")
    assert [group for group, value in twice.items() if value] == [(site[city.COPIED], city.COPIED)]
    assert of(KIOSK, "Paper")[(site[city.NO_PAPER], city.NO_PAPER)] == 1
    assert of(KIOSK, "Last heard")[(site[city.SILENT], city.SILENT)] == city.SILENT_S
    assert (site[city.SILENT], city.SILENT) not in of(KIOSK, "Toner")


def test_the_variables_narrow_and_are_chained(store: Store) -> None:
    values = {name: store.values_of(interpolated(store.dialect.values_of(name))) for name in FILTERS}
    assert set(values["site"]) == {city.PLAN.site(device) for device in city.DEVICES}
    assert set(values["kind"]) == {"kiosk", "recorder"}
    assert set(values["device"]) == set(city.DEVICES)
    hall = interpolated(store.dialect.values_of("device"), site="Kuvendi i Komunës", kind="recorder")
    assert set(store.values_of(hall)) == {"hall-01", "hall-02"}
    online = FLEET.panels[0]
    assert ask(store, online, site="Komuna e Prishtinës") == [{(): 2}]
    assert ask(store, online, kind="recorder") == [{(): 2}]
    cpu = next(panel for panel in KIOSK.panels if panel.metric == "cpu_pct")
    assert {group[1] for group in ask(store, cpu, device="kiosk-01|kiosk-05")[0]} == {"kiosk-01", "kiosk-05"}


def rule_of(rule: Rule, dialect: Dialect) -> dict[str, Any]:
    committed = json.loads((generate.FOLDER / f"rules-{dialect.name}.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = next(each for each in committed["rules"] if each["uid"].startswith(rule.name))
    return found


def fires(store: Store, rule: Rule, at_s: int) -> tuple[Asked, set[Groups]]:
    """The committed rule evaluated as Grafana does: the query, its last values, the threshold."""
    question, reduced, threshold = (each["model"] for each in rule_of(rule, store.dialect)["data"])
    assert (reduced["reducer"], reduced["expression"], threshold["expression"]) == ("last", "A", "B")
    (condition,) = threshold["conditions"]
    beyond = {"gte": operator.ge, "lt": operator.lt}[condition["evaluator"]["type"]]
    values = store.ask(question.get("expr") or question["query"], rule.panel.groups, at_s, False)
    (limit,) = condition["evaluator"]["params"]
    return values, {group for group, value in values.items() if beyond(value, limit)}


@pytest.mark.parametrize(
    ("rule", "faulty"),
    [
        (SITE_INCIDENT, {(city.PLAN.site(city.SILENT),)}),
        (PAPER_OUT, {(city.PLAN.site(city.NO_PAPER), city.NO_PAPER)}),
        (IDENTITY_SHARED, {(city.PLAN.site(city.COPIED), city.COPIED)}),
    ],
    ids=["site-incident", "paper-out", "identity-shared"],
)
def test_a_rule_fires_for_the_faulty_alone_and_not_before(
    store: Store, rule: Rule, faulty: set[Groups]
) -> None:
    values, firing = fires(store, rule, NOW_S)
    assert firing == faulty
    assert values.keys() > firing, "the healthy ones are seen, and are not firing"
    before, early = fires(store, rule, NOW_S - city.WELL_S - 60)
    assert before.keys() >= faulty
    assert early == set()


@pytest.mark.parametrize(
    ("rule", "own"),
    [
        (INGEST_DEAF, "cloud"),
        (BROKER_DROPS, "broker"),
        (BROKER_FULL, "broker"),
        (ISSUER_ENDS, "cloud"),
        (ROOT_ENDS, "cloud"),
        (SERVERS_END, "cloud"),
        (REVOCATIONS_OLD, "cloud"),
    ],
    ids=lambda given: given.name if isinstance(given, Rule) else given,
)
def test_a_rule_about_ourselves_fires_when_it_must_and_not_before(store: Store, rule: Rule, own: str) -> None:
    assert fires(store, rule, NOW_S)[1] == {(own,)}
    before, early = fires(store, rule, NOW_S - city.WELL_S - 60)
    assert (set(before), early) == ({(own,)}, set())


def test_when_the_control_plane_has_stopped_that_is_an_alarm_and_the_rest_is_none(store: Store) -> None:
    later_s = NOW_S + 3600
    for rule in RULES:
        nothing = "Alerting" if rule in (SITE_INCIDENT, SERVERS_END) else "OK"
        assert fires(store, rule, later_s)[0] == {}
        assert rule_of(rule, store.dialect)["noDataState"] == nothing
    assert ask(store, FLEET.panels[0], later_s) == [{}]


def test_names_and_limits_are_those_of_the_cloud() -> None:
    own = {control_metrics.INCIDENT, control_metrics.BROKER, ends.MEASUREMENT}
    assert set(NAMES) == {MEASUREMENT, LINK, INGEST, series.MEASUREMENT} | own
    assert limits.DISK_PCT[1] == status_page.DISK_PCT
    assert limits.MEMORY_PCT[1] == status_page.MEMORY_PCT
    assert limits.TEMPERATURE_C[1] == status_page.TEMPERATURE_C
    assert limits.SKEW_MS[1] == status_page.SKEW_MS
    assert limits.OUTBOX_WAITING[1] == status_page.OUTBOX_WAITING
    assert limits.TONER_PCT[0] == status_page.TONER_PCT
    assert limits.BROKER_FULL_PCT[1] == NEAR_PCT
    assert limits.DEAF_S[0] == DEAF_S
    told = {
        What.ISSUER: limits.ISSUER_DAYS,
        What.ROOT: limits.ROOT_DAYS,
        What.SERVERS: limits.SERVERS_DAYS,
        What.REVOCATIONS: limits.REVOCATIONS_DAYS,
    }
    assert {what: before.days for what, before in TOLD_BEFORE.items()} == {
        what: days for what, (days, _) in told.items()
    }
