"""The adapter against a real mosquitto that demands a certificate."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract import topics
from contract.messages import Lane
from edge_agent.link.identity import identity, mutual
from edge_agent.link.mqtt import Arrived, Down, Kept, MqttTransport, Outgoing, Told, Unheard, Up
from tests.edge_agent.authority import Authority
from tests.edge_agent.broker import Broker, free_port, mosquitto

DEVICE = "kiosk-001"
DEADLINE_S = 20.0
PRESENCE = topics.build("presence", device=DEVICE)
ACK = topics.build("ack", device=DEVICE)
TELEMETRY = topics.build("telemetry", device=DEVICE)
WILL = Outgoing(PRESENCE, b"gone", 1, retained=True)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def broker(tmp_path: Path, authority: Authority) -> Iterator[Broker]:
    with mosquitto(tmp_path / "broker", authority) as broker:
        yield broker


class Listener:
    """A transport with a certificate for `name`, and what it reported."""

    def __init__(self, folder: Path, port: int, authority: Authority, trusted: Authority, name: str) -> None:
        authority.write_device(folder / name / "pki", name)
        ca = folder / name / "ca.pem"
        ca.write_bytes(trusted.pem)
        who = identity(folder / name, ca)
        self.transport = MqttTransport(
            host="localhost", port=port, client_id=name, keepalive_s=30, context=lambda: mutual(who)
        )
        self.events: asyncio.Queue[Told] = asyncio.Queue()

    def dial(self, *filters: str, will: Outgoing = WILL) -> None:
        self.transport.dial(filters, will, self.events.put_nowait)

    async def next(self) -> Told:
        async with asyncio.timeout(DEADLINE_S):
            return await self.events.get()


def device(tmp_path: Path, broker: Broker, authority: Authority) -> Listener:
    return Listener(tmp_path, broker.port, authority, authority, DEVICE)


def cloud(tmp_path: Path, broker: Broker, authority: Authority) -> Listener:
    return Listener(tmp_path, broker.port, authority, authority, "tests")


async def test_it_connects_and_messages_go_both_ways(
    tmp_path: Path, broker: Broker, authority: Authority
) -> None:
    kiosk, there = device(tmp_path, broker, authority), cloud(tmp_path, broker, authority)
    there.dial(TELEMETRY, will=Outgoing("tests/will", b"", 0))
    assert await there.next() == Up()
    kiosk.dial(ACK)
    assert await kiosk.next() == Up()
    kiosk.transport.publish(Outgoing(TELEMETRY, b"sample", 1))
    assert await there.next() == Arrived(TELEMETRY, b"sample")
    there.transport.publish(Outgoing(ACK, b"stored", 1))
    assert await kiosk.next() == Arrived(ACK, b"stored")
    kiosk.transport.hang_up()
    there.transport.hang_up()


async def test_it_says_which_message_of_the_outbox_nobody_heard(
    tmp_path: Path, broker: Broker, authority: Authority
) -> None:
    """As after the broker was killed, until the cloud has subscribed anew."""
    kiosk, there = device(tmp_path, broker, authority), cloud(tmp_path, broker, authority)
    kiosk.dial(ACK)
    assert await kiosk.next() == Up()
    kept = [Kept("boot", Lane.TELEMETRY, seq) for seq in (1, 2)]
    kiosk.transport.publish(Outgoing(TELEMETRY, b"not kept", 1))
    kiosk.transport.publish(Outgoing(TELEMETRY, b"first", 1, kept=kept[0]))
    assert await kiosk.next() == Unheard(kept[0])
    there.dial(TELEMETRY, will=Outgoing("tests/will", b"", 0))
    assert await there.next() == Up()
    kiosk.transport.publish(Outgoing(TELEMETRY, b"second", 1, kept=kept[1]))
    assert await there.next() == Arrived(TELEMETRY, b"second")
    there.transport.publish(Outgoing(ACK, b"stored", 1))
    assert await kiosk.next() == Arrived(ACK, b"stored"), "nothing is said of what was heard"
    kiosk.transport.hang_up()
    there.transport.hang_up()


async def test_a_clean_end_says_its_last_words_and_no_will(
    tmp_path: Path, broker: Broker, authority: Authority
) -> None:
    kiosk, there = device(tmp_path, broker, authority), cloud(tmp_path, broker, authority)
    there.dial(PRESENCE, will=Outgoing("tests/will", b"", 0))
    await there.next()
    kiosk.dial(ACK)
    await kiosk.next()
    await kiosk.transport.close(Outgoing(PRESENCE, b"offline", 1, retained=True))
    assert await there.next() == Arrived(PRESENCE, b"offline")
    again = device(tmp_path, broker, authority)
    again.dial(PRESENCE)
    assert await again.next() == Up()
    again.transport.hang_up()
    there.transport.hang_up()


async def test_a_broker_that_is_killed_is_unavailable(
    tmp_path: Path, broker: Broker, authority: Authority
) -> None:
    kiosk = device(tmp_path, broker, authority)
    kiosk.dial(ACK)
    await kiosk.next()
    broker.stop(signal.SIGKILL)
    lost = await kiosk.next()
    assert isinstance(lost, Down)
    assert lost.reason == "unavailable"
    broker.start()
    kiosk.dial(ACK)
    assert await kiosk.next() == Up()
    kiosk.transport.hang_up()


async def test_nobody_listens_is_unavailable(tmp_path: Path, authority: Authority) -> None:
    kiosk = Listener(tmp_path, free_port(), authority, authority, DEVICE)
    kiosk.dial(ACK)
    lost = await kiosk.next()
    assert isinstance(lost, Down)
    assert lost.reason == "unavailable"


async def test_a_certificate_of_another_authority_is_refused(
    tmp_path: Path, broker: Broker, authority: Authority
) -> None:
    kiosk = Listener(tmp_path, broker.port, Authority("Rogue"), authority, DEVICE)
    kiosk.dial(ACK)
    lost = await kiosk.next()
    assert isinstance(lost, Down)
    assert lost.reason == "refused"
    assert "TLS" in lost.sentence


async def test_a_broker_of_another_authority_is_refused(
    tmp_path: Path, broker: Broker, authority: Authority
) -> None:
    kiosk = Listener(tmp_path, broker.port, authority, Authority("Rogue"), DEVICE)
    kiosk.dial(ACK)
    lost = await kiosk.next()
    assert isinstance(lost, Down)
    assert lost.reason == "refused"


async def test_a_device_without_a_certificate_says_so(
    tmp_path: Path, broker: Broker, authority: Authority
) -> None:
    kiosk = device(tmp_path, broker, authority)
    (tmp_path / DEVICE / "pki" / "device.pem").unlink()
    kiosk.dial(ACK)
    lost = await kiosk.next()
    assert isinstance(lost, Down)
    assert lost.reason == "refused"
    assert "enrol again" in lost.sentence


async def test_a_second_agent_with_the_same_certificate_puts_the_first_one_out(
    tmp_path: Path, broker: Broker, authority: Authority
) -> None:
    kiosk, twin = device(tmp_path, broker, authority), device(tmp_path, broker, authority)
    kiosk.dial(ACK)
    await kiosk.next()
    twin.dial(ACK)
    assert await twin.next() == Up()
    assert isinstance(await kiosk.next(), Down)  # Debian's mosquitto closes without giving its reason
    twin.transport.hang_up()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (0x8E, "taken-over"),
        (0x87, "refused"),
        (0x98, "refused"),
        (0x8B, "unavailable"),
        (0x8D, "unavailable"),
    ],
)
async def test_the_reason_that_a_broker_gives_is_told(code: int, reason: str) -> None:
    """In bytes (MQTT 5, 3.14): Debian's mosquitto 2.0.11 gives none when it puts a client out."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)  # CONNECT
        writer.write(bytes([0x20, 3, 0, 0, 0]))
        subscribe = await reader.read(1000)
        writer.write(bytes([0x90, 4, *subscribe[2:4], 0, 1]))
        writer.write(bytes([0xE0, 2, code, 0]))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        transport = MqttTransport(host="127.0.0.1", port=port, client_id=DEVICE, keepalive_s=30, context=None)
        events: asyncio.Queue[Told] = asyncio.Queue()
        transport.dial([ACK], WILL, events.put_nowait)
        async with asyncio.timeout(DEADLINE_S):
            assert await events.get() == Up()
            lost = await events.get()
    assert isinstance(lost, Down)
    assert lost.reason == reason


async def test_messages_wait_at_the_broker_for_a_device_that_comes_back(
    tmp_path: Path, broker: Broker, authority: Authority
) -> None:
    kiosk, there = device(tmp_path, broker, authority), cloud(tmp_path, broker, authority)
    there.dial("nothing", will=Outgoing("tests/will", b"", 0))
    await there.next()
    kiosk.dial(ACK)
    await kiosk.next()
    await kiosk.transport.close(WILL)
    there.transport.publish(Outgoing(ACK, b"while you were away", 1))
    kiosk.dial(ACK)
    events = [await kiosk.next(), await kiosk.next()]
    assert Arrived(ACK, b"while you were away") in events
    kiosk.transport.hang_up()
    there.transport.hang_up()
