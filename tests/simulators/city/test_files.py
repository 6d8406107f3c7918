"""What is written is what the programs read; the embedded broker takes the contract's largest message."""

import asyncio
import sys
import tomllib
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from contract.messages import MESSAGE_BYTES_MAX
from simulators.city.files import write_embedded_broker, write_toml
from simulators.city.processes import Child, Command
from simulators.city.servers import free_ports, serve

ODD = 'ë "quoted" \\ back\nline'


def test_toml_comes_back_as_it_was(tmp_path: Path) -> None:
    tree = {"a": 1, "b": 1.5, "c": True, "d": ODD, "e": ["x", ODD], "f": {"g": tmp_path, "h": False}}
    path = write_toml(tmp_path / "x" / "s.toml", tree)
    assert tomllib.loads(path.read_text()) == tree | {"f": {"g": str(tmp_path), "h": False}}
    assert path.stat().st_mode & 0o777 == 0o600


def test_ports_are_different_and_free() -> None:
    assert len(set(free_ports(40))) == 40


def test_an_application_answers_and_ends() -> None:
    app = Starlette(routes=[Route("/", lambda _request: PlainTextResponse("here"))])

    async def story() -> None:
        served = await serve(app)
        async with httpx.AsyncClient() as client:
            assert (await client.get(served.url)).text == "here"
            await served.stop()
        again = await serve(app, port=int(served.url.rsplit(":", 1)[1]))
        await again.stop()

    asyncio.run(story())


def test_the_embedded_broker_takes_the_largest_message(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    config = write_embedded_broker(tmp_path / "broker.toml", port)

    async def story() -> None:
        words = [sys.executable, "-m", "iotcore", "--config", str(config), "--log-level", "CRITICAL"]
        child = Child(Command("broker", words), tmp_path)
        await child.start()
        try:
            await asyncio.to_thread(_largest_message, port)
        finally:
            await child.stop()

    asyncio.run(story())


def _largest_message(port: int) -> None:
    got: list[int] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="a", protocol=paho.MQTTv5)

    def connected(*_: Any) -> None:
        client.subscribe("t", qos=1)

    def subscribed(*_: Any) -> None:
        client.publish("t", b"x" * MESSAGE_BYTES_MAX, qos=1)

    def received(_client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        got.append(len(message.payload))
        client.disconnect()

    client.on_connect = connected
    client.on_subscribe = subscribed
    client.on_message = received
    client.reconnect_delay_set(1, 1)
    client.connect_async("127.0.0.1", port)
    client.loop_forever(retry_first_connection=True)
    assert got == [MESSAGE_BYTES_MAX]
