"""A real mosquitto for one test: free port, own folder, ended with the test."""

import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contract import topics
from tests.cloud.mosquitto import end
from tests.edge_agent.authority import Authority

STARTED = "running"
ATTEMPTS = 5


@dataclass
class Broker:
    """A mosquitto; `folder` holds its configuration, `port` is the listener's."""

    folder: Path
    port: int
    authority: Authority | None
    process: "subprocess.Popen[str] | None" = None

    def start(self) -> None:
        """Start it on its port; returns when it listens."""
        (self.folder / "mosquitto.conf").write_text("\n".join(self._configuration()) + "\n")
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
        assert program, "install the Debian package mosquitto"
        self.process = subprocess.Popen(
            [program, "-c", str(self.folder / "mosquitto.conf")],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stderr is not None
        said = []
        for line in self.process.stderr:
            said.append(line)
            if STARTED in line:
                return
        self.process.wait()
        self.process.stderr.close()
        self.process = None
        raise OSError("mosquitto did not start: " + "".join(said))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it in order, or by SIGKILL, which loses its sessions as a power cut does."""
        if self.process is not None:
            assert self.process.stderr is not None
            if how == signal.SIGKILL:
                self.process.kill()
            drain = threading.Thread(target=self.process.stderr.read)  # a full pipe would hold it up
            drain.start()
            end(self.process)
            drain.join()
            self.process.stderr.close()
            self.process = None

    def _configuration(self) -> list[str]:
        lines = ["per_listener_settings false", "user root", "persistence false", "log_type error"]
        lines += ["log_type information", "log_dest stderr", "max_packet_size 262144"]
        if self.authority is None:
            return [*lines, "allow_anonymous true", f"listener {self.port} 127.0.0.1"]
        pem, key = self.authority.write_server(self.folder, "broker")
        (self.folder / "ca.pem").write_bytes(self.authority.pem)
        acl = [*topics.device_rules(), "user tests", "topic readwrite #"]
        (self.folder / "acl").write_text("\n".join(acl) + "\n")
        return [
            *lines,
            "allow_anonymous false",
            f"acl_file {self.folder / 'acl'}",
            f"listener {self.port} 127.0.0.1",
            f"cafile {self.folder / 'ca.pem'}",
            f"certfile {pem}",
            f"keyfile {key}",
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",
        ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def mosquitto(folder: Path, authority: Authority | None = None) -> Iterator[Broker]:
    """A running broker; with an authority it demands a certificate, without it takes everyone."""
    folder.mkdir(parents=True, exist_ok=True)
    for attempt in range(ATTEMPTS):
        broker = Broker(folder, free_port(), authority)
        try:
            broker.start()
            break
        except OSError:
            if attempt == ATTEMPTS - 1:  # somebody else took the port each time
                raise
    try:
        yield broker
    finally:
        broker.stop()
