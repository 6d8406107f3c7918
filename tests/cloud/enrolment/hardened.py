"""mosquitto as it is configured for a city, and mosquitto's own clients."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cloud.enrolment import broker_config
from tests.cloud.mosquitto import PROGRAM as MOSQUITTO
from tests.cloud.mosquitto import end

TIMEOUT_S = 20


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


class Mosquitto:
    """The broker, and clients with certificates."""

    def __init__(self, folder, configuration, port):
        self.folder, self.home, self.port = folder, configuration.parent, port
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", str(configuration)], stderr=subprocess.PIPE, text=True
        )
        self.lines, self.news = [], threading.Condition()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self.news:
                self.lines.append(line)
                self.news.notify_all()

    def wait(self, pattern, since=0):
        with self.news:
            found = self.news.wait_for(
                lambda: any(re.search(pattern, line) for line in self.lines[since:]), TIMEOUT_S
            )
        assert found, "".join(self.lines)

    def client(self, program, name, *options, identity=True):
        own = ["--cert", f"{name}.pem", "--key", f"{name}.key"] if identity else []
        return [
            program, "-h", "localhost", "-p", str(self.port), "--cafile", "ca.pem", *own, "-V", "5", *options
        ]  # fmt: skip

    def publish(self, name, topic, text="x", *options, **also):
        command = self.client("mosquitto_pub", name, "-q", "1", "-t", topic, "-m", text, *options, **also)
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=TIMEOUT_S)

    def subscribe(self, name, *filters, count=1):
        """A subscriber that ends after `count` messages; back when the broker has its subscription."""
        since = len(self.lines)
        options = [part for each in filters for part in ("-t", each)]
        command = self.client("mosquitto_sub", name, "-q", "1", "-v", "-C", str(count), "-W", "15", *options)
        process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, text=True)
        self.wait(rf"{name} \d .*|Received SUBSCRIBE from {name}|Sending SUBACK to {name}", since)
        return process

    def read_revocations(self):
        """What the unit does when a list was signed."""
        shutil.copy(self.folder / "crl.pem", self.home / "crl.pem.new")
        (self.home / "crl.pem.new").replace(self.home / "crl.pem")
        since = len(self.lines)
        self.process.send_signal(signal.SIGHUP)
        self.wait("Reloading config", since)

    def again(self, how):
        """End the broker by SIGTERM or SIGKILL, and start it anew on what it has left."""
        if how == signal.SIGKILL:
            self.process.kill()
        self.stop()
        self.__init__(self.folder, self.home / "mosquitto.conf", self.port)
        self.wait("running")

    def stop(self):
        end(self.process)
        self.reader.join(10)


def make_client(issuer, folder, name, at=None):
    """A certificate for `name` in `folder`, which `issuer` has signed at `at`."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = issuer.device(key.public_key(), name, "kiosk", at or datetime.now(UTC))
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.key").write_bytes(private)
    return certificate


@contextmanager
def hardened(settings, pki_dir, home, extra=""):
    """mosquitto as we configure it, with the keys in `pki_dir`; `extra` lines are for what tests hurry."""
    assert MOSQUITTO, "mosquitto is missing: apt-get install mosquitto"
    assert shutil.which("mosquitto_pub"), "mosquitto_pub is missing: apt-get install mosquitto-clients"
    made = broker_config.write(
        settings, pki_dir, home, bind="127.0.0.1", port=settings.port, root=os.geteuid() == 0
    )
    with made.open("a") as file:
        file.write(f"log_type subscribe\nlog_type debug\n{extra}")
    running = Mosquitto(pki_dir, made, settings.port)
    try:
        running.wait("running")
        yield running
    finally:
        running.stop()
