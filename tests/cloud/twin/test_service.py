"""What staff desire of a device, and when the device is told of it."""

import pytest
import sqlalchemy as sa

from cloud.database.models.devices import Device
from cloud.database.models.operators import AuditEntry
from cloud.errors import MalformedError, RefusedError
from cloud.twin.service import ConflictError
from contract.twin import Section
from tests.cloud.database.test_concurrency import MANY, at_once
from tests.cloud.twin.conftest import Fleet

WISH: Section = {"telemetry": {"interval_s": 30}}


def topics(fleet: Fleet, device: str = "kiosk-01") -> list[str]:
    return [name for to, name, _ in fleet.told if to == device]


def test_a_wish_is_written_down_and_told(fleet: Fleet) -> None:
    twin = fleet.twins.desire("kiosk-01", WISH, fleet.ana)
    assert (twin.version, twin.desired) == (1, WISH)
    assert topics(fleet) == ["twin-documents", "twin-delta"]
    with fleet.sessions() as session:
        entry = session.scalars(sa.select(AuditEntry)).one()
    assert (entry.actor, entry.action, entry.subject) == ("ana", "change-settings", "kiosk-01")
    assert entry.details == {"version": 1, "changes": ["telemetry.interval_s"]}


def test_a_wish_that_is_taken_back_is_told_too(fleet: Fleet) -> None:
    fleet.report(telemetry={"interval_s": 15})
    fleet.twins.desire("kiosk-01", WISH, fleet.ana)
    fleet.told.clear()
    fleet.twins.desire("kiosk-01", {"telemetry": {"interval_s": None}}, fleet.ana)
    assert topics(fleet) == ["twin-documents"], "nothing differs any more"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"telemetry": {"interval_s": 5}}, "from 10 to 3600"),
        ({"log": {"level": "loud"}}, "one of debug"),
        ({"fan": {"speed": 1}}, "there is no setting 'fan.speed'"),
        ({"telemetry": {}}, "there is no setting 'telemetry'"),
        ({"telemetry": [None]}, "no null"),
        ({}, "name a setting"),
        ({"a": {"b": {"c": {"d": {"e": {"f": {"g": 1}}}}}}}, "too many levels"),
    ],
)
def test_staff_desire_known_settings_within_their_bounds(fleet: Fleet, changes: Section, said: str) -> None:
    with pytest.raises(MalformedError, match=said):
        fleet.twins.desire("kiosk-01", changes, fleet.ana)
    assert fleet.told == []


def test_staff_may_remove_whatever_is_desired(fleet: Fleet) -> None:
    fleet.ask(fleet.requests.update, {"state": {"desired": {"fan": {"speed": 1}}}})
    assert fleet.twins.desire("kiosk-01", {"fan": None}, fleet.ana).desired == {}


def test_a_wish_for_an_older_version_is_a_conflict(fleet: Fleet) -> None:
    fleet.report(a=1)
    with pytest.raises(ConflictError, match="version 1"):
        fleet.twins.desire("kiosk-01", WISH, fleet.ana, version=0)
    with pytest.raises(ConflictError, match="version 1"):
        fleet.twins.delete("kiosk-01", fleet.ana, version=0)
    assert fleet.twins.desire("kiosk-01", WISH, fleet.ana, version=1).version == 2


def test_a_deleted_twin_is_told_to_the_device(fleet: Fleet) -> None:
    with pytest.raises(RefusedError, match="no twin"):
        fleet.twins.delete("kiosk-01", fleet.ana)
    fleet.report(a=1)
    fleet.told.clear()
    fleet.twins.delete("kiosk-01", fleet.ana)
    assert topics(fleet) == ["twin-delete-accepted"]
    assert not fleet.twins.get("kiosk-01").exists


def test_nothing_is_desired_of_a_stranger(fleet: Fleet) -> None:
    with fleet.sessions.begin() as session:
        session.get_one(Device, "kiosk-02").decommissioned_at = fleet.clock.at
    for device in ("ghost-01", "kiosk-02"):
        with pytest.raises(RefusedError, match="not a registered device"):
            fleet.twins.desire(device, WISH, fleet.ana)


def test_who_comes_is_told_what_differs_and_who_agrees_is_left_alone(fleet: Fleet) -> None:
    fleet.twins.announce("kiosk-01")
    assert fleet.told == []
    fleet.twins.desire("kiosk-01", WISH, fleet.ana)
    fleet.told.clear()
    fleet.twins.announce("kiosk-01")
    assert topics(fleet) == ["twin-delta"]
    fleet.report(**WISH)
    fleet.told.clear()
    fleet.twins.announce("kiosk-01")
    assert fleet.told == []


def test_a_broker_that_came_back_is_told_of_every_device_that_is_there_and_differs(fleet: Fleet) -> None:
    for device in ("kiosk-01", "kiosk-02"):
        fleet.twins.desire(device, WISH, fleet.ana)
    fleet.told.clear()
    fleet.twins.announce_all()
    assert (topics(fleet), topics(fleet, "kiosk-02")) == (["twin-delta"], []), "kiosk-02 asks when it comes"


def test_of_many_who_change_one_version_at_once_one_wins(fleet: Fleet) -> None:
    fleet.report(a=1)

    def desire(number: int) -> int:
        wish: Section = {"telemetry": {"interval_s": 10 + number}}
        return fleet.twins.desire("kiosk-01", wish, fleet.ana, version=1).version

    results = at_once(MANY, desire)
    assert [each for each in results if not isinstance(each, ConflictError)] == [2]
    assert fleet.twins.get("kiosk-01").version == 2


def test_no_change_of_many_at_once_is_lost(fleet: Fleet) -> None:
    def change(number: int) -> object:
        if number % 2:
            wish: Section = {"telemetry": {"interval_s": 10 + number}}
            return fleet.twins.desire("kiosk-01", wish, fleet.ana)
        return fleet.report(**{f"n{number}": number})

    at_once(MANY, change)
    twin = fleet.twins.get("kiosk-01")
    assert twin.version == MANY
    assert twin.reported == {f"n{number}": number for number in range(0, MANY, 2)}
