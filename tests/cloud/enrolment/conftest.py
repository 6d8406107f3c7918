"""A whole enrolment: authority, database, and both listeners with real TLS."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn
from fastapi import APIRouter, Request
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.devices import Device
from cloud.enrolment import est, guard, pki, tokens
from cloud.enrolment.est import Desk
from cloud.enrolment.handshakes import Handshakes
from cloud.settings import Broker as BrokerSettings
from cloud.web import listener
from cloud.web.application import build
from tests.cloud.enrolment.hardened import Mosquitto, free_port, hardened

NAME = "kiosk-01"


@dataclass
class Now:
    """Real time, plus what a test adds: certificates are checked by OpenSSL against the real clock."""

    ahead_s: float = 0.0

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(datetime.now(UTC).timestamp() + self.ahead_s, UTC)


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def folder(tmp_path: Path, now: Now) -> Path:
    folder = tmp_path / "pki"
    pki.prepare(folder, ["localhost", "127.0.0.1"], now())
    return folder


@pytest.fixture
def desk(folder: Path, sessions: sessionmaker[Session], now: Now) -> Desk:
    return Desk(pki.load(folder), sessions, now)


@pytest.fixture
def token(sessions: sessionmaker[Session], now: Now) -> str:
    """A fresh token for `kiosk-01`, which is registered."""
    return make_token(sessions, NAME, now())


def make_token(sessions: sessionmaker[Session], name: str, at: datetime, random: bytes = bytes(16)) -> str:
    with sessions.begin() as session:
        if session.get(Device, name) is None:
            session.add(Device(device=name, kind="kiosk", site="Dardania", registered_at=at))
            session.flush()
        return tokens.issue(session, name, "kiosk", at, random)


@pytest.fixture
def handshakes() -> Handshakes:
    return Handshakes()


@pytest.fixture
def bootstrap_port(
    desk: Desk, folder: Path, handshakes: Handshakes, listen: Callable[[uvicorn.Config], int]
) -> int:
    app = build("bootstrap", [est.router(desk, folder)], body_bytes_max=est.BODY_BYTES_MAX)
    return listen(
        listener.over_tls(
            app,
            "127.0.0.1",
            0,
            pki=folder,
            client="optional",
            expired=True,
            refused=handshakes.refused,
        )
    )


@pytest.fixture
def device_port(
    desk: Desk, folder: Path, handshakes: Handshakes, listen: Callable[[uvicorn.Config], int]
) -> int:
    router = APIRouter()

    @router.get("/api/v1/whoami")
    def whoami(request: Request) -> dict[str, str]:
        return {"device": listener.peer(request)}

    app = build("device", [router, guard.device_router(desk.sessions, now=desk.now)])
    guard.protect(app, desk.sessions, now=desk.now)
    return listen(
        listener.over_tls(app, "127.0.0.1", 0, pki=folder, client="required", refused=handshakes.refused)
    )


@dataclass
class Answer:
    status: int
    headers: str
    body: bytes


class Technician:
    """Somebody with `openssl` and `curl`, and nothing of ours."""

    def __init__(self, folder: Path, ca: Path) -> None:
        self.folder = folder
        self._curl = ("curl", "-sS", "--cacert", str(ca))
        folder.mkdir(exist_ok=True)

    def run(self, *command: str, data: bytes = b"") -> bytes:
        done = subprocess.run(command, cwd=self.folder, input=data, capture_output=True, timeout=30)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def request(self, name: str, *, key: str = "key.pem", new: tuple[str, ...] = ("EC", "P-256")) -> bytes:
        """A PKCS#10 request in base64, for a new key in `key`."""
        option = f"ec_paramgen_curve:{new[1]}" if new[0] == "EC" else f"rsa_keygen_bits:{new[1]}"
        self.run("openssl", "genpkey", "-algorithm", new[0], "-pkeyopt", option, "-out", key)
        self.run(
            "openssl", "req", "-new", "-key", key, "-subj", f"/CN={name}", "-outform", "DER", "-out", "csr"
        )
        return self.run("openssl", "base64", "-in", "csr")

    def curl(
        self,
        port: int,
        path: str,
        *options: str,
        data: bytes | None = None,
        media: str = "application/pkcs10",
    ) -> Answer:
        sent = ["--data-binary", "@-", "-H", f"Content-Type: {media}"] if data is not None else []
        out = self.run(
            *self._curl, "-D", "headers", "-o", "body", "-w", "%{http_code}",
            *sent, *options, f"https://localhost:{port}{path}", data=data or b"",
        )  # fmt: skip
        body = self.folder / "body"
        content = body.read_bytes() if body.exists() else b""
        return Answer(int(out), (self.folder / "headers").read_text(), content)

    def alert(self, port: int, path: str, *options: str) -> str:
        """What curl says of the TLS alert with which the listener refused him."""
        command = [*self._curl, *options, f"https://localhost:{port}{path}"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, timeout=30)
        assert (done.returncode, done.stdout) == (56, b""), done.stderr.decode()
        told = re.search("alert ([a-z ]+)", done.stderr.decode())
        assert told, done.stderr.decode()
        return told[1]

    def est(self, port: int, operation: str, *options: str, data: bytes | None = None, **also: str) -> Answer:
        return self.curl(port, f"/.well-known/est/{operation}", *options, data=data, **also)

    def keep(self, answer: Answer, path: str = "cert.pem") -> Path:
        """The certificate in an answer, as openssl reads it."""
        assert answer.status == 200, answer.body
        assert b"\n" not in answer.body
        der = self.run("openssl", "base64", "-d", "-A", data=answer.body)
        pem = self.run("openssl", "pkcs7", "-inform", "DER", "-print_certs", data=der)
        (self.folder / path).write_bytes(pem)
        return self.folder / path

    def enrol(self, port: int, token: str, name: str = NAME) -> Path:
        return self.keep(self.est(port, "simpleenroll", "-u", f"{name}:{token}", data=self.request(name)))


@pytest.fixture
def technician(tmp_path: Path, folder: Path) -> Technician:
    for program in ("openssl", "curl"):
        assert shutil.which(program), f"{program} is missing: apt-get install {program}"
    return Technician(tmp_path / "technician", folder / "ca.pem")


@pytest.fixture
def broker_settings() -> BrokerSettings:
    return BrokerSettings(host="localhost", port=free_port())


@pytest.fixture
def broker(broker_settings: BrokerSettings, folder: Path, tmp_path: Path) -> Iterator[Mosquitto]:
    """A real one, as a city has it."""
    with hardened(broker_settings, folder, tmp_path / "broker") as running:
        yield running
