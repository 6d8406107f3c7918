"""Incidents and the broker's figures as points for the store that Grafana reads, so that alerts count
incidents and not devices."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.broker_figures import Broker
from cloud.database.models.devices import Device
from cloud.database.models.presence import IncidentMember, IncidentRow, PresenceEars
from cloud.telemetry.own_metrics import KIND, SITE
from cloud.telemetry.store import Point
from contract.telemetry import BROKER_METRICS

INCIDENT = "incident"
BROKER = "broker"
"""Measurements; what is in them is in `contract.telemetry`."""
NAME = "svc-control"
FLOATS = frozenset(metric.name for metric in BROKER_METRICS if metric.type == "float")
LISTENS_WITHIN = timedelta(seconds=30)
"""An ingest says every 5 s that it listens."""


@dataclass(frozen=True)
class Incidents:
    """Incidents that are not closed, and devices that are away in them, by site; every site is in `sites`.

    `deaf_s` is for how long no ingest has listened, 0 while one does.
    """

    sites: frozenset[str]
    open: Mapping[str, int]
    away: Mapping[str, int]
    deaf_s: float

    @property
    def count(self) -> int:
        """How many are not closed."""
        return sum(self.open.values())


def incidents(session: Session, now: datetime, begun: datetime) -> Incidents:
    """How it stands; `begun` is from when on an ingest that never came is missed."""
    sites = session.scalars(sa.select(Device.site).where(Device.decommissioned_at.is_(None)).distinct())
    going_on = session.execute(
        sa.select(IncidentRow.site, sa.func.count())
        .where(IncidentRow.closed_at.is_(None))
        .group_by(IncidentRow.site)
    )
    away = session.scalars(
        sa.select(IncidentRow.site)
        .join(IncidentMember, IncidentMember.incident == IncidentRow.id)
        .where(IncidentRow.closed_at.is_(None), IncidentMember.back_at.is_(None))
    )
    opened = {row[0]: row[1] for row in going_on}
    return Incidents(frozenset(sites) | opened.keys(), opened, Counter(away), _deaf_s(session, now, begun))


def points(now: datetime, standing: Incidents, broker: Broker | None) -> list[Point]:
    """One of each site, one of ourselves, and one of the broker where it says something."""
    at = int(now.timestamp() * 1000)
    found = [
        Point(
            NAME,
            site,
            KIND,
            at,
            (("open", standing.open.get(site, 0)), ("away", standing.away.get(site, 0))),
            INCIDENT,
        )
        for site in sorted(standing.sites)
    ]
    found.append(Point(NAME, SITE, KIND, at, (("deaf_s", round(standing.deaf_s, 1)),), INCIDENT))
    if broker is not None:
        values = tuple(
            (name, value if name in FLOATS else int(value)) for name, value in sorted(broker.values.items())
        )
        found.append(Point(BROKER, SITE, KIND, at, values, BROKER))
    return found


def _deaf_s(session: Session, now: datetime, begun: datetime) -> float:
    rows = session.execute(sa.select(PresenceEars.since, PresenceEars.at)).all()
    if any(since is not None and now - at <= LISTENS_WITHIN for since, at in rows):
        return 0.0
    last = max((at for _, at in rows), default=begun)
    return max(0.0, (now - last).total_seconds())
