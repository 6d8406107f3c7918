"""The generated configuration in a real mosquitto, asked with mosquitto's own clients."""

import re
from datetime import UTC, datetime

import pytest

from cloud.broker_refusals import REPORT_TOPIC
from cloud.enrolment import authority, broker_config, pki
from cloud.errors import SettingsError
from contract import topics
from tests.cloud.enrolment.hardened import TIMEOUT_S, make_client


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


def test_a_revoked_device_is_out_after_a_reload(broker):
    issuer = pki.load(broker.folder)
    certificate = make_client(issuer, broker.folder, "kiosk-01")
    topic = "fleet/v1/kiosk-01/presence"
    assert broker.publish("kiosk-01", topic).returncode == 0
    now = datetime.now(UTC)
    pki.write_revocations(broker.folder, issuer.revocations([(certificate.serial_number, now)], 2, now))
    broker.read_revocations()
    assert broker.publish("kiosk-01", topic).returncode != 0


def test_the_rules_come_from_the_contract_alone():
    rules = broker_config.access_rules("city/v2")
    for row in topics.TOPICS:
        access = "write" if row.sender == "device" else "read"
        tail = re.sub(r"\{\w+\}", "+", row.template.replace("{device}", "%u"))
        assert f"pattern {access} city/v2/{tail}\n" in rules
    services = rules.split("# %u")[0]
    assert "telemetry" not in services.split("user svc-ingest")[0]
    ingest, reader = services.split("user svc-ingest")[1].split("user svc-broker")
    assert ingest.count("topic") == 2
    assert reader.strip() == f"topic write {REPORT_TOPIC}"
    assert services.count(REPORT_TOPIC) == 2
    assert f"\ntopic read {REPORT_TOPIC}\n" in services.split("user svc-ingest")[0]


def test_reports_of_the_broker_are_written_and_read_by_one_service_each(broker):
    make_client(pki.load(broker.folder), broker.folder, "kiosk-01")
    for forger in ("kiosk-01", "svc-ingest", "svc-control"):
        assert "Not authorized" in broker.publish(forger, REPORT_TOPIC, "forged").stderr
    control = broker.subscribe("svc-control", REPORT_TOPIC)
    nosy = broker.subscribe("kiosk-01", "#", REPORT_TOPIC, "$broker/#")
    ingest = broker.subscribe("svc-ingest", "#", REPORT_TOPIC)
    assert broker.publish("svc-broker", REPORT_TOPIC, "told").stderr == ""
    got, _ = control.communicate(timeout=TIMEOUT_S)
    assert got == f"{REPORT_TOPIC} told\n"
    for other in (nosy, ingest):
        assert other.poll() is None, "it goes on waiting for something"
        other.terminate()
        assert other.communicate(timeout=TIMEOUT_S)[0] == ""


def test_the_files_may_lie_elsewhere_when_the_broker_reads_them(tmp_path, broker_settings):
    pki.prepare(tmp_path / "pki", ["localhost"], datetime.now(UTC))
    home = tmp_path / "home"
    made = broker_config.write(
        broker_settings, tmp_path / "pki", tmp_path / "out", bind="::1", port=1, root=False, home=home
    )
    named = re.findall(rf"^\w+ ({re.escape(str(tmp_path))}/.*)$", made.read_text(), re.MULTILINE)
    assert len(named) == 6
    assert all(path.startswith(f"{home}/") for path in named)
    assert not home.exists()


def test_before_init_it_says_what_to_do(tmp_path, broker_settings):
    with pytest.raises(SettingsError, match="python -m cloud init"):
        broker_config.write(
            broker_settings, tmp_path / "pki", tmp_path / "out", bind="::1", port=1, root=False
        )
