"""AWS's own Shadow client drives our twins: nothing of it knows that we are not AWS."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from awsiot import V2ServiceException
from awsiot.iotshadow import (
    DeleteShadowRequest,
    GetNamedShadowRequest,
    GetShadowRequest,
    ShadowDeltaUpdatedEvent,
    ShadowDeltaUpdatedSubscriptionRequest,
    ShadowState,
    ShadowUpdatedEvent,
    ShadowUpdatedSubscriptionRequest,
    UpdateShadowRequest,
)

from tests.conformance.things import DEADLINE_S, AwsClient, Stream, Things, refused, taken

NAMES = iter(f"aws-shadow-{number}" for number in range(99))


@pytest.fixture
def thing(things: Things) -> Iterator[AwsClient]:
    """A device without a twin."""
    client = things.client(next(NAMES))
    yield client
    things.opened.remove(client)
    client.stop()


def get(thing: AwsClient):  # type: ignore[no-untyped-def] # the SDK has no types
    return thing.shadow.get_shadow(GetShadowRequest(thing_name=thing.device))


def update(thing: AwsClient, version: int | None = None, **state: Any):  # type: ignore[no-untyped-def] # as above
    cleared = {f"{name}_is_nullable": True for name, value in state.items() if value is None}
    wish = ShadowState(**state, **cleared)
    return thing.shadow.update_shadow(
        UpdateShadowRequest(thing_name=thing.device, state=wish, version=version)
    )


def delete(thing: AwsClient):  # type: ignore[no-untyped-def] # as above
    return thing.shadow.delete_shadow(DeleteShadowRequest(thing_name=thing.device))


def deltas(thing: AwsClient) -> Stream[ShadowDeltaUpdatedEvent]:
    request = ShadowDeltaUpdatedSubscriptionRequest(thing_name=thing.device)
    return Stream[ShadowDeltaUpdatedEvent]().open(
        lambda options: thing.shadow.create_shadow_delta_updated_stream(request, options)
    )


def documents(thing: AwsClient) -> Stream[ShadowUpdatedEvent]:
    request = ShadowUpdatedSubscriptionRequest(thing_name=thing.device)
    return Stream[ShadowUpdatedEvent]().open(
        lambda options: thing.shadow.create_shadow_updated_stream(request, options)
    )


def test_a_shadow_that_is_not_there_is_404(thing: AwsClient) -> None:
    assert refused(get(thing)).code == 404
    assert refused(delete(thing)).code == 404


def test_what_is_reported_is_kept_with_its_time(thing: AwsClient) -> None:
    accepted = taken(update(thing, reported={"colour": {"r": 255, "g": 0}, "list": [1, 2]}))
    assert accepted.version == 1
    assert accepted.state.reported == {"colour": {"r": 255, "g": 0}, "list": [1, 2]}
    assert set(accepted.metadata.reported["colour"]) == {"r", "g"}
    told = taken(get(thing))
    assert (told.version, told.state.reported["colour"]["r"], told.state.desired) == (1, 255, None)
    assert isinstance(told.metadata.reported["colour"]["r"]["timestamp"], int)
    taken(update(thing, reported={"colour": {"g": 9}, "list": [3]}))
    assert taken(get(thing)).state.reported == {"colour": {"r": 255, "g": 9}, "list": [3]}


def test_a_difference_is_told_until_it_is_reported_away(thing: AwsClient) -> None:
    stream = deltas(thing)
    taken(update(thing, desired={"engine": "on", "colour": {"r": 1}}, reported={"engine": "off"}))
    first = stream.next()
    assert (first.version, first.state) == (1, {"engine": "on", "colour": {"r": 1}})
    assert isinstance(first.metadata["engine"]["timestamp"], int)
    assert taken(get(thing)).state.delta == first.state
    taken(update(thing, reported={"engine": "on"}))
    assert stream.next().state == {"colour": {"r": 1}}
    taken(update(thing, reported={"colour": {"r": 1}}))
    assert taken(get(thing)).state.delta is None


def test_the_documents_show_before_and_after(thing: AwsClient) -> None:
    stream = documents(thing)
    taken(update(thing, reported={"a": 1}))
    taken(update(thing, desired={"a": 2}))
    stream.next()
    event = stream.next()
    assert (event.previous.version, event.current.version) == (1, 2)
    assert (event.previous.state.desired, event.current.state.desired) == (None, {"a": 2})
    assert event.current.state.reported == {"a": 1}
    assert event.current.metadata.desired["a"]["timestamp"] > 0


def test_an_older_version_is_a_conflict(thing: AwsClient) -> None:
    taken(update(thing, reported={"a": 1}))
    taken(update(thing, version=1, reported={"a": 2}))
    conflict = refused(update(thing, version=1, reported={"a": 3}))
    assert conflict.code == 409
    assert conflict.message.startswith("Version conflict")
    assert taken(get(thing)).state.reported == {"a": 2}


def test_null_removes_a_value_and_a_whole_section(thing: AwsClient) -> None:
    taken(update(thing, desired={"a": 1, "b": 2}, reported={"a": 1}))
    taken(update(thing, desired={"b": None}))
    assert taken(get(thing)).state.desired == {"a": 1}
    taken(update(thing, desired=None))
    told = taken(get(thing)).state
    assert (told.desired, told.reported) == (None, {"a": 1})


def test_a_deleted_shadow_goes_on_from_its_version(thing: AwsClient) -> None:
    taken(update(thing, reported={"a": 1}))
    taken(update(thing, reported={"a": 2}))
    assert taken(delete(thing)).version == 2
    assert refused(get(thing)).code == 404
    assert taken(update(thing, reported={"b": 1})).version == 3
    assert taken(get(thing)).state.reported == {"b": 1}


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ({"reported": {"list": [1, None]}}, 400),
        ({"reported": [1]}, 400),
        ({"reported": {"a": {"b": {"c": {"d": {"e": {"f": {"g": 1}}}}}}}}, 400),
        ({"reported": {"a": "x" * 9000}}, 413),
    ],
)
def test_what_a_shadow_cannot_hold_is_refused(thing: AwsClient, state: dict[str, Any], code: int) -> None:
    assert refused(update(thing, **state)).code == code
    assert refused(get(thing)).code == 404


def test_too_many_requests_at_once_are_refused_and_the_others_answered(thing: AwsClient) -> None:
    bodies = [{"state": {"reported": {"n": number}}} for number in range(30)]
    answers = thing.ask_at_once("shadow/update", bodies)
    codes = [answer["code"] if topic.endswith("rejected") else 200 for topic, answer in answers]
    assert set(codes) == {200, 429}
    assert codes.count(200) >= 10


def test_staff_and_the_device_see_the_same_twin(things: Things, thing: AwsClient) -> None:
    stream = deltas(thing)
    taken(update(thing, reported={"telemetry": {"interval_s": 15}}))
    version = things.desire(thing.device, {"telemetry": {"interval_s": 60}})
    told = stream.next()
    assert (told.version, told.state) == (version, {"telemetry": {"interval_s": 60}})
    taken(update(thing, version=version, reported={"telemetry": {"interval_s": 60}}))
    twin = things.twin(thing.device)
    assert (twin["version"], twin["state"]["delta"]) == (version + 1, {})


def test_named_shadows_are_not_served(thing: AwsClient) -> None:
    request = GetNamedShadowRequest(thing_name=thing.device, shadow_name="config")
    with pytest.raises(V2ServiceException) as caught:
        thing.shadow.get_named_shadow(request).result(DEADLINE_S)
    assert caught.value.modeled_error is None, "nobody answers: the topic is none of ours"
    assert json.dumps(request.to_payload())
