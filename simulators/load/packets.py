"""The few MQTT 5 packets that a device writes and reads. Source: OASIS MQTT 5.0, chapters 1.5, 2 and 3."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contract.errors import MalformedError
from edge_agent.link.mqtt import PACKET_BYTES_MAX, SESSION_EXPIRY_S, Outgoing

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP, DISCONNECT = 0x20, 0x30, 0x40, 0x90, 0xD0, 0xE0
"""The upper half of a packet's first byte, section 2.1.2."""
PING = b"\xc0\x00"
GOOD_BYE = b"\xe0\x00"
"""DISCONNECT with reason 0: the will is not published."""
IN_FLIGHT_DEFAULT = 65_535
"""Receive Maximum, where the broker names none."""
_RECEIVE_MAXIMUM = 0x21
_WIDTHS = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), 2),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), 4),
}
"""Bytes of each property's value, section 2.2.2.2; the others are texts with their length before them."""


@dataclass(frozen=True)
class Packet:
    """One packet: its first byte, and what follows its remaining length."""

    first: int
    body: bytes

    @property
    def kind(self) -> int:
        """One of the kinds above."""
        return self.first & 0xF0


def take(buffer: bytearray) -> Iterator[Packet]:
    """The whole packets at the beginning of `buffer`, which are taken out of it.

    Raises:
        MalformedError: a length that is none, or a packet that is larger than we said we take.
    """
    while len(buffer) >= 2:
        length, at = 0, 1
        while True:
            if at == len(buffer):
                return
            byte = buffer[at]
            length |= (byte & 127) << 7 * (at - 1)
            at += 1
            if byte < 128:
                break
            if at > 4:
                raise MalformedError("the broker sent a packet without a length")
        if length > PACKET_BYTES_MAX:
            raise MalformedError(f"the broker sent a packet of {length} bytes")
        if len(buffer) < at + length:
            return
        packet = Packet(buffer[0], bytes(buffer[at : at + length]))
        del buffer[: at + length]
        yield packet


def connect(client_id: str, keepalive_s: int, will: Outgoing) -> bytes:
    """CONNECT as the agent's own client sends it: the session is kept, section 3.1."""
    flags = 0x04 | will.qos << 3 | will.retained << 5
    properties = struct.pack(">BIBI", 0x11, SESSION_EXPIRY_S, 0x27, PACKET_BYTES_MAX)
    head = _text(b"MQTT") + struct.pack(">BBHB", 5, flags, keepalive_s, len(properties)) + properties
    last = _text(client_id.encode()) + b"\x00" + _text(will.topic.encode()) + _text(will.payload)
    return _packet(0x10, head + last)


def accepted(body: bytes) -> tuple[int, int]:
    """The reason (0: welcome) of a CONNACK, and how many messages may be on their way at once."""
    in_flight = _properties(body[2:]).get(_RECEIVE_MAXIMUM, IN_FLIGHT_DEFAULT)
    return body[1], in_flight


def subscribe(mid: int, filters: Sequence[str]) -> bytes:
    """SUBSCRIBE to all of `filters` at QoS 1, section 3.8."""
    wanted = b"".join([_text(each.encode()) + b"\x01" for each in filters])
    return _packet(0x82, struct.pack(">HB", mid, 0) + wanted)


def worst(body: bytes) -> int:
    """The first reason of a SUBACK that is a failure (128 and above); 0 where all were granted."""
    codes = body[3 + body[2] :]
    return next((code for code in codes if code >= 0x80), 0)


def publish(message: Outgoing, mid: int) -> bytes:
    """PUBLISH without properties, section 3.3; `mid` counts at QoS 1 only."""
    number = struct.pack(">H", mid) if message.qos else b""
    first = 0x30 | message.qos << 1 | message.retained
    return _packet(first, _text(message.topic.encode()) + number + b"\x00" + message.payload)


def puback(mid: int) -> bytes:
    """PUBACK: taken, section 3.4."""
    return _packet(0x40, struct.pack(">H", mid))


def _packet(first: int, body: bytes) -> bytes:
    length, encoded = len(body), bytearray([first])
    while True:
        length, low = divmod(length, 128)
        encoded.append(low | (128 if length else 0))
        if not length:
            return bytes(encoded) + body


def _text(text: bytes) -> bytes:
    return struct.pack(">H", len(text)) + text


def _properties(data: bytes) -> dict[int, int]:
    """The numbers among the properties at the beginning of `data`; there are fewer than 128 bytes of them."""
    found, at, end = {}, 1, 1 + data[0]
    while at < end:
        name, at = data[at], at + 1
        width = _WIDTHS.get(name)
        if width is None:
            at += 2 + int.from_bytes(data[at : at + 2], "big")
            continue
        found[name] = int.from_bytes(data[at : at + width], "big")
        at += width
    return found
