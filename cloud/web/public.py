"""The mark of what anybody may ask for; everything without it needs a signed-in operator."""

from typing import Any, TypeVar

T = TypeVar("T")

_MARK = "_fleet_public"


def public(endpoint: T) -> T:
    """Mark an endpoint (or a mounted application) as open to all; stands below the route's decorator."""
    setattr(endpoint, _MARK, True)
    return endpoint


def is_public(endpoint: Any) -> bool:
    """Whether `endpoint` was marked."""
    return getattr(endpoint, _MARK, False) is True
