"""The load's transport keeps the promises of the agent's: the agent's own suite, on a real mosquitto."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from contract.errors import MalformedError
from contract.messages import MESSAGE_BYTES_MAX
from edge_agent.link.mqtt import Down, Outgoing, Up
from simulators.load import packets
from simulators.load.tally import Dials
from simulators.load.transport import LoadTransport
from tests.edge_agent.link import test_mqtt
from tests.edge_agent.link.test_mqtt import (  # noqa: F401 - pytest finds them here and runs them
    authority,
    broker,
    test_a_broker_of_another_authority_is_refused,
    test_a_broker_that_is_killed_is_unavailable,
    test_a_certificate_of_another_authority_is_refused,
    test_a_clean_end_says_its_last_words_and_no_will,
    test_a_device_without_a_certificate_says_so,
    test_a_second_agent_with_the_same_certificate_puts_the_first_one_out,
    test_it_connects_and_messages_go_both_ways,
    test_it_says_which_message_of_the_outbox_nobody_heard,
    test_messages_wait_at_the_broker_for_a_device_that_comes_back,
    test_nobody_listens_is_unavailable,
)

WILL = Outgoing("w", b"gone", 1, retained=True)
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


@pytest.fixture(autouse=True)
def instead_of_the_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(**about: object) -> LoadTransport:
        return LoadTransport(**about, dials=Dials())  # type: ignore[arg-type] # as the suite has it

    monkeypatch.setattr(test_mqtt, "MqttTransport", make)


@asynccontextmanager
async def strange_broker(answers: bytes, then: bytes = b"") -> AsyncIterator[int]:
    """A listener that reads one packet, says `answers`, reads another, says `then`, and stays silent."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answers)
        await reader.read(4096)
        writer.write(then)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Dialed:
    """A plain connection to a strange broker, and what it reports."""

    def __init__(self, port: int, keepalive_s: int = 30) -> None:
        self.dials = Dials()
        self.events: asyncio.Queue[object] = asyncio.Queue()
        self.transport = LoadTransport(
            host="127.0.0.1",
            port=port,
            client_id="x",
            keepalive_s=keepalive_s,
            context=None,
            dials=self.dials,
        )
        self.transport.dial(["a/b"], WILL, self.events.put_nowait)

    async def next(self) -> object:
        async with asyncio.timeout(10):
            return await self.events.get()


WELCOME = b"\x20\x03\x00\x00\x00"
GRANTED = b"\x90\x04\x00\x01\x00\x01"


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (b"\x20\x03\x00\x87\x00", "refused"),
        (b"\x20\x03\x00\x88\x00", "unavailable"),
        (b"\xe0\x01\x8b", "unavailable"),
        (b"\xe0\x01\x8e", "taken-over"),
        (b"\x20\xff\xff\xff\xff\x01", "unavailable"),
        (b"\x20\xff\xff\xff\x7f", "unavailable"),
        (b"\x20\x00", "unavailable"),
        (b"\x32\x03\x00\x09a", "unavailable"),
        (b"\x90\x04\x00\x01\x00\x87", "refused"),
    ],
)
async def test_a_broker_that_says_no_or_nonsense_is_told_once(answers: bytes, reason: str) -> None:
    async with strange_broker(answers) as port:
        dialed = Dialed(port)
        told = await dialed.next()
        assert isinstance(told, Down)
        assert told.reason == reason
        await asyncio.sleep(0)
        assert dialed.events.empty()
        assert len(dialed.dials.begun_at) == 1
        assert len(dialed.dials.up_at) == 0


async def test_a_broker_that_stops_answering_is_gone_after_two_beats() -> None:
    async with strange_broker(WELCOME, GRANTED) as port:
        dialed = Dialed(port, keepalive_s=1)
        assert await dialed.next() == Up()
        told = await dialed.next()
        assert told == Down("unavailable", "the broker does not answer")


async def test_no_more_is_on_its_way_than_the_broker_takes_at_once() -> None:
    got = bytearray()
    enough = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(b"\x20\x06\x00\x00\x03\x21\x00\x02")  # Receive Maximum 2
        await reader.read(4096)
        writer.write(GRANTED)
        while True:
            got.extend(await reader.read(4096))
            if b"three" in got:
                enough.set()
                return
            if got.count(b"\x32") == 2:
                assert b"one" in got
                assert b"two" in got
                writer.write(packets.puback(2))

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    dialed = Dialed(server.sockets[0].getsockname()[1])
    assert await dialed.next() == Up()
    for word in (b"one", b"two", b"three"):
        dialed.transport.publish(Outgoing("t", word, 1))
    async with asyncio.timeout(10):
        await enough.wait()
    dialed.transport.hang_up()
    server.close()


@pytest.mark.parametrize("size", [0, 1, 119, 120, 16_375, 16_376, MESSAGE_BYTES_MAX])
def test_packets_of_any_size_are_read_from_any_pieces(size: int) -> None:
    message = Outgoing("topic", b"x" * size, 1)
    packet = packets.publish(message, 513)
    buffer = bytearray()
    found = []
    for start in range(0, len(packet), 1000):
        buffer += packet[start : start + 1000]
        found += list(packets.take(buffer))
    assert not buffer
    (only,) = found
    assert only.kind == packets.PUBLISH
    assert only.body == struct.pack(">H", 5) + b"topic" + b"\x02\x01\x00" + message.payload


def test_a_packet_that_we_said_is_too_large_is_not_waited_for() -> None:
    with pytest.raises(MalformedError, match="sent a packet of"):
        list(packets.take(bytearray(b"\x30\xff\xff\xff\x7f")))
