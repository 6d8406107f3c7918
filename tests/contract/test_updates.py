"""Versions have an order, targets belong to one component, and an order that fits neither is refused."""

import pytest

from contract.errors import MalformedError
from contract.updates import (
    BEFORE_ACTIVATION,
    UPDATE,
    ApplyUpdate,
    Component,
    check,
    target_path,
    version_key,
)


def test_versions_are_ordered_by_their_numbers() -> None:
    ordered = ["0.9", "0.9.1", "0.10.0", "1.0", "1.3.0", "1.3.0+7", "1.3.0+12", "1.3.1", "10.0.0.1"]
    assert sorted(set(ordered), key=version_key) == ordered
    assert version_key("1.0") == version_key("1.0.0")


@pytest.mark.parametrize(
    "version", ["", "1", "v1.0", "1.0-rc1", "1..0", "1.0\n", "1.0.0.0.0", "1.0+", "9" * 40]
)
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(MalformedError, match="is no version"):
        version_key(version)


@pytest.mark.parametrize(
    "path",
    ["", "agent/", "agent/../root.json", "/agent/a.zip", "models/a.onnx", "agent/a/b.zip", "agent/a\n"],
)
def test_what_is_no_target_is_refused(path: str) -> None:
    with pytest.raises(MalformedError, match="is no target"):
        target_path(path)


def test_an_order_is_held_to_its_component() -> None:
    order = ApplyUpdate(update="u", component=Component.AGENT, path="agent/a.zip", version="1.0")
    check(order)
    with pytest.raises(MalformedError, match="component firmware"):
        check(ApplyUpdate(update="u", component=Component.FIRMWARE, path="agent/a.zip", version="1.0"))


def test_before_the_activation_an_update_can_fail_and_afterwards_only_end_on_a_version() -> None:
    for state in BEFORE_ACTIVATION:
        assert UPDATE.allows(state, "fail")
    for state in ("activating", "trial"):
        assert set(UPDATE.edges[state]) <= {"try", "commit", "roll-back"}
    assert UPDATE.ends == {"committed", "rolled_back", "failed"}
