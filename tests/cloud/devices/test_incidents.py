"""Devices of one site that go off together are one incident."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cloud.devices.incidents import INCIDENT, Back, Event, Gone, Incident, Limits, TimePassed, handle

T0 = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LIMITS = Limits(together_s=120, over_after_s=300)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def after(*story: tuple[float, Event]) -> list[Incident]:
    known: list[Incident] = []
    for seconds, event in story:
        known = handle(known, event, at(seconds), LIMITS)
    return known


def test_five_devices_of_a_site_that_go_together_are_one_incident() -> None:
    (one,) = after(*((n * 10.0, Gone(f"kiosk-{n}", "Veternik")) for n in range(5)))
    assert (one.opened_at, len(one.away), one.state) == (at(0), 5, "open")


def test_a_device_alone_is_an_incident_of_its_own() -> None:
    first, second = after((0, Gone("kiosk-1", "Veternik")), (5, Gone("kiosk-2", "Ulpiana")))
    assert (first.site, second.site) == ("Veternik", "Ulpiana")


def test_a_device_that_goes_much_later_is_another_incident_of_the_site() -> None:
    assert len(after((0, Gone("kiosk-1", "Veternik")), (120, Gone("kiosk-2", "Veternik")))) == 1
    assert len(after((0, Gone("kiosk-1", "Veternik")), (121, Gone("kiosk-2", "Veternik")))) == 2


def test_an_incident_ends_when_all_have_been_back_for_a_while() -> None:
    story: list[tuple[float, Event]] = [
        (0.0, Gone("kiosk-1", "Veternik")),
        (1.0, Gone("kiosk-2", "Veternik")),
        (60.0, Back("kiosk-1")),
    ]
    (half,) = after(*story, (500, TimePassed()))
    assert (half.state, half.away) == ("open", ("kiosk-2",))
    (back,) = after(*story, (90, Back("kiosk-2")), (389, TimePassed()))
    assert (back.state, back.over_at) == ("recovering", at(90))
    (over,) = after(*story, (90, Back("kiosk-2")), (390, TimePassed()))
    assert (over.state, over.over_at, over.closed_at) == ("closed", at(90), at(390))


def test_a_device_that_flaps_stays_in_one_incident() -> None:
    story: list[tuple[float, Event]] = []
    for n in range(6):
        story += [(200.0 * n, Gone("kiosk-1", "Veternik")), (200.0 * n + 100, Back("kiosk-1"))]
        story.append((200.0 * n + 101, TimePassed()))
    (one,) = after(*story)
    assert (one.state, one.members[0].times, one.opened_at) == ("recovering", 6, at(0))


def test_what_is_said_twice_counts_once() -> None:
    gone, back = Gone("kiosk-1", "Veternik"), Back("kiosk-1")
    assert after((0, gone), (5, gone)) == after((0, gone))
    assert after((0, gone), (5, back), (9, back)) == after((0, gone), (5, back))
    assert after((0, back)) == []


DEVICES = {"kiosk-1": "Veternik", "kiosk-2": "Veternik", "kiosk-3": "Ulpiana"}
EVENTS = st.one_of(
    st.sampled_from([Gone(device, site) for device, site in DEVICES.items()]),
    st.sampled_from([Back(device) for device in DEVICES]),
    st.just(TimePassed()),
)


@given(st.lists(st.tuples(st.floats(0, 400), EVENTS), max_size=40))
def test_whoever_is_off_is_away_in_exactly_one_incident(story: list[tuple[float, Event]]) -> None:
    known: list[Incident] = []
    off: set[str] = set()
    now = 0.0
    for pause, event in story:
        now += pause
        known = handle(known, event, at(now), LIMITS)
        off |= {event.device} if isinstance(event, Gone) else set()
        off -= {event.device} if isinstance(event, Back) else set()
        assert sorted(device for each in known for device in each.away) == sorted(off)
        for each in known:
            assert {DEVICES[member.device] for member in each.members} == {each.site}
            assert (each.over_at is None) == bool(each.away)
        known = [each for each in known if each.state not in INCIDENT.ends]  # as the next reading would
