"""What devices ask of their twins, on both databases: answers, order, repetition, and their bounds."""

from typing import Any

import pytest
import sqlalchemy as sa

from cloud.database.models.link import Quarantined, RefusalCount
from cloud.twin.rate import Rate
from contract.twin import IN_FLIGHT_MAX
from tests.cloud.conftest import START, Clock
from tests.cloud.twin.conftest import Fleet

AT_S = int(START.timestamp())


def reported(**values: Any) -> dict[str, Any]:
    return {"state": {"reported": values}}


def desired(**values: Any) -> dict[str, Any]:
    return {"state": {"desired": values}}


def test_without_a_twin_get_and_delete_say_404(fleet: Fleet) -> None:
    for handler, name in ((fleet.requests.get, "get"), (fleet.requests.delete, "delete")):
        ((topic, told),) = fleet.ask(handler, {"clientToken": "t"})
        assert topic == f"twin-{name}-rejected"
        assert (told["code"], told["clientToken"], told["timestamp"]) == (404, "t", AT_S)


def test_an_update_is_answered_then_documented_then_its_difference_is_told(fleet: Fleet) -> None:
    told = fleet.ask(fleet.requests.update, desired(a=1) | {"clientToken": "t"})
    assert [topic for topic, _ in told] == ["twin-update-accepted", "twin-documents", "twin-delta"]
    accepted, documents, delta = (body for _, body in told)
    assert accepted == {
        "state": {"desired": {"a": 1}},
        "metadata": {"desired": {"a": {"timestamp": AT_S}}},
        "version": 1,
        "timestamp": AT_S,
        "clientToken": "t",
    }
    assert documents["previous"] == {"state": {}, "metadata": {}, "version": 0}
    assert documents["current"]["state"] == {"desired": {"a": 1}}
    assert (delta["state"], delta["version"], delta["clientToken"]) == ({"a": 1}, 1, "t")


def test_what_is_stored_is_what_was_asked_for(fleet: Fleet, clock: Clock) -> None:
    state = {
        "desired": {"a": {"b": [1, 2.5, True, "ë"]}, "n": "\u0000", "": 0},
        "reported": {"a": {"b": [1, 2.5, 1, "ë"]}, "big": 2**53 - 1},
    }
    fleet.ask(fleet.requests.update, {"state": state})
    clock.forward(5)
    ((topic, told),) = fleet.ask(fleet.requests.get)
    assert topic == "twin-get-accepted"
    assert told["state"] == state | {"delta": {"a": {"b": [1, 2.5, True, "ë"]}, "n": "\u0000", "": 0}}
    assert (told["version"], told["timestamp"], told["metadata"]["reported"]["big"]) == (
        1,
        AT_S + 5,
        {"timestamp": AT_S},
    )


def test_true_in_the_place_of_one_is_stored(fleet: Fleet) -> None:
    fleet.report(a=1)
    fleet.report(a=True)
    ((_, told),) = fleet.ask(fleet.requests.get)
    assert told["state"]["reported"]["a"] is True


def test_a_conflict_is_refused_and_tells_nobody_else(fleet: Fleet) -> None:
    fleet.report(a=1)
    ((topic, told),) = fleet.ask(fleet.requests.update, reported(a=2) | {"version": 9, "clientToken": "t"})
    assert (topic, told["code"], told["clientToken"]) == ("twin-update-rejected", 409, "t")
    ((_, twin),) = fleet.ask(fleet.requests.get)
    assert (twin["version"], twin["state"]["reported"]) == (1, {"a": 1})


def test_what_the_broker_brings_twice_is_taken_once(fleet: Fleet) -> None:
    payload = reported(a=1) | {"version": 0, "clientToken": "t"}
    first = fleet.ask(fleet.requests.update, payload)
    again = fleet.ask(fleet.requests.update, payload)
    assert again == first[:1], "the same answer, and no news"
    gone = fleet.ask(fleet.requests.delete, {"clientToken": "d"})
    assert fleet.ask(fleet.requests.delete, {"clientToken": "d"}) == gone


def test_a_deleted_twin_goes_on_from_its_version(fleet: Fleet) -> None:
    fleet.report(a=1)
    fleet.report(a=2)
    ((topic, told),) = fleet.ask(fleet.requests.delete, {"clientToken": "d"})
    assert (topic, told) == (
        "twin-delete-accepted",
        {"version": 2, "timestamp": AT_S, "clientToken": "d"},
    )
    assert fleet.ask(fleet.requests.get)[0][0] == "twin-get-rejected"
    ((_, answer), *_) = fleet.ask(fleet.requests.update, reported(b=1))
    assert answer["version"] == 3
    ((_, twin),) = fleet.ask(fleet.requests.get)
    assert twin["state"] == {"reported": {"b": 1}}


def test_one_device_has_nothing_of_another(fleet: Fleet) -> None:
    fleet.report(a=1)
    ((topic, _),) = fleet.ask(fleet.requests.get, device="kiosk-02")
    assert topic == "twin-get-rejected"


@pytest.mark.parametrize("payload", [b"{", b"\xff", b'{"state": 1}', b'{"state":{"desired":' + b"[" * 90_000])
def test_garbage_is_refused_and_counted_and_harms_nothing(fleet: Fleet, payload: bytes) -> None:
    ((topic, told),) = fleet.ask(fleet.requests.update, payload)
    assert topic == "twin-update-rejected"
    assert told["code"] in (400, 413, 415)
    with fleet.sessions() as session:
        assert session.scalar(sa.select(RefusalCount.count)) == 1
        assert session.scalar(sa.select(Quarantined.topic_name)) == "twin-update"
    fleet.report(a=1)


def test_a_device_that_asks_too_fast_is_told_so_and_counted(fleet: Fleet, clock: Clock) -> None:
    answers = [fleet.ask(fleet.requests.get, {"clientToken": str(number)})[0][1] for number in range(30)]
    assert [told["code"] for told in answers] == [404] * IN_FLIGHT_MAX + [429] * 20
    assert answers[-1]["clientToken"] == "29"
    assert fleet.ask(fleet.requests.get, device="kiosk-02")[0][1]["code"] == 404, "others are not held up"
    with fleet.sessions() as session:
        assert session.scalar(sa.select(RefusalCount.count)) == 20
    clock.forward(1)
    assert fleet.ask(fleet.requests.get)[0][1]["code"] == 404


def test_a_clock_that_steps_back_gives_and_takes_no_requests() -> None:
    rate, clock = Rate(burst=2, per_s=1.0), Clock()
    assert [rate.take("a", clock()) for _ in range(3)] == [True, True, False]
    clock.forward(-3600)
    assert not rate.take("a", clock())
    clock.forward(1)
    assert rate.take("a", clock())


def test_the_rate_forgets_who_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.twin.rate.DEVICES_MAX", 3)
    rate, clock = Rate(burst=1, per_s=1.0), Clock()
    for name in ("a", "b", "c", "d"):
        assert rate.take(name, clock())
    assert len(rate._buckets) == 3
    clock.forward(10)
    assert rate.take("e", clock())
    assert len(rate._buckets) == 1
