"""Words from the broker and hearing from the ingest meet in the database: presence, incidents, hours off."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.devices import Device
from cloud.database.models.link import ToldDelay
from cloud.database.models.operators import AuditEntry
from cloud.database.models.presence import PresenceWords
from cloud.devices import off_hours
from cloud.devices.hours import DAYS, stretch
from cloud.devices.waits import LATE_S
from cloud.errors import MalformedError as CloudMalformedError
from cloud.errors import RefusedError
from cloud.operators.access import Actor
from cloud.twin import store as twin_store
from cloud.twin.core import Twin
from contract.errors import MalformedError
from tests.cloud.conftest import Clock
from tests.cloud.devices.fleet import Fleet, register

SITES = {"kiosk-1": "Veternik", "kiosk-2": "Veternik", "kiosk-3": "Veternik", "kiosk-4": "Ulpiana"}


@pytest.fixture
def fleet(sessions: sessionmaker[Session], clock: Clock) -> Fleet:
    register(sessions, clock.at, SITES)
    return Fleet(sessions, clock)


def test_a_coming_is_written_down_and_told_once(fleet: Fleet) -> None:
    fleet.say("kiosk-1", True)
    fleet.say("kiosk-1", True)
    with fleet.sessions() as session:
        row = session.get_one(Device, "kiosk-1")
        assert (row.presence, row.boot, row.agent) == ("online", "b1", "0.1.0")
        assert row.presence_at == row.last_seen_at == fleet.clock.at
    assert (fleet.came, fleet.changed) == (["kiosk-1"], ["kiosk-1"])


def test_a_short_break_is_no_incident_and_a_long_one_is(fleet: Fleet) -> None:
    fleet.say("kiosk-1", True)
    fleet.live(30, "kiosk-1")
    fleet.say("kiosk-1", False)
    fleet.live(20)
    fleet.say("kiosk-1", True, connection=2)
    fleet.live(60, "kiosk-1")
    assert (fleet.state("kiosk-1"), fleet.incidents()) == ("online", [])
    fleet.say("kiosk-1", False, connection=2)
    fleet.live(30)
    (one,) = fleet.incidents()
    assert (fleet.state("kiosk-1"), one.site, one.away) == ("offline", "Veternik", ("kiosk-1",))
    fleet.say("kiosk-1", True, connection=3)
    fleet.live(360, "kiosk-1", step_s=40)
    assert [each.state for each in fleet.incidents()] == ["closed"]
    assert fleet.changed == ["kiosk-1"] * 3


def test_a_cut_uplink_is_one_incident_of_its_site(fleet: Fleet) -> None:
    for device in SITES:
        fleet.say(device, True)
    fleet.live(30, *SITES)
    for device in ("kiosk-1", "kiosk-2", "kiosk-3"):
        fleet.live(10, "kiosk-4")
        fleet.say(device, False)
    fleet.live(60, "kiosk-4")
    (one,) = fleet.incidents()
    assert one.away == ("kiosk-1", "kiosk-2", "kiosk-3")
    for device in ("kiosk-1", "kiosk-2", "kiosk-3"):
        fleet.say(device, True, connection=2)
    fleet.live(20, *SITES)
    assert [(each.state, each.away) for each in fleet.incidents()] == [("recovering", ())]


def test_a_black_hole_makes_degraded_and_then_offline(fleet: Fleet) -> None:
    fleet.say("kiosk-1", True)
    fleet.live(30, "kiosk-1")
    fleet.live(60)
    assert (fleet.state("kiosk-1"), fleet.incidents()) == ("degraded", [])
    fleet.live(240, step_s=40)
    assert fleet.state("kiosk-1") == "offline"
    assert len(fleet.incidents()) == 1
    fleet.live(10, "kiosk-1")
    assert fleet.state("kiosk-1") == "online", "data proves it, whatever word was lost"


@pytest.mark.parametrize(
    ("reported", "state"),
    [
        ({"telemetry": {"interval_s": 1800}}, "online"),
        ({"telemetry": {"interval_s": 10**9}}, "offline"),
        ({"telemetry": "often"}, "offline"),
        ({}, "offline"),
    ],
)
def test_a_device_is_waited_for_as_long_as_its_twin_says_and_its_twin_may(
    fleet: Fleet, reported: dict[str, Any], state: str
) -> None:
    with fleet.sessions.begin() as session:
        twin_store.save(session, "kiosk-1", Twin(1, True, {}, reported), fleet.clock.at)
    fleet.say("kiosk-1", True)
    fleet.live(10, "kiosk-1")
    fleet.live(1800, step_s=60)
    assert fleet.state("kiosk-1") == state


def test_a_device_that_was_never_there_is_no_incident(fleet: Fleet) -> None:
    fleet.live(600, step_s=100)
    assert fleet.incidents() == []


def test_a_device_that_is_taken_out_of_service_ends_its_incident(fleet: Fleet) -> None:
    fleet.say("kiosk-1", True)
    fleet.say("kiosk-1", False)
    fleet.live(40)
    with fleet.sessions.begin() as session:
        session.get_one(Device, "kiosk-1").decommissioned_at = fleet.clock.at
    fleet.live(360, step_s=40)
    assert [each.state for each in fleet.incidents()] == ["closed"]


def test_an_ingest_that_stops_makes_nobody_late(fleet: Fleet) -> None:
    fleet.say("kiosk-1", True)
    fleet.live(30, "kiosk-1")
    fleet.silent = True
    fleet.live(1200, step_s=100)
    assert fleet.state("kiosk-1") == "online"
    fleet.silent, fleet.ears = False, fleet.clock.at
    fleet.live(50)
    assert fleet.state("kiosk-1") == "online"
    fleet.live(20)
    assert fleet.state("kiosk-1") == "degraded"


def test_a_control_plane_without_its_broker_judges_nobody(fleet: Fleet) -> None:
    fleet.say("kiosk-1", True)
    fleet.say("kiosk-2", True)
    fleet.live(30, "kiosk-1", "kiosk-2")
    fleet.say("kiosk-2", False)
    fleet.deaf = True
    fleet.live(900, "kiosk-1", step_s=50)
    assert (fleet.state("kiosk-1"), fleet.state("kiosk-2")) == ("online", "online")


def test_after_a_restart_a_will_has_to_hold_anew(fleet: Fleet) -> None:
    """While nobody listened the device may have come back, and its greeting is still on its way."""
    fleet.say("kiosk-1", True)
    fleet.say("kiosk-2", True)
    fleet.live(30, "kiosk-1", "kiosk-2")
    fleet.say("kiosk-1", False)
    fleet.say("kiosk-2", False)
    fleet.clock.forward(3600)
    fleet.restart()
    fleet.ears = fleet.clock.at
    fleet.live(5)
    assert fleet.state("kiosk-1") == "online"
    fleet.say("kiosk-1", True, connection=2)
    fleet.live(30, "kiosk-1")
    assert (fleet.state("kiosk-1"), fleet.state("kiosk-2")) == ("online", "offline")
    assert [each.away for each in fleet.incidents()] == [("kiosk-2",)]


def test_a_restart_between_a_verdict_and_its_incident_loses_nothing(fleet: Fleet) -> None:
    fleet.say("kiosk-1", True)
    with fleet.sessions.begin() as session:
        session.get_one(Device, "kiosk-1").presence = "offline"
        words = session.get_one(PresenceWords, "kiosk-1")
        words.cause, words.ended_at = "ended", fleet.clock.at
    fleet.restart()
    fleet.live(5)
    assert [each.away for each in fleet.incidents()] == [("kiosk-1",)]


def test_a_device_known_before_words_were_written_down_goes_on(fleet: Fleet) -> None:
    with fleet.sessions.begin() as session:
        row = session.get_one(Device, "kiosk-1")
        row.presence, row.boot, row.presence_at = "online", "b1", fleet.clock.at
    fleet.live(30, "kiosk-1")
    fleet.say("kiosk-1", False, connection=0)
    fleet.live(30)
    assert fleet.state("kiosk-1") == "offline"


def plan(fleet: Fleet, scope: off_hours.Scope, name: str) -> None:
    week = [stretch(day, "17:00", "07:30") for day in DAYS[:5]]
    with fleet.sessions.begin() as session:
        off_hours.put(session, Actor("ana", fleet.clock.at), scope, name, week)


def test_a_device_that_is_off_within_its_hours_is_no_incident_until_they_are_over(fleet: Fleet) -> None:
    plan(fleet, "site", "Veternik")
    fleet.clock.at = datetime(2026, 11, 23, 15, 50, tzinfo=UTC)  # 16:50 in Prishtina, a Monday
    fleet.restart()
    for device in ("kiosk-1", "kiosk-4"):
        fleet.say(device, True)
        fleet.say(device, False)
    fleet.live(40)
    assert [each.site for each in fleet.incidents()] == ["Ulpiana"]
    with fleet.sessions() as session:
        until = session.get_one(PresenceWords, "kiosk-1").expected_until
    assert until == datetime(2026, 11, 24, 6, 45, tzinfo=UTC), "7:30 and a quarter of an hour"
    fleet.clock.at = until
    fleet.live(5)
    assert len(fleet.incidents()) == 2
    with fleet.sessions() as session:
        assert session.get_one(PresenceWords, "kiosk-1").expected_until is None


def test_a_device_goes_by_its_own_hours_alone(fleet: Fleet) -> None:
    plan(fleet, "site", "Veternik")
    with fleet.sessions.begin() as session:
        off_hours.put(
            session, Actor("ana", fleet.clock.at), "device", "kiosk-1", [stretch("sunday", "00:00", "00:00")]
        )
    fleet.clock.at = datetime(2026, 11, 23, 19, 0, tzinfo=UTC)
    fleet.restart()
    for device in ("kiosk-1", "kiosk-2"):
        fleet.say(device, True)
        fleet.say(device, False)
    fleet.live(40)
    assert [each.away for each in fleet.incidents()] == [("kiosk-1",)]


def tell(fleet: Fleet, site: str, *, longest_s: int = 300) -> None:
    """What the page of planned maintenance writes down."""
    at = fleet.clock.at
    with fleet.sessions.begin() as session:
        session.add(
            ToldDelay(
                delay=f"delay-{site}",
                site=site,
                min_s=60,
                max_s=longest_s,
                created_at=at,
                created_by="ana",
                until=at + timedelta(hours=1),
            )
        )


def test_who_waits_as_it_was_told_is_no_incident_until_its_time_is_over(fleet: Fleet) -> None:
    for device in ("kiosk-1", "kiosk-4"):
        fleet.say(device, True)
    tell(fleet, "Veternik")
    fleet.live(30, "kiosk-1", "kiosk-4")
    gone_at = fleet.clock.at
    for device in ("kiosk-1", "kiosk-4"):
        fleet.say(device, False)
    fleet.live(300)
    assert [each.site for each in fleet.incidents()] == ["Ulpiana"], "nobody told that site to wait"
    with fleet.sessions() as session:
        until = session.get_one(PresenceWords, "kiosk-1").expected_until
    assert until == gone_at + timedelta(seconds=300 + LATE_S)
    fleet.live(LATE_S + 10)
    assert {each.site for each in fleet.incidents()} == {"Ulpiana", "Veternik"}


def test_who_went_before_a_maintenance_was_told_is_an_incident_all_the_same(fleet: Fleet) -> None:
    fleet.say("kiosk-1", True)
    fleet.say("kiosk-1", False)
    fleet.clock.forward(1)
    tell(fleet, "")
    fleet.live(40)
    assert [each.away for each in fleet.incidents()] == [("kiosk-1",)]


def test_an_incident_that_began_before_the_hours_goes_on(fleet: Fleet) -> None:
    plan(fleet, "site", "Veternik")
    fleet.clock.at = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
    fleet.restart()
    fleet.say("kiosk-1", True)
    fleet.say("kiosk-1", False)
    fleet.live(40)
    fleet.clock.at = datetime(2026, 11, 23, 17, 0, tzinfo=UTC)
    fleet.live(5)
    assert [each.state for each in fleet.incidents()] == ["open"]


def test_hours_are_set_with_an_entry_in_the_audit_and_for_what_there_is(fleet: Fleet) -> None:
    plan(fleet, "site", "Veternik")
    plan(fleet, "site", "Veternik")
    with fleet.sessions() as session:
        (entry,) = session.scalars(sa.select(AuditEntry))
        assert (entry.action, entry.subject, entry.details["stretches"]) == (
            "set-expected-off",
            "Veternik",
            5,
        )
    with pytest.raises(RefusedError, match="there is no device 'kiosk-9'"):
        plan(fleet, "device", "kiosk-9")


def test_two_people_who_set_hours_at_once_leave_one_plan(fleet: Fleet) -> None:
    together = threading.Barrier(2)
    failed: list[BaseException] = []

    def put() -> None:
        together.wait(10)
        try:
            plan(fleet, "site", "Veternik")
        except BaseException as error:  # noqa: BLE001 - the test tells it
            failed.append(error)

    threads = [threading.Thread(target=put) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(20)
    assert failed == []
    with fleet.sessions() as session:
        assert len(off_hours.week(session, "site", "Veternik")) == 5


@pytest.mark.parametrize(
    "payload",
    [
        b"[]",
        b'{"boot": "b", "at": 1, "online": true, "kind": "kiosk", "agent": "1", "connection": -1}',
        b'{"boot": "b", "at": 1, "online": true, "kind": "kiosk", "agent": "1", "connection": true}',
        b'{"boot": "b", "at": 1, "online": true, "kind": "k", "agent": "1", "connection": 9007199254740992}',
        b'{"boot": "%s", "at": 1, "online": true, "kind": "kiosk", "agent": "1"}' % (b"b" * 65),
    ],
)
def test_a_word_that_is_none_is_refused(fleet: Fleet, payload: bytes) -> None:
    with pytest.raises((MalformedError, CloudMalformedError)):
        fleet.say_raw("kiosk-1", payload)
    assert fleet.state("kiosk-1") == "offline"


def test_a_sweep_of_many_devices_writes_nothing_where_nothing_changes(fleet: Fleet) -> None:
    for device in SITES:
        fleet.say(device, True)
    fleet.live(10, *SITES)
    written: list[str] = []
    engine = fleet.sessions.kw["bind"]

    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.split()[0] in ("UPDATE", "INSERT", "DELETE"):
            written.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    fleet.clock.at += timedelta(seconds=2)
    fleet.presences.sweep()
    sa.event.remove(engine, "before_cursor_execute", note)
    assert written == []
