"""A running control plane as strangers meet it: mosquitto, the ingest, three listeners, PostgreSQL below.

What no answer may hold is collected here: words that only the inside uses, paths of this machine, secrets.
"""

import base64
import json
import re
import secrets
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs7
from cryptography.x509.oid import NameOID
from fastapi import FastAPI
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import connect
from cloud.enrolment import registry, tokens
from cloud.operators import api_tokens
from cloud.operators.roles import Role
from contract.enrolment import EST_PREFIX
from simulators.people import Person, generate
from simulators.services.payments import payments_app
from simulators.services.registries import registries_app
from tests.cloud.conftest import sign_in_as
from tests.cloud.mosquitto import PROGRAM as MOSQUITTO
from tests.cloud.mosquitto import end, free_port
from tests.ports.serving import served

START_S = 60.0
STOP_S = 30.0
SEED = 11
KIOSK, HALL, NEIGHBOUR = "kiosk-01", "hall-01", "kiosk-02"
DEVICES = {KIOSK: "kiosk", HALL: "recorder", NEIGHBOUR: "kiosk"}
ROOT = Path(__file__).parents[2]
INSIDE = re.compile(
    r"(?i:traceback|most recent call|sqlalchemy|sqlite3|psycopg|pydantic|starlette|fastapi|uvicorn|msgspec)"
    r"|File \"|SELECT .*FROM|INSERT INTO|UPDATE \w+ SET|site-packages|\w\.py\b|object at 0x|\wError\("
    r"|__(?:init|main|dict|class|globals)__|\bdbos\b"
)
"""Words of the inside; a page or a sentence of ours needs none of them."""
OUR_FAULTS = {
    "request_failed", "message_handler_failed", "quarantine_failed", "broker_task_failed", "chore_failed",
    "after_commit_failed", "live_message_failed",
}  # fmt: skip
SETTINGS = """
data_dir = "{folder}/data"
public_url = "http://localhost"
database_url = "{database}"
pages = {{ port = {pages} }}
bootstrap = {{ port = {bootstrap} }}
device = {{ port = {device} }}
broker = {{ host = "localhost", port = {broker} }}
documents = {{ registry_url = "{registry}", payments_url = "{payments}" }}
"""


@dataclass(frozen=True)
class Caller:
    """Somebody who calls a listener at `url` with what shows who they are."""

    name: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    verify: str = ""
    """Who is trusted; nobody over plain HTTP on the loopback."""
    certificate: tuple[str, str] | None = None

    def browser(self) -> httpx.Client:
        """A client that shows it, and follows nothing."""
        return httpx.Client(
            base_url=self.url,
            headers=self.headers,
            cookies=self.cookies,
            verify=_context(self) if self.verify else False,
            timeout=30.0,
        )

    def session(self) -> requests.Session:
        """The same for schemathesis, which keeps its connection."""
        made = requests.Session()
        made.headers.update(self.headers)
        made.cookies.update(self.cookies)
        made.verify = self.verify or False
        made.cert = self.certificate
        return made


def _context(caller: Caller) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=caller.verify)
    if caller.certificate is not None:
        context.load_cert_chain(*caller.certificate)
    return context


class Exposed:
    """The running plane; `callers` by name, and `person`s whom the registry knows."""

    def __init__(self, folder: Path, ports: dict[str, int], sessions: sessionmaker[Session]) -> None:
        self.folder = folder
        self.ports = ports
        self.sessions = sessions
        self.persons: list[Person] = list(generate(SEED).persons.values())
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.callers: dict[str, Caller] = {}
        self._secrets: set[str] = set()
        self._number = 0

    @property
    def data(self) -> Path:
        """The control plane's folder."""
        return self.folder / "data"

    @property
    def _pages(self) -> str:
        return f"http://127.0.0.1:{self.ports['pages']}"

    def staff(self, role: Role) -> Caller:
        """Somebody new of this role who has signed in."""
        self._number += 1
        name = f"{role.value}-{self._number}"
        staff = sign_in_as(name, FastAPI(), self.sessions, datetime.now(UTC), role)
        cookies = dict(staff.client.cookies)
        self._secrets |= set(cookies.values())
        return Caller(name, self._pages, staff.headers, cookies)

    def program(self, name: str, scopes: list[str], offered: list[str]) -> Caller:
        """A program with a token for these scopes, under a name that nobody else has."""
        self._number += 1
        name = f"{name} {self._number}"
        with self.sessions.begin() as session:
            token = api_tokens.create(
                session,
                name,
                scopes,
                1,
                offered=offered,
                by="exposed",
                now=datetime.now(UTC),
                random=secrets.token_urlsafe(32),
            )
        self._secrets.add(token)
        return Caller(name, self._pages, {"Authorization": f"Bearer {token}"})

    def nobody(self, listener: str) -> Caller:
        """A stranger at a listener."""
        scheme = "http" if listener == "pages" else "https"
        return Caller(
            f"nobody at {listener}",
            f"{scheme}://localhost:{self.ports[listener]}",
            verify="" if listener == "pages" else str(self.data / "pki" / "ca.pem"),
        )

    def member(self, kind: str, device: str = "") -> Caller:
        """A device, a new one where none is named, that has enrolled as a technician would: by EST."""
        self._number += 1
        device = device or f"{kind}-new-{self._number}"
        now = datetime.now(UTC)
        with self.sessions.begin() as session:
            registry.register(session, device, kind, "Dardania", now)
            token = tokens.issue(session, device, kind, now, secrets.token_bytes(tokens.TOKEN_BYTES))
        return self._enrol(device, token)

    def _enrol(self, device: str, token: str) -> Caller:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
        asked = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        with self.nobody("bootstrap").browser() as client:
            answer = client.post(
                f"{EST_PREFIX}/simpleenroll",
                content=base64.b64encode(asked.public_bytes(Encoding.DER)),
                auth=(device, token),
                headers={"Content-Type": "application/pkcs10"},
            )
        assert answer.status_code == 200, answer.text
        leaf = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.content))[0]
        files = self.folder / f"{device}.pem", self.folder / f"{device}.key"
        files[0].write_bytes(leaf.public_bytes(Encoding.PEM))
        files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        at = self.nobody("device")
        return Caller(device, at.url, verify=at.verify, certificate=(str(files[0]), str(files[1])))

    def command(self, *words: str) -> dict[str, Any]:
        """A command of the control plane, and its answer."""
        done = subprocess.run(
            [*self.words(words[0]), *words[1:]],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def words(self, command: str) -> list[str]:
        """A command of the control plane, with its settings."""
        return [sys.executable, "-m", "cloud", command, "--settings", str(self.folder / "cloud.toml")]

    def log(self, name: str) -> Path:
        """What a process has said."""
        return self.folder / f"{name}.log"

    def collect_secrets(self) -> None:
        """Of each key file the first line, or all of it where it is no PEM.

        The later lines of a PEM may hold nothing but the public key, which stands in certificates too.
        """
        for path in self.data.rglob("*"):
            if path.is_file() and (path.suffix == ".key" or path.name.endswith("key")):
                raw = path.read_bytes()
                pem = raw.startswith(b"-----BEGIN")
                found = [raw.decode().splitlines()[1]] if pem else [raw.hex(), base64.b64encode(raw).decode()]
                self._secrets |= {each for each in found if len(each) > 30}
        assert len(self._secrets) > 5

    def leaks(self, answer: str, sent: str = "") -> str:
        """What an answer tells of the inside, and was not sent by the caller; empty for nothing."""
        for found in INSIDE.finditer(answer):
            if found[0].lower() not in sent.lower():
                return found[0]
        for path in (str(self.folder), str(ROOT), sys.prefix, str(Path.home())):
            if len(path) > 3 and path in answer:
                return path
        return next(("a secret" for secret in self._secrets if secret in answer), "")

    def failures(self) -> list[dict[str, Any]]:
        """What the control plane and the ingest recorded as faults of their own."""
        lines = [line for name in ("serve", "ingest") for line in self.log(name).read_text().splitlines()]
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return [each for each in events if each["event"] in OUR_FAULTS]

    def names_somebody(self) -> bool:
        """Whether a log holds a personal number."""
        said = "".join(self.log(name).read_text() for name in ("serve", "ingest"))
        return any(person.personal_number in said for person in self.persons)


@contextmanager
def exposed(folder: Path, database: str) -> Iterator[Exposed]:
    """A control plane that serves until the block is left; a kiosk and a hall have enrolled."""
    assert MOSQUITTO, "mosquitto is missing: apt-get install mosquitto"
    names = ("pages", "bootstrap", "device", "broker")
    ports = dict(zip(names, [free_port() for _ in names], strict=True))
    people = generate(SEED)
    engine = connect(database)
    with (
        served(registries_app(people, today=lambda: date(2026, 11, 23))) as registries,
        served(payments_app()) as payments,
    ):
        outside = {"database": database, "registry": registries, "payments": payments}
        (folder / "cloud.toml").write_text(SETTINGS.format(folder=folder, **outside, **ports))
        plane = Exposed(folder, ports, sessionmaker(engine, expire_on_commit=False))
        plane.command("init")
        plane.command("broker-config", "--out", str(folder / "broker"), "--port", str(ports["broker"]))
        broker = [sys.executable, "-m", "cloud.broker_log", str(folder / "broker")]
        with (
            _running(plane, "broker", broker, "running"),
            _running(plane, "ingest", plane.words("ingest"), "link_connected"),
            _running(plane, "serve", plane.words("serve"), "control_plane_started", "link_connected"),
        ):
            plane.callers = {
                **{device: plane.member(kind, device) for device, kind in DEVICES.items()},
                **{f"nobody at {each}": plane.nobody(each) for each in names[:3]},
            }
            plane.collect_secrets()
            yield plane
    engine.dispose()


@contextmanager
def _running(plane: Exposed, name: str, words: list[str], *signs: str) -> Iterator[None]:
    """A process, once it has said all the signs; its words go into a log, and it is ended in the end."""
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    started = threading.Event()

    def listen() -> None:
        assert process.stderr is not None
        wanted = set(signs)
        with plane.log(name).open("w", buffering=1) as file:
            for line in process.stderr:
                file.write(line)
                wanted -= {sign for sign in wanted if sign in line}
                if not wanted:
                    started.set()
        started.set()

    reader = threading.Thread(target=listen, daemon=True)
    reader.start()
    try:
        assert started.wait(START_S), f"{name} did not start"
        assert process.poll() is None, plane.log(name).read_text()
        plane.processes[name] = process
        yield
    finally:
        try:
            if words[0] == MOSQUITTO:
                end(process, STOP_S)
            else:
                process.terminate()
                process.wait(STOP_S)
        finally:
            process.kill()
            reader.join(STOP_S)
            assert process.stderr is not None
            process.stderr.close()
