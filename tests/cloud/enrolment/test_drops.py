"""Revoked now: the connection that stands ends, and the device stays away, without a broker's restart."""

import time

import pytest
import sqlalchemy as sa

from cloud.database.models.devices import Device
from cloud.database.models.enrolment import ConnectionDrop
from cloud.database.models.operators import AuditEntry
from cloud.enrolment import ends, issuers, members, registry
from cloud.enrolment.door_mqtt import KEEPALIVE_S, DoorMqtt
from cloud.enrolment.drops import Drops, Trouble
from cloud.enrolment.office import Office
from cloud.enrolment.revocations import Revocations
from cloud.errors import RefusedError
from cloud.operators.access import Actor
from contract import topics
from contract.topics import ROOT_DEFAULT
from tests.cloud.enrolment.conftest import NAME
from tests.cloud.enrolment.door_fake import FakeDoor
from tests.cloud.enrolment.hardened import TIMEOUT_S, make_client

OTHER = "kiosk-02"
DEADLINE_S = 5


@pytest.fixture
def revocations(sessions, folder, desk):
    return Revocations(sessions, folder)


@pytest.fixture
def cancelled():
    """Of which devices the jobs were cancelled."""
    return []


@pytest.fixture
def office(sessions, revocations, cancelled, folder):
    return Office(
        sessions,
        revocations.publish,
        lambda _session, device: cancelled.append(device),
        lambda: issuers.read(folder),
        lambda: ends.read(folder),
    )


@pytest.fixture
def door():
    return FakeDoor(inside={NAME, OTHER}, retained={topics.build("presence", device=NAME)})


@pytest.fixture
def drops(sessions, revocations, door, now):
    return Drops(sessions, revocations, door, ROOT_DEFAULT, now)


@pytest.fixture
def ana(now):
    return Actor("ana", now())


def certified(desk, sessions, folder, device, now):
    """A device with a good certificate, whose files lie in `folder` for mosquitto's clients."""
    certificate = make_client(desk.issuer, folder, device)
    with sessions.begin() as session:
        registry.register(session, device, "kiosk", "Dardania", now())
        members.record(session, certificate, device, "token", now())
    return certificate


def row(sessions, device=NAME):
    with sessions() as session:
        return session.get(ConnectionDrop, device)


def read_by(door, folder, revocations, now):
    """The fake broker reads the list as it is."""
    door.revoked.add(revocations.canary(now()).serial)


def test_a_live_subscriber_is_dropped_and_stays_out(
    broker, broker_settings, desk, sessions, folder, office, revocations, ana, now
):
    drops = Drops(
        sessions, revocations, DoorMqtt(broker_settings, folder, desk.issuer, now), ROOT_DEFAULT, now
    )
    for device in (NAME, OTHER):
        certified(desk, sessions, folder, device, now)
    running = broker.process.pid
    thief = broker.subscribe(NAME, f"fleet/v1/{NAME}/#", count=2)
    neighbour = broker.subscribe(OTHER, f"fleet/v1/{OTHER}/#", count=1)
    since, began = len(broker.lines), time.monotonic()
    office.revoke(ana, NAME)
    assert drops.carry_out() == 0, "the broker has not read the list yet"
    broker.wait(rf"Client {NAME} already connected, closing old connection", since)
    assert time.monotonic() - began < DEADLINE_S
    assert row(sessions).trouble == Trouble.NOT_RELOADED
    # mosquitto_sub is back within a second: the list is not read yet.
    broker.wait(rf"New client connected .* as {NAME} \(p5, c1, k60", since)
    broker.read_revocations()
    reread = len(broker.lines)
    now.ahead_s += 2
    assert drops.carry_out() == 1
    assert row(sessions).done_at is not None
    broker.wait(rf"New client connected .* as {NAME} \(p5, c1, k{KEEPALIVE_S}\b", reread)  # ourselves
    before = len(broker.lines)
    assert broker.publish(NAME, topics.build("presence", device=NAME)).returncode != 0
    broker.publish("svc-ingest", topics.build("ack", device=NAME), "not for a thief")
    broker.publish("svc-ingest", topics.build("ack", device=OTHER), "for you")
    told, _ = neighbour.communicate(timeout=TIMEOUT_S)
    assert told == f"fleet/v1/{OTHER}/ack for you\n"
    assert not any(f" as {NAME} " in line for line in broker.lines[before:])
    thief.terminate()
    assert thief.communicate(timeout=TIMEOUT_S) == ("", None)
    assert broker.process.pid == running
    assert broker.process.poll() is None


def test_strangers_and_the_past_are_refused_by_the_broker_each(
    broker, desk, sessions, folder, office, revocations, ana, now, tmp_path
):
    """Expired, not yet valid, revoked: with certificates of ours, each alone."""
    certified(desk, sessions, folder, NAME, now)
    own = topics.build("presence", device=NAME)
    assert broker.publish(NAME, own).returncode == 0
    for days in (-40, 40):
        now.ahead_s = days * 86_400
        make_client(desk.issuer, folder, OTHER, at=now())
        refused = broker.publish(OTHER, topics.build("presence", device=OTHER))
        assert refused.returncode != 0, days
    now.ahead_s = 0
    office.revoke(ana, NAME)
    broker.read_revocations()
    assert broker.publish(NAME, own).returncode != 0


def test_a_broker_that_cannot_be_reached_is_tried_again_and_told_of(
    drops, door, office, desk, sessions, folder, revocations, ana, now
):
    certified(desk, sessions, folder, NAME, now)
    door.answers = False
    office.revoke(ana, NAME)
    assert drops.carry_out() == 0
    assert (row(sessions).trouble, row(sessions).tries) == (Trouble.UNREACHABLE, 1)
    assert drops.carry_out() == 0
    assert row(sessions).tries == 1, "not before its time"
    door.answers = True
    read_by(door, folder, revocations, now)
    now.ahead_s += 2
    assert drops.carry_out() == 1
    assert door.inside == {OTHER}
    with sessions() as session:
        assert members.good(session, NAME, now()) == 0


def test_one_that_comes_back_is_dropped_again_at_a_bounded_pace(
    drops, door, office, desk, sessions, folder, revocations, ana, now
):
    certified(desk, sessions, folder, NAME, now)
    office.revoke(ana, NAME)
    for _ in range(600):
        drops.carry_out()
        drops.noticed(NAME)
        door.inside.add(NAME)
        now.ahead_s += 1
    assert 10 < len(door.dropped) < 20, "600 seconds"
    read_by(door, folder, revocations, now)
    now.ahead_s += 60
    assert drops.carry_out() == 1
    drops.noticed(NAME)
    assert row(sessions).done_at is None, "it was seen again after that was certain"
    assert drops.carry_out() == 1


def test_a_good_device_is_never_dropped_for_being_seen(drops, door, desk, sessions, folder, now):
    certified(desk, sessions, folder, NAME, now)
    drops.noticed(NAME)
    assert drops.carry_out() == 0
    assert door.dropped == []


def test_a_device_that_was_enrolled_again_is_left_alone(
    drops, door, office, desk, sessions, folder, ana, now
):
    certified(desk, sessions, folder, NAME, now)
    office.revoke(ana, NAME)
    assert drops.carry_out() == 0
    certified(desk, sessions, folder, NAME, now)
    now.ahead_s += 2
    drops.carry_out()
    assert row(sessions).done_at is not None
    now.ahead_s += 600
    drops.carry_out()
    assert len(door.dropped) == 2


def test_a_broker_without_certificates_can_shut_nobody_out(
    sessions, revocations, office, desk, folder, ana, now
):
    drops = Drops(sessions, revocations, None, ROOT_DEFAULT, now)
    certified(desk, sessions, folder, NAME, now)
    office.revoke(ana, NAME)
    assert drops.carry_out() == 0
    assert row(sessions).trouble == Trouble.WITHOUT_CERTIFICATES
    drops.noticed(NAME)


def test_out_of_service_ends_everything_and_keeps_the_name(
    drops, door, office, desk, sessions, folder, revocations, cancelled, ana, now
):
    certified(desk, sessions, folder, NAME, now)
    with sessions.begin() as session:
        session.get(Device, NAME).presence = "online"
    office.take_out(ana, NAME)
    office.take_out(ana, NAME)
    read_by(door, folder, revocations, now)
    assert drops.carry_out() == 1
    assert door.retained == set()
    assert cancelled == [NAME]
    with sessions() as session:
        device = session.get(Device, NAME)
        assert (device.presence, members.good(session, NAME, now())) == ("offline", 0)
    with pytest.raises(RefusedError, match="take this one back"):
        office.token(ana, NAME, "kiosk", "Dardania")
    office.take_back(ana, NAME)
    office.take_back(ana, NAME)
    assert len(office.token(ana, NAME, "kiosk", "Dardania")) == 32
    with sessions() as session:
        done = session.scalars(sa.select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert done == ["decommission-device", "readmit-device", "issue-enrolment-token"]


def test_nobody_is_shut_out_who_is_not_there(office, ana):
    for do in (office.revoke, office.take_out, office.take_back):
        with pytest.raises(RefusedError, match="see the list of devices"):
            do(ana, "kiosk-99")
