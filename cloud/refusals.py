"""Why a message is not stored, and what is kept of it: its size and digest, never what it said."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a message was refused."""

    FOREIGN = "foreign"
    """Its device is not registered, or no longer."""
    OVERSIZED = "oversized"
    NOT_AN_ENVELOPE = "not-an-envelope"
    VERSION = "unknown-version"
    """Of a later version of the contract; the device keeps it until the cloud is updated."""
    WRONG_LANE = "wrong-lane"
    MALFORMED = "malformed"
    """Its envelope is right and its body is not."""
    REFUSED = "refused"
    """It is well formed, and what it says may not be."""
    HANDLER_FAILED = "handler-failed"
    """Our own fault: kept apart after several tries, with a log line that says why."""
    BEYOND = "beyond-gap"
    """Too much is missing before it; the device sends it again."""
    EXCESS = "excess"
    """More at once than a device may have under way; a device that follows the contract sends it again."""
    FOREIGN_TOPIC = "foreign-topic"
    """Refused by the broker, as are the ones below: it is on a topic of another device."""
    UNKNOWN_TOPIC = "unknown-topic"
    """No topic that devices write."""
    FOREIGN_FILTER = "foreign-filter"
    """A subscription to what is not the subscriber's; it gets nothing by it."""
    BROKEN_PACKET = "broken-packet"
    """Not MQTT, or with a topic that is not UTF-8; the connection was ended."""
    BAD_CERTIFICATE = "bad-certificate"
    """A connection without a certificate of ours, or with one that has ended; nobody is named."""


COUNTED_AS_RECEIVED = frozenset({Reason.MALFORMED, Reason.REFUSED, Reason.HANDLER_FAILED})
"""Reasons after which the watermark moves: sending the same bytes again would change nothing."""


@dataclass(frozen=True)
class Refusal:
    """One message to be counted and described; `device` is '' for a foreign sender."""

    device: str
    topic_name: str
    reason: Reason
    size: int
    sha256: str


def refusal(device: str, topic_name: str, reason: Reason, payload: bytes) -> Refusal:
    """The description of a refused `payload`."""
    sender = "" if reason is Reason.FOREIGN else device
    return Refusal(sender, topic_name, reason, len(payload), hashlib.sha256(payload).hexdigest())
