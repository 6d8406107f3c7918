"""A device listener with recordings and nothing else, in a process of its own, over mutual TLS.

`python -m tests.cloud.recordings.place FOLDER` serves what `lay(FOLDER)` has laid out, and prints its port.
"""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.models.captions import Sitting
from cloud.database.models.devices import Device
from cloud.enrolment import guard, members, pki
from cloud.jobs.diagnostics import BYTES_MAX
from cloud.recordings import api
from cloud.recordings.objects import FolderObjects
from cloud.recordings.uploads import Uploads
from cloud.web import listener
from cloud.web.application import build
from edge_agent.link.identity import Identity, identity

HALLS = ("hall-01", "hall-02")
SESSION = "01a2078f-e300-7a01-b362-2da7151b7a60"


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Served:
    """Where it listens, and who the halls are."""

    folder: Path
    port: int
    process: "subprocess.Popen[str]"
    session: str = SESSION
    """The open sitting of the first hall that a test records."""

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def identity(self, hall: str = HALLS[0]) -> Identity:
        return identity(self.folder / hall, self.folder / "pki" / "ca.pem")

    @property
    def objects(self) -> FolderObjects:
        return FolderObjects(self.folder / "objects")


def lay(folder: Path) -> None:
    """Authority, database, an open sitting in the first hall, and both halls' certificates."""
    pki.prepare(folder / "pki", ["localhost"], now())
    engine = connect(f"sqlite:///{folder / 'fleet.db'}")
    complete().create_all(engine)
    with sessionmaker(engine).begin() as session:
        for hall in HALLS:
            session.add(Device(device=hall, kind="recorder", site="Assembly", registered_at=now()))
            session.flush()
            _enrol(session, folder, hall)
    engine.dispose()
    open_sitting(folder, SESSION)


def open_sitting(folder: Path, name: str) -> None:
    """One more open sitting in the first hall."""
    engine = connect(f"sqlite:///{folder / 'fleet.db'}")
    with sessionmaker(engine).begin() as session:
        session.add(
            Sitting(
                session=name,
                device=HALLS[0],
                channel="floor",
                title="Assembly",
                lang="en",
                state="open",
                version=1,
                created_at=now(),
                opened_at=now(),
            )
        )
    engine.dispose()


def _enrol(session: Session, folder: Path, hall: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = pki.load(folder / "pki").device(key.public_key(), hall, "recorder", now())
    members.record(session, certificate, hall, "tests", now())
    own = folder / hall / "pki"
    own.mkdir(parents=True)
    (own / "device.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (own / "device.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (own / "device.key").chmod(0o600)


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Serve what was laid out in `folder` until the end."""
    words = [sys.executable, "-m", "tests.cloud.recordings.place", str(folder)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Served(folder, int(process.stdout.readline()), process)
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    folder = Path(sys.argv[1])
    engine = connect(f"sqlite:///{folder / 'fleet.db'}")
    sessions = sessionmaker(engine, expire_on_commit=False)
    objects = FolderObjects(folder / "objects")
    uploads = Uploads(sessions, objects, lambda _: None, clock=now, new_id=lambda: str(uuid.uuid4()))
    app = build("Recordings", [api.router(uploads)], body_bytes_max=BYTES_MAX)
    guard.protect(app, sessions, now=now)
    config = listener.over_tls(app, "127.0.0.1", 0, pki=folder / "pki", client="required")

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            print(self.servers[0].sockets[0].getsockname()[1], flush=True)

    Server(config).run()


if __name__ == "__main__":
    main()
