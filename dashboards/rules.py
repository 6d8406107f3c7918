"""The alert rules: what wakes somebody, when, and what that person does then.

A rule stands on a panel: its query is the panel's without the variables, asked of now, and it fires where the
panel is red. One instance for each group, so that a dead uplink is one incident of its site.
"""

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from grafana_foundation_sdk.builders import alerting as build
from grafana_foundation_sdk.builders import expr
from grafana_foundation_sdk.models import alerting as model
from grafana_foundation_sdk.models import common as common_model

from dashboards import limits
from dashboards.dialects import Dialect
from dashboards.fleet import (
    CONNECTIONS,
    DEAFNESS,
    DROPS,
    FLEET,
    INCIDENTS,
    ISSUER,
    REVOCATIONS,
    ROOT,
    SERVERS,
    SHARED,
)
from dashboards.grafana import FOLDER, dashboard, uid
from dashboards.kiosk import KIOSK, PAPER
from dashboards.panels import Aggregation, Board, Drawing, Panel

GROUP: Final = "civic-fleet"
TEAM: Final = "civic-fleet"
"""Label of all alerts; the policy takes those that have it."""
CONTACT: Final = "Civic Fleet staff"
EVERY_S: Final = 60
EXPRESSION: Final = "__expr__"
LOOK_BACK_S: Final = 300


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Fires for each group of `panel` that is at `limit` or above for `for_s` seconds.

    Of a panel of the lowest that is good when high it fires below `limit`.
    `nothing` is what no answer at all means: of incidents it is an alarm, the control plane has stopped; of
    the platform's certificates, too, because something of what would be told cannot be read.
    """

    name: str
    title: str
    board: Board
    panel: Panel
    limit: float
    for_s: int
    severity: Literal["page", "ticket"]
    nothing: Literal["Alerting", "OK"]
    summary: str
    runbook: str

    def __post_init__(self) -> None:
        steps = self.panel.thresholds
        # The lowest step has no value of its own: its colour lasts until the next one.
        edges = zip(steps, steps[1:] if self.falling else steps, strict=False)
        red = [edge.value for step, edge in edges if step.colour == "red"]
        assert self.limit in red, f"{self.name}: {self.limit} is not where the panel becomes red ({red})"
        assert self.panel.aggregation in (Aggregation.HIGHEST, Aggregation.LOWEST)
        assert self.panel.groups

    @property
    def falling(self) -> bool:
        """Whether what is low is bad."""
        return self.panel.aggregation is Aggregation.LOWEST


SITE_INCIDENT: Final = Rule(
    name="site-incident",
    title="Devices of a site are off",
    board=FLEET,
    panel=INCIDENTS,
    limit=limits.INCIDENTS[1],
    for_s=0,
    severity="page",
    nothing="Alerting",
    summary="{{ $labels.site }}: devices are off that should not be",
    runbook="1. Open Incidents in the control plane: are all devices of the site away, or one? Say there "
    "that you have seen it. "
    "2. All: the uplink or the power of the site; ring the site, then the network's operator. "
    "3. One: ask the site to look at its screen and power; then have it restarted. "
    "4. No data instead of a site: the control plane does not run, or the store takes nothing; restart "
    "fleet-control and read its log. Devices keep what they could not send.",
)
INGEST_DEAF: Final = Rule(
    name="ingest-deaf",
    title="Nobody listens to telemetry",
    board=FLEET,
    panel=DEAFNESS,
    limit=limits.DEAF_S[1],
    for_s=0,
    severity="page",
    nothing="OK",
    summary="No ingest has listened to telemetry for 5 minutes or more",
    runbook="1. Restart fleet-ingest and read its log: it says whether the broker or the store refuses it. "
    "2. Devices keep what they could not send; silence is held against none of them meanwhile. "
    "3. The alert ends when an ingest listens again.",
)
BROKER_DROPS: Final = Rule(
    name="broker-drops",
    title="The broker drops messages",
    board=FLEET,
    panel=DROPS,
    limit=limits.BROKER_DROPS[1],
    for_s=0,
    severity="ticket",
    nothing="OK",
    summary="The broker dropped messages in the last 5 minutes: a queue is full",
    runbook="1. Do fleet-ingest and fleet-control run, and keep up? See 'Lag of samples'; restart what does "
    "not. 2. If both do, a burst was longer than the queue: raise broker.queued_max and write the "
    "broker's configuration anew. "
    "3. What counts is sent again by the devices; the ledger shows what is missing until then.",
)
BROKER_FULL: Final = Rule(
    name="broker-full",
    title="The broker's connections run out",
    board=FLEET,
    panel=CONNECTIONS,
    limit=limits.BROKER_FULL_PCT[1],
    for_s=60,
    severity="page",
    nothing="OK",
    summary="80 % or more of the connections that the broker allows are taken",
    runbook="1. More devices than planned: raise broker.connections_max, run `python -m cloud "
    "broker-config`, restart the broker at a quiet hour. "
    "2. No more devices than before: look for one that connects again and again. "
    "3. Beyond the bound no device that is away gets in again.",
)
PAPER_OUT: Final = Rule(
    name="paper-out",
    title="A kiosk has no paper",
    board=KIOSK,
    panel=PAPER,
    limit=limits.PAPER_EMPTY,
    for_s=120,
    severity="ticket",
    nothing="OK",
    summary="{{ $labels.device }} at {{ $labels.site }} has no paper and offers no documents",
    runbook="1. Send somebody with paper of the kind that the tray is set to. "
    "2. Papers that wait print by themselves once the tray is full. "
    "3. If the alert stays although there is paper: the tray is not closed, or set to another size.",
)
IDENTITY_SHARED: Final = Rule(
    name="identity-shared",
    title="Two machines use one device's identity",
    board=FLEET,
    panel=SHARED,
    limit=limits.SHARED[1],
    for_s=0,
    severity="page",
    nothing="OK",
    summary="{{ $labels.device }} at {{ $labels.site }}: two machines use its certificate",
    runbook="1. Somebody may have copied the device's disk, or its key was stolen: ask the site which "
    "machine stands there, and whether it was replaced or restored. "
    "2. Revoke the device's certificates in the control plane; both machines lose their connection. "
    "3. Enrol the right machine anew, wipe the other. What both have sent is kept. "
    "4. The alert ends an hour after the last sign.",
)
ISSUER_ENDS: Final = Rule(
    name="issuer-ends",
    title="The issuing authority ends",
    board=FLEET,
    panel=ISSUER,
    limit=limits.ISSUER_DAYS[0],
    for_s=0,
    severity="ticket",
    nothing="OK",
    summary="The authority that signs devices' certificates ends within a year",
    runbook="1. Have the root's key brought to the server, into certificates.root_dir. "
    "2. Run `python -m cloud init`: it is renewed with the same key. Then restart broker, control plane and "
    "ingest. If its key may be known to others, run `python -m cloud new-issuer` instead, and what it prints "
    "as next. "
    "3. Take the root's key away again. "
    "4. If nothing is done, no certificate lives past that day, and then every device is locked out.",
)
ROOT_ENDS: Final = Rule(
    name="root-ends",
    title="The root ends",
    board=FLEET,
    panel=ROOT,
    limit=limits.ROOT_DAYS[0],
    for_s=0,
    severity="ticket",
    nothing="OK",
    summary="The root that every device trusts ends within two years",
    runbook="1. Devices cannot be given another root from the control plane: plan to visit each. "
    "2. Begin a new data_dir with `python -m cloud init`, beside the old one, at addresses of its own. "
    "3. Enrol device after device there with new tokens, before the root ends.",
)
SERVERS_END: Final = Rule(
    name="servers-end",
    title="A certificate of the platform ends",
    board=FLEET,
    panel=SERVERS,
    limit=limits.SERVERS_DAYS[0],
    for_s=600,
    severity="ticket",
    nothing="Alerting",
    summary="A certificate of the servers, of the services or of the seal ends within 30 days",
    runbook="1. Run `python -m cloud init` on the server: it makes anew what ends; Enrolment in the control "
    "plane says which that is. "
    "2. Restart broker, control plane and ingest, at a quiet hour. "
    "3. If the alert stays: the issuing authority ends, too; see its own alert. "
    "4. No data instead of a number: fleet-control does not run, or cannot read a certificate or a list in "
    "its pki folder; its log says which. Until then nobody is told of issuer, root and lists either.",
)
REVOCATIONS_OLD: Final = Rule(
    name="revocations-old",
    title="The list of revoked certificates is not signed",
    board=FLEET,
    panel=REVOCATIONS,
    limit=limits.REVOCATIONS_DAYS[0],
    for_s=0,
    severity="page",
    nothing="OK",
    summary="The list of revoked certificates is too old within 10 days; then the broker takes no device",
    runbook="1. It is signed anew with 15 days left, so fleet-control cannot: read its log; is the disk "
    "full, may it write to the pki folder, can it read the issuing key? "
    "2. Restart fleet-control; it signs within a minute. "
    "3. Meanwhile a device that is revoked may not be shut out: switch it off at its site.",
)
RULES: Final = (
    SITE_INCIDENT,
    PAPER_OUT,
    IDENTITY_SHARED,
    INGEST_DEAF,
    BROKER_DROPS,
    BROKER_FULL,
    ISSUER_ENDS,
    ROOT_ENDS,
    SERVERS_END,
    REVOCATIONS_OLD,
)


def rule_group(dialect: Dialect, rules: tuple[Rule, ...] = RULES) -> build.RuleGroup:
    """All rules as one group of the folder, as Grafana's provisioning API takes it."""
    group = build.RuleGroup(GROUP).folder_uid(FOLDER).interval(EVERY_S)
    for rule in rules:
        group = group.with_rule(_rule(rule, dialect))
    return group


def contact_point(addresses: tuple[str, ...]) -> build.ContactPoint:
    """Where alerts go: one mail to all addresses."""
    settings = {"addresses": ";".join(addresses), "singleEmail": True}
    return build.ContactPoint().uid("civic-fleet").name(CONTACT).type("email").settings(settings)


def route() -> build.NotificationPolicy:
    """The branch of the policy tree that our alerts take: one message for each site and rule."""
    return (
        build.NotificationPolicy()
        .receiver(CONTACT)
        .object_matchers([["team", "=", TEAM]])
        .group_by(["alertname", "site"])
        .group_wait("30s")
        .group_interval("5m")
        .repeat_interval("12h")
    )


def query(rule: Rule, dialect: Dialect) -> str:
    """What the rule asks: a number for each group, now."""
    (asked,) = dialect.queries(replace(rule.panel, drawing=Drawing.NUMBER, states=()), filtered=False)
    return asked


def _rule(rule: Rule, dialect: Dialect) -> build.Rule:
    asked = dialect.target(query(rule, dialect), rule.panel, ref="A", uid=dialect.uid, instant=True)
    numbers = expr.TypeReduce().ref_id("B").datasource(_expression()).expression("A").reducer("last")
    limit = (
        expr.ExprTypeThresholdConditionsEvaluator().params([rule.limit]).type("lt" if rule.falling else "gte")
    )
    fires = (
        expr.TypeThreshold()
        .ref_id("C")
        .datasource(_expression())
        .expression("B")
        .conditions([expr.ExprTypeThresholdConditions().evaluator(limit)])
    )
    return (
        build.Rule(rule.title)
        .uid(f"{rule.name}-{dialect.name}")
        .folder_uid(FOLDER)
        .rule_group(GROUP)
        .org_id(1)
        .condition("C")
        .for_val(_duration(rule.for_s))
        .no_data_state(rule.nothing)
        .exec_err_state("Error")
        .labels({"team": TEAM, "severity": rule.severity})
        .annotations(_annotations(rule, dialect))
        .with_query(_question("A", dialect.uid, asked))
        .with_query(_question("B", EXPRESSION, numbers))
        .with_query(_question("C", EXPRESSION, fires))
    )


def _question(ref: str, source: str, asked: Any) -> build.Query:
    back = model.RelativeTimeRange(from_val=LOOK_BACK_S, to=0)
    return build.Query(ref).datasource_uid(source).relative_time_range(back).model(asked)


def _expression() -> common_model.DataSourceRef:
    return common_model.DataSourceRef(type_val=EXPRESSION, uid=EXPRESSION)


def _annotations(rule: Rule, dialect: Dialect) -> dict[str, str]:
    number = next(
        panel.id_val
        for outer in dashboard(rule.board, dialect).build().panels or []
        for panel in (outer, *getattr(outer, "panels", []))
        if panel.title == rule.panel.title
    )
    return {
        "summary": rule.summary,
        "description": rule.panel.description,
        "runbook": rule.runbook,
        "__dashboardUid__": uid(rule.board.name, dialect),
        "__panelId__": str(number),
    }


def _duration(seconds: int) -> str:
    return f"{seconds // 60}m" if seconds % 60 == 0 else f"{seconds}s"
