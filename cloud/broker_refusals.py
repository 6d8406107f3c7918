"""What the broker refuses by itself, as its log (mosquitto 2.0.11) says: counted by device and reason. Pure.

None of it reaches us: a message on a foreign or unknown topic, one that is too large, a packet that is no
MQTT, a subscription to what is another's, a connection without a good certificate. Whose it is stands in each
line before anything that the sender chose. A name is that of the certificate, and a line stays one line: the
broker ends the connection of whoever puts a control character into a topic, before it writes of it.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated

import msgspec

from cloud.errors import MalformedError
from cloud.refusals import Reason

REPORT_TOPIC = "$broker/refused"
"""No wildcard of a device or a service matches a topic that begins with `$`."""
ENTRIES_MAX = 1000
"""Pairs of device and reason between two reports; of what is beyond it nobody is named. 100 kB of report."""
LINE_BYTES_MAX = 4096
"""mosquitto cuts its lines at 1000."""
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d: ")
"""What `log_timestamp_format` in the broker's configuration gives, and the colon after it."""
STAMP_LENGTH = len("2026-11-27T09:00:00: ")
FOR_NOBODY = (b"Sending ", b"Received ", b"\t", b"Denied ", b"Dropped ", b"No will ", b"Will ")
"""How the lines begin that only `mosquitto -v` writes, one and more a message."""

_OWNER = rb"([a-z0-9][a-z0-9-]{0,62})"
_DENIED = re.compile(rb"Denied PUBLISH from " + _OWNER + rb" \(d[01], q[0-2], r[01], m\d+, '(.*)", re.DOTALL)
_DROPPED = re.compile(rb"Dropped too large PUBLISH from " + _OWNER + rb" \(")
_ENDED = re.compile(
    rb"Client (?:"
    + _OWNER
    + rb"|<unknown>) disconnected due to (oversize packet|malformed packet|protocol error)\."
)
_SUBSCRIBED = re.compile(_OWNER + rb" [0-2] (.+)", re.DOTALL)
_STRANGER = re.compile(
    rb"(?:OpenSSL Error\[\d+\]|Client connection from \S+ failed): error:[0-9A-F]+:[^:]*:[^:]*:"
    rb"(?:certificate verify failed|peer did not return a certificate)"
)
_MOSQUITTO = b"mosquitto version "
_SERVICE = b"svc-"
"""Services subscribe to what is the devices'; no device is called so."""
_DEVICE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`count` more of `device` were refused for `reason`; device '' for a caller without a name."""

    device: Annotated[str, msgspec.Meta(max_length=63)]
    reason: Reason
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was refused since the report before."""

    counts: Annotated[list[Count], msgspec.Meta(max_length=2 * ENTRIES_MAX)]


class BrokerRefusals:
    """Reads the broker's log; `root` is that of the fleet's topics."""

    def __init__(self, root: str) -> None:
        self._root = root.encode()
        self._counts: Counter[tuple[str, Reason]] = Counter()
        self._begun = b""

    def take(self, chunk: bytes) -> bytes:
        """Count what the next bytes of the log tell; gives those lines of them that are for people."""
        *lines, self._begun = (self._begun + chunk).split(b"\n")
        if len(self._begun) > LINE_BYTES_MAX:
            self._begun = self._begun[:LINE_BYTES_MAX]
        kept = [line for line in lines if self._line(line)]
        return b"".join([line + b"\n" for line in kept])

    def report(self) -> bytes | None:
        """What was counted since the last report; None for nothing."""
        if not self._counts:
            return None
        counts, self._counts = self._counts, Counter()
        return msgspec.json.encode(
            Report([Count(device, reason, times) for (device, reason), times in counts.items()])
        )

    def _line(self, line: bytes) -> bool:
        """Count what one line tells; whether it is for people."""
        if line.startswith((b"Sending ", b"Received ", b"\t"), STAMP_LENGTH):
            return False  # nearly all of them, so they are not looked at further
        if not _STAMP.match(line):
            return bool(line)  # before it has read its configuration
        said = line[STAMP_LENGTH:]
        if denied := _DENIED.match(said):
            self._count(denied[1], self._topic_reason(denied[1], denied[2]))
        elif dropped := _DROPPED.match(said):
            self._count(dropped[1], Reason.OVERSIZED)
        elif ended := _ENDED.match(said):
            reason = Reason.OVERSIZED if ended[2] == b"oversize packet" else Reason.BROKEN_PACKET
            self._count(ended[1] or b"", reason)
        elif _STRANGER.match(said):
            self._count(b"", Reason.BAD_CERTIFICATE)
        elif (subscribed := _SUBSCRIBED.fullmatch(said)) and not said.startswith(_MOSQUITTO):
            self._subscribed(subscribed[1], subscribed[2])
            return False
        # What begins with a name (an `unsubscribe` has no number after it) is written by `-v` only.
        return not said.startswith(FOR_NOBODY) and (not said[:1].islower() or said.startswith(_MOSQUITTO))

    def _topic_reason(self, device: bytes, topic: bytes) -> Reason:
        """Why a topic was denied: another device's name stands in it, or it is none that devices write."""
        if self._is_own(device, topic) or not topic.startswith(self._root + b"/"):
            return Reason.UNKNOWN_TOPIC
        other = topic[len(self._root) + 1 :].split(b"/", 1)
        named = len(other) == 2 and _DEVICE_NAME.fullmatch(other[0].decode(errors="replace"))
        return Reason.FOREIGN_TOPIC if named else Reason.UNKNOWN_TOPIC

    def _is_own(self, device: bytes, topic: bytes) -> bool:
        return topic.startswith(b"%s/%s/" % (self._root, device))

    def _subscribed(self, name: bytes, wanted: bytes) -> None:
        if not name.startswith(_SERVICE) and not self._is_own(name, wanted):
            self._count(name, Reason.FOREIGN_FILTER)

    def _count(self, device: bytes, reason: Reason) -> None:
        key = device.decode("ascii"), reason
        if key not in self._counts and len(self._counts) >= ENTRIES_MAX:
            key = "", reason
        self._counts[key] += 1


def read_report(payload: bytes) -> Mapping[tuple[str, str], int]:
    """What a report counts, by device and reason.

    Raises:
        MalformedError: it is no report.
    """
    try:
        report = msgspec.json.decode(payload, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedError(f"the report of what the broker refused cannot be read: {error}") from error
    found: Counter[tuple[str, str]] = Counter()
    for each in report.counts:
        found[each.device, each.reason.value] += each.count
    return found
