"""Messages are read as paho reads them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt._packet import decode_publish
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloud.telemetry.quick_mqtt import Arrived, QuickClient, read_publish


@pytest.mark.parametrize("name", ["_handle_publish", "_sock_recv", "reconnect"])
def test_what_is_replaced_is_still_there(name: str) -> None:
    assert name in vars(QuickClient)
    assert name in vars(QuickClient.__mro__[1])


@given(
    topic=st.text(min_size=1, max_size=60).filter(lambda text: "\x00" not in text),
    mid=st.integers(1, 65_535),
    qos=st.sampled_from([0, 1]),
    payload=st.binary(max_size=300),
    note=st.none() | st.text(alphabet="abc", max_size=300),
)
def test_both_read_the_same(topic: str, mid: int, qos: int, payload: bytes, note: str | None) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    if note is not None:
        properties.UserProperty = ("note", note)
        properties.MessageExpiryInterval = 60
    name = topic.encode()
    packet = struct.pack(">H", len(name)) + name
    if qos:
        packet += struct.pack(">H", mid)
    packet += properties.pack() + payload
    command = 0x30 | qos << 1
    paho = decode_publish(command, packet, MQTTProtocolVersion.MQTTv5)
    assert read_publish(command, packet) == Arrived(topic, paho.mid, paho.qos, bytes(paho.payload))


@pytest.mark.parametrize("packet", [b"", b"\x00", b"\x00\x05ab", b"\x00\x01a\x00", b"\x00\x01a\x00\x01"])
def test_a_packet_that_is_cut_short_is_a_fault_of_the_broker(packet: bytes) -> None:
    with pytest.raises(IndexError):
        read_publish(0x32, packet)
