"""paho, with its three slow places changed: reading the socket, reading a message, acknowledging a batch.

paho asks the socket three times or more for a message, builds a table of all MQTT 5 properties and a
condition variable for it, and sends every acknowledgement by itself; that takes longer than all that ingest
does with a message (measured: 45 against 19 microseconds of processor time from the socket to the store).
Connection, keep-alive and TLS stay paho's. What is replaced is not part of paho's public interface: the lock
pins its version, and tests hold it.
"""

from collections.abc import Iterable
from typing import NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import MessageType, MQTTErrorCode

READ_BYTES = 262_144
"""Read from the socket at once."""


class Arrived(NamedTuple):
    """One message; `mid` is for `QuickClient.acknowledge`."""

    topic: str
    mid: int
    qos: int
    payload: bytes


class QuickClient(paho.Client):
    """A client that puts what arrives into `arrived`, in order."""

    arrived: list[Arrived]
    _ahead = b""
    _read = 0

    def reconnect(self) -> MQTTErrorCode:
        """Connect again; nothing of the old connection is read."""
        self._ahead, self._read = b"", 0
        return super().reconnect()

    def acknowledge(self, mids: Iterable[int]) -> None:
        """Acknowledge messages of QoS 1, all in one write (MQTT 5.0, section 3.4)."""
        packets = b"".join([b"\x40\x02" + mid.to_bytes(2, "big") for mid in mids])
        if packets:
            self._packet_queue(MessageType.PUBACK, packets, 0, 1)

    def _sock_recv(self, bufsize: int) -> bytes:
        """paho asks for one byte, one byte and the rest; the socket is asked once for many messages."""
        if self._read == len(self._ahead):
            self._ahead, self._read = super()._sock_recv(READ_BYTES), 0
        start = self._read
        self._read = min(start + bufsize, len(self._ahead))
        return self._ahead[start : self._read]

    def _handle_publish(self) -> MQTTErrorCode:
        try:
            message = read_publish(self._in_packet["command"], bytes(self._in_packet["packet"]))
        except IndexError:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        self.arrived.append(message)
        return MQTTErrorCode.MQTT_ERR_SUCCESS


def read_publish(command: int, packet: bytes) -> Arrived:
    """The message in an MQTT 5 PUBLISH: its first byte, and what follows the remaining length.

    Its properties are skipped. Source: MQTT 5.0, sections 3.3.1 to 3.3.3 and 1.5.5.

    Raises:
        IndexError: the packet is too short.
    """
    at = 2 + (packet[0] << 8 | packet[1])
    topic = packet[2:at].decode(errors="replace")
    qos, mid = command >> 1 & 3, 0
    if qos:
        mid = packet[at] << 8 | packet[at + 1]
        at += 2
    length, shift = 0, 0
    while True:
        byte = packet[at]
        at += 1
        length |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    return Arrived(topic, mid, qos, packet[at + length :])
