"""Enrolment: who signs, who may come in, and who is shown the door."""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from fastapi import APIRouter

from cloud.enrolment import api, ends, est, issuers, members, pages, views
from cloud.enrolment.door_mqtt import DoorMqtt
from cloud.enrolment.drops import Drops
from cloud.enrolment.est import Desk
from cloud.enrolment.handshakes import Handshakes
from cloud.enrolment.line import Line
from cloud.enrolment.office import Office
from cloud.enrolment.revocations import Revocations
from cloud.jobs.service import Jobs
from cloud.telemetry.control_metrics import NAME
from cloud.telemetry.fleet import Watch
from cloud.telemetry.own_metrics import KIND, SITE
from cloud.telemetry.store import Point
from cloud.wiring.ground import Chore, Ground

SWEEP_CERTIFICATES_S = 60.0
DROP_CONNECTIONS_S = 1.0
WRITE_ENDS_S = 30.0


@dataclass(frozen=True)
class Members:
    """What enrolment is made of."""

    desk: Desk
    office: Office
    revocations: Revocations
    drops: Drops
    handshakes: Handshakes
    line: Line


def make(ground: Ground, jobs: Jobs) -> Members:
    """Whoever is taken out of service has no `jobs` any more."""
    pki_dir, broker, chosen = ground.settings.pki_dir, ground.settings.broker, ground.settings.certificates
    revocations = Revocations(ground.sessions, pki_dir, chosen.key_file)
    door = DoorMqtt(broker, pki_dir, ground.issuer, ground.clock) if broker.tls else None
    return Members(
        desk=Desk(
            ground.issuer,
            ground.sessions,
            ground.clock,
            timedelta(days=chosen.device_days),
            timedelta(days=chosen.expired_grace_days),
        ),
        office=Office(
            ground.sessions,
            revocations.publish,
            jobs.remove,
            partial(issuers.read, pki_dir),
            partial(ends.read, pki_dir),
        ),
        revocations=revocations,
        drops=Drops(ground.sessions, revocations, door, broker.root, ground.clock),
        handshakes=Handshakes(),
        line=Line(),
    )


def bootstrap_routers(ground: Ground, made: Members) -> list[APIRouter]:
    """What the bootstrap listener serves."""
    return [est.router(made.desk, ground.settings.pki_dir, made.line)]


def pages_routers(made: Members) -> list[APIRouter]:
    """Pages and API for staff."""
    return [pages.router(made.office), api.router(made.office)]


def chores(ground: Ground, made: Members, watch: Watch) -> list[Chore]:
    """Certificates that end, the list of the revoked, and connections of whoever is on it.

    For Grafana, where there is one, when everything ends that they stand on, into the store of `watch`.
    """
    grace = timedelta(seconds=ground.settings.certificates.superseded_grace_s)

    def sweep() -> None:
        members.sweep(ground.sessions, ground.clock(), grace)
        made.revocations.publish(ground.clock())
        made.handshakes.store(ground.sessions, ground.clock())
        made.line.store(ground.sessions, ground.clock())

    def write() -> None:
        now, office = ground.clock(), made.office
        with ground.sessions() as session:
            former = views.former_devices(views.authorities(session, office.issuers(), now))
        values = ends.values(office.ends(), former, now)
        watch.store.write([Point(NAME, SITE, KIND, int(now.timestamp() * 1000), values, ends.MEASUREMENT)])

    found = [
        Chore("certificates", SWEEP_CERTIFICATES_S, sweep),
        Chore("connections", DROP_CONNECTIONS_S, made.drops.carry_out),
    ]
    if ground.settings.telemetry.store == "influx":
        found.append(Chore("ends", WRITE_ENDS_S, write))
    return found
