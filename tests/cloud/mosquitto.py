"""A real mosquitto in a temporary folder, on a free port, plain or with mutual TLS."""

import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from contract.topics import device_rules, service_rules

PROGRAM = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
START_TIMEOUT_S = 10.0
END_AGAIN_S = 0.5
CONTROL_WRITES = frozenset(
    {"ack", "job-notify", "job-notify-next"}
    | {
        f"job-{name}-{end}"
        for name in ("get", "start-next", "describe", "update")
        for end in ("accepted", "rejected")
    }
)
CONTROL_READS = frozenset(
    {"presence", "evidence", "caption-partial", "caption-final"}
    | {"job-get", "job-start-next", "job-describe", "job-update"}
)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end(process: "subprocess.Popen[str] | subprocess.Popen[bytes]", within_s: float = 10.0) -> int:
    """End a mosquitto in order, however recently it was begun; its exit status.

    mosquitto 2.0.11 forgets a SIGTERM that comes between its line "running" and the first turn of its main
    loop: `run = 1` is set after the line is logged. So SIGTERM is sent again until it has ended; a second
    one changes nothing for a broker that has heard the first.

    Raises:
        subprocess.TimeoutExpired: it did not end in time.
    """
    until = time.monotonic() + within_s
    while True:
        process.terminate()  # nothing is sent to one that has ended
        try:
            return process.wait(END_AGAIN_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() > until:
                raise


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Mosquitto:
    """One broker; with `pki` (a folder of `cloud.enrolment.pki`) it asks every client for a certificate."""

    def __init__(self, folder: Path, pki: Path | None = None, extra: Sequence[str] = ()) -> None:
        if PROGRAM is None:
            pytest.skip("mosquitto is missing: apt-get install mosquitto")
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(exist_ok=True)
        self._config = folder / "mosquitto.conf"
        lines = [
            "user root",
            "log_dest none",
            "max_inflight_messages 1000",
            "max_queued_messages 200000",
            "max_packet_size 262144",
            "set_tcp_nodelay true",
            *extra,
            f"listener {self.port} 127.0.0.1",
        ]
        if pki is None:
            lines.append("allow_anonymous true")
        else:
            acl = folder / "acl"
            acl.write_text(
                "\n".join(
                    [
                        "user svc-control",
                        *service_rules(CONTROL_WRITES, CONTROL_READS),
                        "user svc-ingest",
                        *service_rules(frozenset({"ack"}), frozenset({"telemetry"})),
                        *device_rules(),
                        "",
                    ]
                )
            )
            acl.chmod(0o600)
            lines += [
                f"cafile {pki / 'authorities.pem'}",
                f"certfile {pki / 'broker.pem'}",
                f"keyfile {pki / 'broker.key'}",
                "require_certificate true",
                "use_identity_as_username true",
                "use_username_as_clientid true",
                f"acl_file {acl}",
            ]
        self._config.write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        """Start, and return when it accepts connections."""
        assert PROGRAM is not None
        self._process = subprocess.Popen([PROGRAM, "-c", str(self._config)])
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _answers(self.port):
            assert self._process.poll() is None, "mosquitto ended; see its configuration"
            assert time.monotonic() < deadline, "mosquitto does not answer"
            time.sleep(0.02)  # a port that opens gives no event to wait for

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
