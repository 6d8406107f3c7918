"""Time series in whatever takes InfluxDB's v2 write API and answers PromQL; proven with VictoriaMetrics.

Points become `health,device=…,site=…,kind=… cpu_pct=12.5,uptime_s=7i … {ms}`, which VictoriaMetrics serves
as `health_cpu_pct{device="…"}`. True and false are written as 1 and 0, because InfluxQL cannot add truths.
VictoriaMetrics says 204 before the points are on its disk, and to malformed lines as well: the lines are
made here, of checked values only.
"""

import re
from collections.abc import Sequence
from typing import Any

import httpx
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from cloud.errors import RefusedError, UnavailableError
from cloud.telemetry.store import MEASUREMENT, Last, Point, floor_ms
from contract.telemetry import (
    AUTHORITY_METRICS,
    BROKER_METRICS,
    INCIDENT_METRICS,
    INGEST_METRICS,
    LEDGER_METRICS,
    LINK_METRICS,
    METRICS,
)

TIMEOUT_S = 10.0
REFUSED = frozenset({400, 413, 422})
"""Answers after which the same bytes would be refused again."""
_SUFFIX = {
    metric.name: "" if metric.type == "float" else "i"
    for metric in (
        *METRICS,
        *LINK_METRICS,
        *INGEST_METRICS,
        *BROKER_METRICS,
        *INCIDENT_METRICS,
        *LEDGER_METRICS,
        *AUTHORITY_METRICS,
    )
}
_TAG_SPECIAL = re.compile(r"([,= \\])")


class InfluxStore:
    """See `cloud.telemetry.store.TelemetryStore`. `url` is the server's root, without a path."""

    def __init__(self, url: str, *, bucket: str, org: str, token: str = "") -> None:
        self._bucket = bucket
        self._client = InfluxDBClient(url=url, token=token or "none", org=org, timeout=int(TIMEOUT_S * 1000))
        self._write = self._client.write_api(write_options=SYNCHRONOUS)
        self._http = httpx.Client(base_url=url, timeout=TIMEOUT_S)
        self._tags: dict[tuple[str, str, str, str], str] = {}

    def write(self, points: Sequence[Point]) -> None:
        """Store with one request.

        Raises:
            UnavailableError: the server does not answer, or not now.
            RefusedError: it refuses the lines.
        """
        body = "\n".join([self._line(point) for point in points]).encode()
        try:
            self._write.write(
                bucket=self._bucket,
                record=body,
                write_precision=WritePrecision.MS,  # type: ignore[arg-type] # a str, in its own class
            )
        except ApiException as error:
            if error.status in REFUSED:
                raise RefusedError(f"the time-series store refuses points: {error.status}") from error
            raise UnavailableError(
                f"the time-series store answers {error.status}; look at its log, and at the token"
            ) from error
        except (HTTPError, OSError) as error:
            raise UnavailableError(f"the time-series store does not answer: {error}") from error

    def latest(self, devices: Sequence[str], since: int, until: int) -> dict[str, dict[str, Last]]:
        """The newest of each, by two queries: the values, and their times."""
        if not devices:
            return {}
        # Device ids are DNS labels: nothing in them is special in a regular expression.
        chosen = f'{{__name__=~"{MEASUREMENT}_.+",device=~"{"|".join(devices)}"}}[{(until - since) // 1000}s]'
        values, times = (
            {
                tuple(sorted(row["metric"].items())): float(row["value"][1])
                for row in self._query(f"{function}({chosen}) keep_metric_names", until)
            }
            for function in ("last_over_time", "tlast_over_time")
        )
        found: dict[str, dict[str, Last]] = {}
        # Ascending in time: of a device whose site has changed, the newest series stays.
        for labels, at in sorted(times.items(), key=lambda item: item[1]):
            names = dict(labels)
            metric = names["__name__"].removeprefix(f"{MEASUREMENT}_")
            found.setdefault(names["device"], {})[metric] = Last(round(at * 1000), values[labels])
        return found

    def series(
        self, device: str, metric: str, since: int, until: int, step_s: int
    ) -> list[tuple[int, float]]:
        """Means over steps."""
        since, until = floor_ms(since, step_s), floor_ms(until, step_s)
        if until <= since:
            return []
        rows = self._get(
            "/api/v1/query_range",
            {
                "query": f'avg_over_time({MEASUREMENT}_{metric}{{device="{device}"}}[{step_s}s])',
                "start": str(since / 1000 + step_s),
                "end": str(until / 1000),
                "step": f"{step_s}s",
                "nocache": "1",
            },
        )
        return [(round(at * 1000), float(value)) for row in rows for at, value in row["values"]]

    def forget(self, before: int) -> None:
        """Nothing: the server has its own retention (`-retentionPeriod`)."""

    def close(self) -> None:
        """Close the connections."""
        self._http.close()
        self._client.close()  # type: ignore[no-untyped-call] # the client leaves it untyped

    def _line(self, point: Point) -> str:
        key = (point.device, point.site, point.kind, point.measurement)
        tags = self._tags.get(key)
        if tags is None:
            device, site, kind = (_TAG_SPECIAL.sub(r"\\\1", part) for part in key[:3])
            tags = self._tags[key] = f"{point.measurement},device={device},site={site},kind={kind} "
        fields = ",".join([f"{name}={+value}{_SUFFIX[name]}" for name, value in point.values])
        return f"{tags}{fields} {point.at}"

    def _query(self, query: str, at: int) -> Any:
        return self._get("/api/v1/query", {"query": query, "time": str(at / 1000), "nocache": "1"})

    def _get(self, path: str, parameters: dict[str, str]) -> Any:
        try:
            answer = self._http.get(path, params=parameters)
            answer.raise_for_status()
            return answer.json()["data"]["result"]
        except (httpx.HTTPError, ValueError, KeyError) as error:
            raise UnavailableError(f"the time-series store does not answer a query: {error}") from error
