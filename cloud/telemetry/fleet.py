"""How the fleet is now: registry, newest values and counts put together, at most every two seconds."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud import arrivals
from cloud.broker_figures import Broker, BrokerFigures
from cloud.database.models.devices import Device
from cloud.database.models.enrolment import EnrolmentToken
from cloud.database.models.presence import PresenceWords
from cloud.database.models.twin import DeviceTwin
from cloud.telemetry import control_metrics
from cloud.telemetry.charts import Chart, chart, spark
from cloud.telemetry.control_metrics import Incidents
from cloud.telemetry.health import Concern, Newcomer, concerns, newcomer
from cloud.telemetry.ledger import Ledger
from cloud.telemetry.store import Last, TelemetryStore, floor_ms
from cloud.telemetry.wording import METRICS, SCALES
from contract.twin import INTERVAL_USUAL_S, sampling_s

FRESH_FOR = timedelta(seconds=2)
"""Many people look at the same page; the store is asked once for all of them."""
LOOK_BACK = timedelta(hours=24)
AHEAD_MAX = timedelta(minutes=10)
"""Values of a device whose clock is ahead by more are not taken for the newest."""
MEASURE_EVERY_S = 10.0
SPARK_RANGE = timedelta(minutes=15)
SPARK_STEP_S = 30
RANGES = {
    "15m": (timedelta(minutes=15), 10),
    "1h": (timedelta(hours=1), 40),
    "24h": (timedelta(hours=24), 960),
}
"""Length of a chart and seconds of a step: 90 points each."""


@dataclass(frozen=True)
class Row:
    """One device; `seen` is the newest of its samples and of its presence, by whatever clock told it.

    `state` is one of `contract.presence.PRESENCE`; `expected_until` is set while it is off as expected. One
    that is off and never enrolled is a `newcomer`: `awaited` while its token is open, then `tokenless`.
    """

    device: str
    kind: str
    site: str
    state: str
    expected_until: datetime | None
    since: datetime | None
    seen: datetime | None
    latest: Mapping[str, Last]
    newcomer: Newcomer | None
    concerns: list[Concern]
    spark: str

    @property
    def online(self) -> bool:
        """Whether it is connected, well or not."""
        return self.state != "offline"


@dataclass(frozen=True)
class Fleet:
    """Everything at `at`. `points` counts values stored since the beginning.

    `broker` is None where it says nothing of itself; `deaf_s` is for how long the ingest has not listened.
    `ending` counts what all connections depend on and is about to end.
    """

    at: datetime
    rows: list[Row]
    points: int
    samples_per_minute: int
    refused: Mapping[str, int]
    outbox_waiting: int
    incidents: Incidents
    broker: Broker | None
    ending: int

    @property
    def online(self) -> int:
        """How many devices are connected."""
        return sum(row.online for row in self.rows)

    @property
    def degraded(self) -> int:
        """How many are connected and not steady."""
        return sum(row.state == "degraded" for row in self.rows)

    @property
    def expected_off(self) -> int:
        """How many are off as expected."""
        return sum(row.expected_until is not None for row in self.rows)

    def newcomers(self, which: Newcomer) -> int:
        """How many were never enrolled, and are `which`."""
        return sum(row.newcomer is which for row in self.rows)

    @property
    def worrying(self) -> list[Row]:
        """The devices that somebody must look at."""
        return [row for row in self.rows if row.concerns]


class Watch:
    """Looks at the fleet; several threads may ask."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        store: TelemetryStore,
        ledger: Ledger,
        clock: Callable[[], datetime],
        figures: BrokerFigures | None = None,
        ending: Callable[[datetime], int] = lambda _now: 0,
    ) -> None:
        self._ending = ending
        self._sessions = sessions
        self._begun = clock()
        self._figures = figures
        self.store = store
        self._ledger = ledger
        self._clock = clock
        self._one = threading.Lock()
        self._last: Fleet | None = None

    def fleet(self) -> Fleet:
        """The fleet as it is now, or was less than two seconds ago.

        Raises:
            UnavailableError: the time-series store does not answer.
        """
        with self._one:
            now = self._clock()
            if self._last is None or not timedelta(0) <= now - self._last.at < FRESH_FOR:
                self._last = self._look(now)
            return self._last

    def measure(self) -> None:
        """Write incidents and the broker's figures into the store that Grafana reads.

        Raises:
            UnavailableError: the store does not take them; the next ones are due soon.
        """
        now = self._clock()
        with self._sessions() as session:
            standing = control_metrics.incidents(session, now, self._begun)
        self.store.write(control_metrics.points(now, standing, self._broker(now)))

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()
        self._ledger.close()

    def charts(self, device: str, span: str) -> list[Chart]:
        """The charts of a device over `span` (a key of `RANGES`), those that have values.

        Raises:
            UnavailableError: the time-series store does not answer.
        """
        length, step_s = RANGES[span]
        until = floor_ms(_ms(self._clock()), step_s) + step_s * 1000  # the step that is going on is shown too
        since = until - _length_ms(length)
        drawn = []
        for metric in METRICS:
            points = self.store.series(device, metric, since, until, step_s)
            if points:
                low, high = SCALES.get(metric, (None, None))
                drawn.append(
                    chart(metric, points, since=since, until=until, step_s=step_s, low=low, high=high)
                )
        return drawn

    def _look(self, now: datetime) -> Fleet:
        with self._sessions() as session:
            rows_of_fleet = session.scalars(sa.select(Device).where(Device.decommissioned_at.is_(None)))
            devices = sorted(rows_of_fleet, key=lambda row: row.device)  # pages compare as Python does
            refused = Counter(arrivals.refusals(session))
            words = {row.device: row for row in session.scalars(sa.select(PresenceWords))}
            twins = session.execute(sa.select(DeviceTwin.device, DeviceTwin.reported))
            open_tokens = sa.select(EnrolmentToken.device).where(EnrolmentToken.expires_at > now)
            invited = set(session.scalars(open_tokens))
            paces = {device: sampling_s(reported) for device, reported in twins}
            incidents = control_metrics.incidents(session, now, self._begun)
        figures = self._ledger.figures(now)
        refused.update(figures.refused)
        latest = self.store.latest(
            [device.device for device in devices], _ms(now - LOOK_BACK), _ms(now + AHEAD_MAX)
        )
        rows = [
            self._row(
                device,
                words.get(device.device),
                latest.get(device.device, {}),
                paces.get(device.device, INTERVAL_USUAL_S),
                newcomer(
                    device.presence != "offline",
                    enrolled=device.enrolled_at is not None,
                    invited=device.device in invited,
                ),
                now,
            )
            for device in devices
        ]
        waiting = sum(row.latest["outbox_waiting"].value for row in rows if "outbox_waiting" in row.latest)
        return Fleet(
            at=now,
            rows=rows,
            points=figures.points,
            samples_per_minute=figures.samples_last_minute,
            refused=dict(refused),
            outbox_waiting=round(waiting),
            incidents=incidents,
            broker=self._broker(now),
            ending=self._ending(now),
        )

    def _broker(self, now: datetime) -> Broker | None:
        return self._figures.now(now) if self._figures is not None else None

    def _row(
        self,
        device: Device,
        words: PresenceWords | None,
        latest: Mapping[str, Last],
        pace_s: float,
        new: Newcomer | None,
        now: datetime,
    ) -> Row:
        online = device.presence != "offline"
        left = not online and new is None
        expected_until = words.expected_until if words is not None and left else None
        sampled = [datetime.fromtimestamp(last.at / 1000, UTC) for last in latest.values()]
        seen = [moment for moment in (device.last_seen_at, *sampled) if moment is not None]
        until = floor_ms(_ms(now), SPARK_STEP_S) + SPARK_STEP_S * 1000
        since = until - _length_ms(SPARK_RANGE)
        processor = self.store.series(device.device, "cpu_pct", since, until, SPARK_STEP_S)
        return Row(
            device=device.device,
            kind=device.kind,
            site=device.site,
            state=device.presence,
            expected_until=expected_until,
            since=device.presence_at,
            seen=max(seen, default=None),
            latest=latest,
            newcomer=new,
            concerns=concerns(
                online,
                latest,
                now,
                sampling_s=pace_s,
                flapping=words is not None and words.cause == "flapping",
                expected_off=expected_until is not None or new is not None,
            ),
            spark=spark(processor, since=since, until=until, low=0, high=100),
        )


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _length_ms(length: timedelta) -> int:
    return int(length.total_seconds() * 1000)
