"""The control plane with its root at `$aws/things`, and AWS's own clients that take it for AWS IoT.

Real processes: mosquitto with mutual TLS as `broker-config` sets it up, and `python -m cloud serve`. Devices
enrol by EST, staff is a program with a token.
"""

import base64
import json
import os
import queue
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import httpx
import pytest
from awscrt import mqtt5, mqtt_request_response
from awsiot import ServiceStreamOptions, V2ServiceException, mqtt5_client_builder
from awsiot.iotjobs import IotJobsClientV2
from awsiot.iotshadow import IotShadowClientV2
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7
from cryptography.x509.oid import NameOID
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import connect
from cloud.enrolment import registry, tokens
from cloud.operators import api_tokens
from simulators.city.servers import free_ports
from tests.cloud.mosquitto import PROGRAM as MOSQUITTO
from tests.cloud.mosquitto import end

ROOT = "$aws/things"
DEADLINE_S = 70.0
ANSWER_S = 30
STREAMS_MAX = 4
SCOPES = ["devices:read", "devices:write", "jobs:read", "jobs:write"]
SETTINGS = """
data_dir = "{folder}/data"
public_url = "http://localhost:{pages}"
[pages]
port = {pages}
[bootstrap]
port = {bootstrap}
[device]
port = {device}
[broker]
host = "localhost"
port = {broker}
root = "{root}"
[documents]
registry_url = "http://127.0.0.1:9"
payments_url = "http://127.0.0.1:9"
"""
AGENT = """
device = "{device}"
kind = "kiosk"
site = "Conformance"
data_dir = "{folder}/data"
token_file = "{folder}/token"
[broker]
host = "localhost"
port = {broker}
root = "{root}"
[cloud]
bootstrap_url = "https://localhost:{bootstrap}"
device_url = "https://localhost:{device_port}"
ca_file = "{ca}"
[telemetry]
period_s = 3600
"""

T = TypeVar("T")


class Process:
    """A program of ours and the events that it logs."""

    def __init__(self, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._news:
                self.events.append(json.loads(line) if line.startswith("{") else {"event": line})
                self._news.notify_all()

    def wait_for(self, event: str, count: int = 1, **fields: Any) -> None:
        """Wait until it has logged `event` with these fields `count` times."""

        def seen() -> bool:
            wanted = {"event": event} | fields
            found = [each for each in self.events if wanted.items() <= each.items()]
            return len(found) >= count

        with self._news:
            assert self._news.wait_for(seen, DEADLINE_S), f"no {event} {fields}: {self.events[-5:]}"

    def end(self) -> int:
        """SIGTERM; its exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(DEADLINE_S)
        finally:
            self._process.kill()
            self._reader.join(DEADLINE_S)


@dataclass
class Things:
    """A running platform; `staff` is a client with a token."""

    folder: Path
    ports: dict[str, int]
    ca: Path
    plane: Process
    broker: "subprocess.Popen[bytes]"
    staff: httpx.Client
    opened: list["AwsClient"] = field(default_factory=list)
    agents: list[Process] = field(default_factory=list)

    def database(self) -> AbstractContextManager[Session]:
        """A transaction in the running platform's database."""
        return _database(self.folder)

    def token(self, device: str) -> str:
        """Register `device`, and give its enrolment token."""
        now = datetime.now(UTC)
        with self.database() as session:
            registry.register(session, device, "kiosk", "Conformance", now)
            return tokens.issue(session, device, "kiosk", now, os.urandom(tokens.TOKEN_BYTES))

    def enrol(self, device: str) -> tuple[Path, Path]:
        """A stranger's device: certificate and key as PEM files, by EST with nothing of ours."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        answer = httpx.post(
            f"https://localhost:{self.ports['bootstrap']}/.well-known/est/simpleenroll",
            content=base64.b64encode(request.public_bytes(Encoding.DER)),
            headers={"Content-Type": "application/pkcs10"},
            auth=(device, self.token(device)),
            verify=_trusting(self.ca),
        )
        assert answer.status_code == 200, answer.text
        chain = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.content))
        chain.sort(key=lambda each: each.public_key() != key.public_key())  # its own first
        pem, private = self.folder / f"{device}.pem", self.folder / f"{device}.key"
        pem.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in chain))
        private.touch(0o600)
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return pem, private

    def client(self, device: str) -> "AwsClient":
        """AWS's SDK, connected as `device`, which is new."""
        pem, private = self.enrol(device)
        made = AwsClient(device, self.ports["broker"], self.ca, pem, private)
        self.opened.append(made)
        return made

    def agent(self, device: str) -> Process:
        """Our own agent, enrolled at its start if it is new."""
        folder = self.folder / device
        if not folder.exists():
            folder.mkdir()
            (folder / "token").touch(0o600)
            (folder / "token").write_text(self.token(device))
            (folder / "agent.toml").write_text(
                AGENT.format(
                    device=device,
                    folder=folder,
                    broker=self.ports["broker"],
                    bootstrap=self.ports["bootstrap"],
                    device_port=self.ports["device"],
                    ca=self.ca,
                    root=ROOT,
                )
            )
        process = Process("edge_agent", "--settings", str(folder / "agent.toml"))
        self.agents.append(process)
        return process

    def job(self, device: str, operation: str = "restart-agent") -> str:
        """Order a job; its id."""
        answer = self.staff.post(
            "/api/v1/jobs",
            json={"operation": operation, "targets": [device]},
            headers={"Idempotency-Key": os.urandom(8).hex()},
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["job"])

    def cancel(self, job: str) -> None:
        """Cancel a job whose execution has not begun."""
        answer = self.staff.post(f"/api/v1/jobs/{job}/cancel")
        assert answer.status_code == 200, answer.text

    def status(self, job: str, device: str) -> str:
        """Where the execution of `job` on `device` stands."""
        executions = self.staff.get(f"/api/v1/jobs/{job}").json()["executions"]
        return str(next(each["status"] for each in executions if each["device"] == device))

    def twin(self, device: str) -> dict[str, Any]:
        """The twin as staff's programs see it."""
        answer = self.staff.get(f"/api/v1/devices/{device}/twin")
        found: dict[str, Any] = answer.json()
        return found if answer.status_code == 200 else {"version": 0, "state": {"reported": {}}}

    def desire(self, device: str, desired: dict[str, Any]) -> int:
        """Change what is desired; the version."""
        answer = self.staff.patch(f"/api/v1/devices/{device}/twin", json={"state": {"desired": desired}})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["version"])

    def stop(self) -> None:
        """End everything that was begun."""
        for client in self.opened:
            client.stop()
        for agent in self.agents:
            agent.end()
        self.plane.end()
        end(self.broker, DEADLINE_S)
        self.staff.close()


def start(folder: Path) -> Things:
    """The whole platform in `folder`; its listeners answer when this returns."""
    if MOSQUITTO is None:
        pytest.fail("mosquitto is missing: apt-get install mosquitto")
    names = ("pages", "bootstrap", "device", "broker")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    settings = folder / "cloud.toml"
    settings.write_text(SETTINGS.format(folder=folder, root=ROOT, **ports))
    _cloud(settings, "init", "--password-file", str(folder / "password"))
    out = folder / "broker"
    told = _cloud(settings, "broker-config", "--out", str(out), "--port", str(ports["broker"]))
    broker = subprocess.Popen(
        [MOSQUITTO, "-c", told["configuration"]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    plane = Process("cloud", "serve", "--settings", str(settings))
    try:
        plane.wait_for("link_connected")
        plane.wait_for("control_plane_started")
    except BaseException:  # whatever ends the start: nothing that it began may outlive it
        plane.end()
        end(broker)
        raise
    staff = httpx.Client(
        base_url=f"http://127.0.0.1:{ports['pages']}", headers={"Authorization": f"Bearer {_token(folder)}"}
    )
    return Things(folder, ports, folder / "data" / "pki" / "ca.pem", plane, broker, staff)


@contextmanager
def _database(folder: Path) -> Iterator[Session]:
    engine = connect(f"sqlite:///{folder / 'data' / 'fleet.db'}")
    try:
        with sessionmaker(engine).begin() as session:
            yield session
    finally:
        engine.dispose()


def _token(folder: Path) -> str:
    with _database(folder) as session:
        return api_tokens.create(
            session,
            "conformance",
            SCOPES,
            1,
            offered=SCOPES,
            by="conformance",
            now=datetime.now(UTC),
            random=os.urandom(24).hex(),
        )


def _cloud(settings: Path, command: str, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "cloud", command, "--settings", str(settings), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _trusting(ca: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca))


class Stream(Generic[T]):
    """What arrives on one of AWS's streams, in order."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._up = threading.Event()
        self._operation: Any = None

    def open(self, create: Callable[[ServiceStreamOptions[T]], Any]) -> "Stream[T]":
        """Subscribe; the subscription stands when this returns."""
        options: ServiceStreamOptions[T] = ServiceStreamOptions(
            incoming_event_listener=self._events.put, subscription_status_listener=lambda _: self._up.set()
        )
        self._operation = create(options)
        self._operation.open()
        assert self._up.wait(DEADLINE_S), "the subscription was not accepted"
        return self

    def next(self) -> T:
        """The next event, however long it takes within the deadline."""
        return self._events.get(timeout=DEADLINE_S)

    def until(self, holds: Callable[[T], bool]) -> T:
        """The first event that satisfies `holds`."""
        end = time.monotonic() + DEADLINE_S
        while True:
            event = self._events.get(timeout=max(0.0, end - time.monotonic()))
            if holds(event):
                return event


class AwsClient:
    """AWS's MQTT 5 client with its Jobs and Shadow clients, over mutual TLS."""

    def __init__(self, device: str, port: int, ca: Path, certificate: Path, key: Path) -> None:
        self.device = device
        self._up: Future[None] = Future()
        self._down = threading.Event()
        self._heard: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        self._client: mqtt5.Client = mqtt5_client_builder.mtls_from_path(
            endpoint="localhost",
            port=port,
            cert_filepath=str(certificate),
            pri_key_filepath=str(key),
            ca_filepath=str(ca),
            client_id=device,
            on_lifecycle_connection_success=self._connected,
            on_lifecycle_connection_failure=self._failed,
            on_lifecycle_stopped=lambda _: self._down.set(),
            on_publish_received=self._hear,
        )
        self._client.start()
        self._up.result(DEADLINE_S)
        options = mqtt_request_response.ClientOptions(
            max_request_response_subscriptions=8,
            max_streaming_subscriptions=STREAMS_MAX,
            operation_timeout_in_seconds=ANSWER_S,
        )
        self.jobs = IotJobsClientV2(self._client, options)
        self.shadow = IotShadowClientV2(self._client, options)

    def _connected(self, _data: mqtt5.LifecycleConnectSuccessData) -> None:
        if not self._up.done():
            self._up.set_result(None)

    def _failed(self, data: mqtt5.LifecycleConnectFailureData) -> None:
        if not self._up.done():
            self._up.set_exception(
                AssertionError(f"no connection: {data.exception!r} {data.connack_packet!r}")
            )

    def _hear(self, data: mqtt5.PublishReceivedData) -> None:
        packet = data.publish_packet
        if packet.topic.endswith(("/accepted", "/rejected")):
            self._heard.put((packet.topic, json.loads(packet.payload or b"null")))

    def ask_at_once(self, request: str, bodies: Sequence[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
        """Publish all `bodies` as the `request` (`shadow/update`); the answers, each with its topic.

        By AWS's MQTT client alone: its request-response client (aws-c-mqtt in awscrt 0.36.1) waits for two
        SUBACKs for every operation, and never publishes one that is begun between them, because it hears of
        one only.
        """
        topic = f"{ROOT}/{self.device}/{request}"
        qos = mqtt5.QoS.AT_LEAST_ONCE
        filters = [mqtt5.Subscription(f"{topic}/{end}", qos) for end in ("accepted", "rejected")]
        self._client.subscribe(mqtt5.SubscribePacket(filters)).result(DEADLINE_S)
        wanted = {f"{number}": body for number, body in enumerate(bodies)}
        for token, body in wanted.items():
            payload = json.dumps(body | {"clientToken": token})
            self._client.publish(mqtt5.PublishPacket(topic=topic, payload=payload, qos=qos))
        answers: dict[str, tuple[str, dict[str, Any]]] = {}
        while wanted.keys() - answers.keys():
            where, answer = self._heard.get(timeout=DEADLINE_S)
            answers[answer["clientToken"]] = (where, answer)
        return [answers[token] for token in wanted]

    def stop(self) -> None:
        """Disconnect in order."""
        del self.jobs, self.shadow
        self._client.stop()
        assert self._down.wait(DEADLINE_S)


def taken(answer: "Future[T]") -> T:
    """What was answered on `accepted`."""
    try:
        return answer.result(DEADLINE_S)
    except V2ServiceException as error:
        raise AssertionError(f"{error.message}: {error.modeled_error!r} {error.inner_error!r}") from error


def refused(answer: "Future[Any]") -> Any:
    """What was answered on `rejected`, as AWS's client has read it."""
    with pytest.raises(V2ServiceException) as caught:
        answer.result(DEADLINE_S)
    assert caught.value.inner_error is None, "it could not be read, or never came"
    return caught.value.modeled_error
