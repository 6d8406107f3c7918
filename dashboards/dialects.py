"""The two kinds of store that Grafana can be pointed at, and how a query is put to each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.cog import builder, variants
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import prometheus as prometheus_model

from dashboards import influxql, promql
from dashboards.panels import Panel

Name = Literal["victoriametrics", "influxdb"]


@dataclass
class InfluxQuery(variants.Dataquery):
    """A query of Grafana's InfluxDB data source, written as InfluxQL."""

    query: str
    ref_id: str
    alias: str
    table: bool
    datasource: common.DataSourceRef

    def to_json(self) -> dict[str, Any]:
        """As Grafana stores it."""
        return {
            "refId": self.ref_id,
            "datasource": self.datasource,
            "query": self.query,
            "rawQuery": True,
            "resultFormat": "table" if self.table else "time_series",
            "alias": self.alias,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read it again."""
        return cls(
            query=data["query"],
            ref_id=data["refId"],
            alias=data["alias"],
            table=data["resultFormat"] == "table",
            datasource=common.DataSourceRef.from_json(data["datasource"]),
        )


class InfluxTarget(builder.Builder[InfluxQuery]):
    """A builder of it, for the SDK's panels."""

    def __init__(self, query: InfluxQuery) -> None:
        self._query = query

    def build(self) -> InfluxQuery:
        """The query."""
        return self._query


@dataclass(frozen=True)
class Dialect:
    """One kind of store; `type` is Grafana's name of the data source."""

    name: Name
    title: str
    type: str
    counts_nothing: bool
    """Whether a count of nothing is an empty answer."""
    queries: Callable[..., tuple[str, ...]]
    values_of: Callable[[str], str]

    @property
    def uid(self) -> str:
        """The data source that provisioning makes."""
        return f"civic-fleet-{self.name}"

    def source(self, uid: str) -> common.DataSourceRef:
        """A reference to a data source of this kind."""
        return common.DataSourceRef(type_val=self.type, uid=uid)

    def target(
        self, query: str, panel: Panel, *, ref: str, uid: str, instant: bool, table: bool = False
    ) -> Any:
        """The query as a builder; lines are named after their groups."""
        if self.name == "influxdb":
            alias = " · ".join(f"$tag_{group}" for group in panel.groups) or panel.title
            return InfluxTarget(InfluxQuery(query, ref, alias, table, self.source(uid)))
        legend = " · ".join(f"{{{{{group}}}}}" for group in panel.groups) or panel.title
        asked = prometheus.Dataquery().ref_id(ref).datasource(self.source(uid)).expr(query)
        asked = asked.legend_format(legend)
        if table:
            asked = asked.format(prometheus_model.PromQueryFormat.TABLE)
        return asked.instant() if instant else asked.range()


VICTORIAMETRICS: Final = Dialect(
    name="victoriametrics",
    title="VictoriaMetrics",
    type="prometheus",
    counts_nothing=False,
    queries=promql.queries,
    values_of=promql.values_of,
)
INFLUXDB: Final = Dialect(
    name="influxdb",
    title="InfluxDB",
    type="influxdb",
    counts_nothing=True,
    queries=influxql.queries,
    values_of=influxql.values_of,
)
DIALECTS: Final = {dialect.name: dialect for dialect in (VICTORIAMETRICS, INFLUXDB)}
