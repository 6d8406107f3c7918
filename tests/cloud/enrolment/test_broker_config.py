"""The generated configuration in a real mosquitto, asked with mosquitto's own clients."""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cloud.enrolment import authority, broker_config, pki
from cloud.errors import SettingsError
from cloud.settings import Broker
from contract import topics
from tests.cloud.mosquitto import PROGRAM as MOSQUITTO

TIMEOUT_S = 20


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


class Mosquitto:
    """The broker, and clients with certificates."""

    def __init__(self, folder, configuration, port):
        self.folder, self.port = folder, port
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

    def publish(self, name, topic, text="x", **also):
        command = self.client("mosquitto_pub", name, "-q", "1", "-t", topic, "-m", text, **also)
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=TIMEOUT_S)

    def subscribe(self, name, *filters, count=1):
        """A subscriber that ends after `count` messages; back when the broker has its subscription."""
        since = len(self.lines)
        options = [part for each in filters for part in ("-t", each)]
        command = self.client("mosquitto_sub", name, "-q", "1", "-v", "-C", str(count), "-W", "15", *options)
        process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, text=True)
        self.wait(rf"{name} \d .*|Received SUBSCRIBE from {name}|Sending SUBACK to {name}", since)
        return process

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.reader.join(10)


def make_client(issuer, folder, name):
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = issuer.device(key.public_key(), name, "kiosk", datetime.now(UTC))
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.key").write_bytes(private)
    return certificate


@pytest.fixture
def settings():
    return Broker(host="localhost")


@pytest.fixture
def broker(tmp_path, settings):
    assert MOSQUITTO, "mosquitto is missing: apt-get install mosquitto"
    assert shutil.which("mosquitto_pub"), "mosquitto_pub is missing: apt-get install mosquitto-clients"
    folder = tmp_path / "pki"
    pki.prepare(folder, ["localhost", "127.0.0.1"], datetime.now(UTC))
    port = free_port()
    made = broker_config.write(
        settings, folder, tmp_path / "broker", bind="127.0.0.1", port=port, root=os.geteuid() == 0
    )
    with made.open("a") as file:
        file.write("log_type subscribe\nlog_type debug\n")
    running = Mosquitto(folder, made, port)
    try:
        running.wait("running")
        yield running
    finally:
        running.stop()


def test_each_device_speaks_below_its_own_name_only(broker):
    issuer = pki.load(broker.folder)
    make_client(issuer, broker.folder, "kiosk-01")
    make_client(issuer, broker.folder, "kiosk-02")
    control = broker.subscribe("svc-control", "fleet/v1/+/presence", "fleet/v1/+/jobs/get", count=2)
    own = topics.build("presence", device="kiosk-01")
    assert "Not authorized" in broker.publish("kiosk-02", own, "forged").stderr
    assert "Not authorized" in broker.publish("kiosk-02", "fleet/v1/kiosk-02/ack", "forged").stderr
    broker.publish("kiosk-01", own, "here")
    broker.publish("kiosk-02", topics.build("job-get", device="kiosk-02"), "jobs")
    got, _ = control.communicate(timeout=TIMEOUT_S)
    assert got.split("\n")[:2] == ["fleet/v1/kiosk-01/presence here", "fleet/v1/kiosk-02/jobs/get jobs"]


def test_a_device_hears_only_what_is_for_it(broker):
    issuer = pki.load(broker.folder)
    make_client(issuer, broker.folder, "kiosk-01")
    device = broker.subscribe("kiosk-01", "fleet/v1/#", count=1)
    broker.publish("svc-control", topics.build("job-notify", device="kiosk-02"), "not for you")
    broker.publish("svc-ingest", topics.build("ack", device="kiosk-01"), "for you")
    got, _ = device.communicate(timeout=TIMEOUT_S)
    assert got == "fleet/v1/kiosk-01/ack for you\n"


def test_services_do_what_they_need_and_no_more(broker):
    assert "Not authorized" in broker.publish("svc-ingest", "fleet/v1/kiosk-01/jobs/notify").stderr
    assert "Not authorized" in broker.publish("svc-control", "fleet/v1/kiosk-01/telemetry").stderr
    assert broker.publish("svc-control", "fleet/v1/kiosk-01/jobs/notify").stderr == ""
    version = broker.subscribe("svc-control", "$SYS/broker/version")
    got, _ = version.communicate(timeout=TIMEOUT_S)
    assert "mosquitto" in got


def test_strangers_do_not_get_in(broker, tmp_path):
    nobody = broker.publish("nobody", "fleet/v1/kiosk-01/presence", identity=False)
    assert nobody.returncode != 0
    rogue = authority.found("Civic Fleet Authority", datetime.now(UTC))
    make_client(rogue, broker.folder, "kiosk-01")
    assert broker.publish("kiosk-01", "fleet/v1/kiosk-01/presence").returncode != 0
    server = broker.publish("server", "fleet/v1/kiosk-01/presence")
    assert server.returncode != 0


def test_a_revoked_device_is_out_after_a_reload(broker, tmp_path):
    issuer = pki.load(broker.folder)
    certificate = make_client(issuer, broker.folder, "kiosk-01")
    topic = "fleet/v1/kiosk-01/presence"
    assert broker.publish("kiosk-01", topic).returncode == 0
    now = datetime.now(UTC)
    pki.write_revocations(tmp_path / "broker", issuer.revocations([(certificate.serial_number, now)], 2, now))
    since = len(broker.lines)
    broker.process.send_signal(signal.SIGHUP)
    broker.wait("Reloading config", since)
    assert broker.publish("kiosk-01", topic).returncode != 0


def test_the_rules_come_from_the_contract_alone():
    rules = broker_config.access_rules("city/v2")
    for row in topics.TOPICS:
        access = "write" if row.sender == "device" else "read"
        tail = re.sub(r"\{\w+\}", "+", row.template.replace("{device}", "%u"))
        assert f"pattern {access} city/v2/{tail}\n" in rules
    services = rules.split("# %u")[0]
    assert "telemetry" not in services.split("user svc-ingest")[0]
    assert services.split("user svc-ingest")[1].count("topic") == 2


def test_the_files_may_lie_elsewhere_when_the_broker_reads_them(tmp_path, settings):
    pki.prepare(tmp_path / "pki", ["localhost"], datetime.now(UTC))
    home = tmp_path / "home"
    made = broker_config.write(
        settings, tmp_path / "pki", tmp_path / "out", bind="::1", port=1, root=False, home=home
    )
    named = re.findall(rf"^\w+ ({re.escape(str(tmp_path))}/.*)$", made.read_text(), re.MULTILINE)
    assert len(named) == 6
    assert all(path.startswith(f"{home}/") for path in named)
    assert not home.exists()


def test_before_init_it_says_what_to_do(tmp_path, settings):
    with pytest.raises(SettingsError, match="python -m cloud init"):
        broker_config.write(settings, tmp_path / "pki", tmp_path / "out", bind="::1", port=1, root=False)
