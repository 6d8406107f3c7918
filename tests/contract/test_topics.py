"""Topics are built and parsed by one table; the broker's rules come from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import MalformedError
from contract.topics import (
    BY_NAME,
    ROOT_DEFAULT,
    TOPICS,
    build,
    device_rules,
    parse,
    service_rules,
    subscription,
)

IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)


@given(st.sampled_from([topic.name for topic in TOPICS]), st.lists(IDS, min_size=4, max_size=4))
def test_parse_is_the_inverse_of_build(name: str, ids: list[str]) -> None:
    keys = [
        key
        for key in ("device", "document", "session", "channel", "update", "job")
        if f"{{{key}}}" in BY_NAME[name].template
    ]
    filled = dict(zip(keys, ids, strict=False))
    topic = build(name, **filled)
    parsed = parse(topic)
    # `jobs/get` and `jobs/{job}/get` cannot be told apart only if a job is called like a verb and an answer.
    assert parsed == (name, filled) or filled.get("job") in {"get", "start-next"}


@given(st.text(max_size=200))
def test_any_text_is_a_topic_or_is_refused(text: str) -> None:
    for topic in (text, f"{ROOT_DEFAULT}/{text}"):
        try:
            name, ids = parse(topic)
        except MalformedError:
            continue
        assert build(name, **ids) == topic


@pytest.mark.parametrize("bad", ["", "a/b", "#", "+", "a" * 65, "é", "a\n", "-a", "$other"])
def test_an_id_that_could_widen_a_topic_is_refused(bad: str) -> None:
    with pytest.raises(MalformedError, match="cannot stand in a topic"):
        build("telemetry", device=bad)


def test_a_device_may_write_only_what_devices_send_and_only_below_its_name() -> None:
    rules = device_rules()
    assert all("/%u/" in rule for rule in rules)
    assert f"pattern write {ROOT_DEFAULT}/%u/telemetry" in rules
    assert f"pattern read {ROOT_DEFAULT}/%u/ack" in rules
    assert not any(
        rule.startswith("pattern write") and rule.endswith(("/ack", "/notify-next", "/accepted"))
        for rule in rules
    )


def test_a_service_gets_what_it_names() -> None:
    assert service_rules(frozenset({"ack"}), frozenset({"telemetry"})) == [
        f"topic write {ROOT_DEFAULT}/+/ack",
        f"topic read {ROOT_DEFAULT}/+/telemetry",
    ]


def test_another_root_serves_the_same_table() -> None:
    assert parse(build("job-get", root="$aws/things", device="k"), root="$aws/things") == (
        "job-get",
        {"device": "k"},
    )
    assert subscription("job-update", root="$aws/things") == "$aws/things/+/jobs/+/update"
