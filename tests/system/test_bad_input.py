"""What strangers and broken devices send is refused, counted, and harms nobody else."""

import base64
import datetime
import json
import secrets
import sqlite3
import ssl
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from contract import topics
from contract.documents import Kind, Problem
from contract.enrolment import EST_PREFIX
from contract.ids import RANDOM_BYTES, uuid7
from contract.messages import MESSAGE_BYTES_MAX, Lane, seal
from simulators import people
from tests.system.conftest import Town, wait_until

PROBE = "probe-01"
SEED = 7
NOW_MS = 1_795_000_000_000
FLOOD = 10_000
BOOT = "01939f2e-0000-7000-8000-000000000000"


@dataclass(frozen=True)
class Papers:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


def _new_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    path.chmod(0o600)
    return key


def _forged(folder: Path, name: str) -> Papers:
    """A certificate that names a device of the fleet and was signed by nobody."""
    key = _new_key(folder / "forged.key")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .sign(key, hashes.SHA256())
    )
    (folder / "forged.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return Papers(folder / "forged.pem", folder / "forged.key")


def _request(folder: Path, name: str) -> bytes:
    """A certificate request in base64, as EST wants it; the key stays in `folder`."""
    key = _new_key(folder / "probe.key")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return base64.b64encode(request.public_bytes(serialization.Encoding.DER))


def _trust(town: Town, papers: Papers | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(town.folder / "cloud" / "pki" / "ca.pem"))
    if papers is not None:
        context.load_cert_chain(papers.certificate, papers.key)
    return context


def _enrol(town: Town, body: bytes, token: str) -> httpx.Response:
    with httpx.Client(verify=_trust(town)) as client:
        return client.post(
            f"{town.addresses['bootstrap']}{EST_PREFIX}/simpleenroll",
            content=body,
            auth=(PROBE, token),
            headers={"Content-Type": "application/pkcs10"},
        )


@pytest.fixture(scope="module")
def probe(town: Town, tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """A device without an agent, enrolled by hand; wrong and used tokens are refused on the way."""
    folder = tmp_path_factory.mktemp("probe")
    told = town.cloud("enrol-token", "--device", PROBE, "--kind", "kiosk", "--site", "bench")
    body = _request(folder, PROBE)
    for wrong in ("", "0" * 32, told["token"][:-1]):
        refused = _enrol(town, body, wrong)
        assert refused.status_code in (401, 403)
        assert "ask for a new one with enrol-token" in refused.json()["detail"]
    taken = _enrol(town, body, told["token"])
    assert taken.status_code == 200, taken.text
    other = tmp_path_factory.mktemp("thief")
    used = _enrol(town, _request(other, PROBE), told["token"])
    assert used.status_code in (401, 403), "a token that was used serves no other key"
    (folder / "probe.p7b").write_text(f"-----BEGIN PKCS7-----\n{taken.text.strip()}\n-----END PKCS7-----\n")
    pem = subprocess.run(
        ["openssl", "pkcs7", "-in", str(folder / "probe.p7b"), "-print_certs"],
        capture_output=True,
        check=True,
        timeout=20,
    ).stdout
    (folder / "probe.pem").write_bytes(pem)
    return Papers(folder / "probe.pem", folder / "probe.key")


def _publish(
    town: Town, papers: Papers, topic: str, payload: bytes, version: str = "mqttv5"
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [
            *("mosquitto_pub", "-h", "localhost", "-p", str(town.addresses["broker"]), "-V", version),
            *("--cafile", str(town.folder / "cloud" / "pki" / "ca.pem")),
            *("--cert", str(papers.certificate), "--key", str(papers.key)),
            *("-q", "1", "-t", topic, "-s"),
        ],
        input=payload,
        capture_output=True,
        timeout=20,
        check=False,
    )


def _refusals(town: Town, device: str) -> dict[str, int]:
    """What was counted of a device, in both databases."""
    counts: dict[str, int] = {}
    for name in ("fleet.db", "telemetry.db"):
        with closing(sqlite3.connect(town.folder / "cloud" / name, timeout=10)) as database:
            for reason, count in database.execute(
                "SELECT reason, count FROM link_refusals WHERE device = ?", (device,)
            ):
                counts[reason] = counts.get(reason, 0) + count
    return counts


def test_a_forged_certificate_is_refused_by_the_broker(town: Town, tmp_path: Path) -> None:
    refused = _publish(
        town, _forged(tmp_path, "kiosk-01"), topics.build("telemetry", device="kiosk-01"), b"{}"
    )
    assert refused.returncode != 0
    assert town.count("kiosk-01", "link_connected") == 1, "the real device did not notice"


def test_a_forged_certificate_is_refused_by_the_device_listener(town: Town, tmp_path: Path) -> None:
    papers = _forged(tmp_path, "kiosk-01")
    with (
        httpx.Client(verify=_trust(town, papers)) as client,
        pytest.raises(httpx.TransportError),
    ):
        client.get(f"{town.addresses['device']}/api/v1/documents/x")


def test_a_device_speaks_only_for_itself(town: Town, probe: Papers) -> None:
    own = _publish(town, probe, topics.build("presence", device=PROBE), b"no presence")
    assert own.returncode == 0, own.stderr
    foreign = _publish(town, probe, topics.build("presence", device="kiosk-01"), b"no presence")
    assert b"Not authorized" in foreign.stderr
    answers = _publish(town, probe, topics.build("ack", device=PROBE), b"{}")
    assert b"Not authorized" in answers.stderr
    all_of_it = {"malformed": 1, "foreign-topic": 1, "unknown-topic": 1}
    wait_until(lambda: _refusals(town, PROBE) == all_of_it, 20, "what the probe has tried is counted")
    assert _refusals(town, "kiosk-01") == {}


def test_garbage_is_counted_and_stops_nobody(town: Town, probe: Papers) -> None:
    before = _refusals(town, PROBE)
    telemetry = topics.build("telemetry", device=PROBE)
    body = b'{"samples": [{"at": %d, "values": {"cpu_pct": 900.0}}]}' % NOW_MS
    sealed = seal(body, boot=BOOT, lane=Lane.TELEMETRY, seq=1, at=NOW_MS, sent=NOW_MS, historical=False)
    for payload in (b"\x00\xff", b"{}", b"x" * (MESSAGE_BYTES_MAX + 1), sealed):
        assert _publish(town, probe, telemetry, payload).returncode == 0
    final = topics.build("caption-final", device=PROBE, session="s", channel="floor")
    assert _publish(town, probe, final, sealed).returncode == 0
    wait_until(
        lambda: sum(_refusals(town, PROBE).values()) >= sum(before.values()) + 5, 20, "all five are counted"
    )
    points = town.count("kiosk-01", "link_lost")
    assert points == 0
    assert httpx.get(f"{town.addresses['pages']}/healthz").status_code == 200


def _row(town: Town, device: str, lane: str, boot: str = "") -> dict[str, int]:
    """What the ledger has of a device's lane: the sums over its boots, or of one boot."""
    name = "telemetry.db" if lane == Lane.TELEMETRY else "fleet.db"
    columns = ("seq", "stored", "refused", "dropped", "given_up", "repeated", "missing")
    with closing(sqlite3.connect(town.folder / "cloud" / name, timeout=10)) as database:
        sums = ", ".join(f"coalesce(sum({column}), 0)" for column in columns)
        found = database.execute(
            f"SELECT {sums} FROM link_watermarks WHERE device = ? AND lane = ? AND boot LIKE ?",
            (device, lane, boot or "%"),
        ).fetchone()
    return dict(zip(columns, found, strict=True))


def _sample(seq: int, boot: str, **changes: object) -> bytes:
    envelope = {"v": 1, "boot": boot, "lane": "telemetry", "seq": seq, "at": NOW_MS, "sent": NOW_MS}
    body = {"samples": [{"at": NOW_MS, "values": {"cpu_pct": 1.5, "coffee_pct": 2}}], "mood": "good"}
    return json.dumps({**envelope, "colour": "red", "body": body, **changes}).encode()


def test_each_kind_of_bad_input_has_its_rule_and_its_count(town: Town, probe: Papers) -> None:
    """Unknown topic, version, fields and types, and a sequence that jumps back."""
    boot = "01939f2e-0000-7000-8000-000000000001"
    telemetry = topics.build("telemetry", device=PROBE)
    before = _refusals(town, PROBE)
    unknown = _publish(town, probe, telemetry.replace("telemetry", "weather"), b"{}")
    assert b"Not authorized" in unknown.stderr
    for payload in (
        _sample(1, boot),
        _sample(2, boot),
        _sample(1, boot),
        _sample(3, boot, v=2),
        _sample("three", boot),  # type: ignore[arg-type] # on purpose
        _sample(3, boot, body={"samples": "none"}),
        _sample(4, boot),
    ):
        assert _publish(town, probe, telemetry, payload).returncode == 0

    def counted() -> dict[str, int]:
        return {reason: n - before.get(reason, 0) for reason, n in _refusals(town, PROBE).items()}

    wait_until(lambda: _row(town, PROBE, "telemetry", boot)["seq"] == 4, 20, "the lane goes on behind it")
    assert _row(town, PROBE, "telemetry", boot) == {
        "seq": 4,
        "stored": 3,
        "refused": 1,
        "dropped": 0,
        "given_up": 0,
        "repeated": 1,
        "missing": 0,
    }
    each = dict.fromkeys(("unknown-topic", "unknown-version", "not-an-envelope", "malformed"), 1)
    wait_until(
        lambda: {reason: n for reason, n in counted().items() if n} == each, 20, "each is counted once"
    )


def test_ten_thousand_messages_at_once_cost_the_neighbours_nothing(town: Town, probe: Papers) -> None:
    """Every one of them is counted; no neighbour has to send anything again, and none loses its link."""
    neighbours = ("kiosk-01", "kiosk-02", "hall-01")
    before = {name: _row(town, name, "telemetry") for name in neighbours}
    refused = sum(_refusals(town, PROBE).values())
    done = subprocess.run(
        [
            *("mosquitto_pub", "-h", "localhost", "-p", str(town.addresses["broker"]), "-V", "mqttv5"),
            *("--cafile", str(town.folder / "cloud" / "pki" / "ca.pem")),
            *("--cert", str(probe.certificate), "--key", str(probe.key)),
            *("-q", "1", "-t", topics.build("telemetry", device=PROBE), "-l"),
        ],
        input=b"garbage\n" * FLOOD,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    wait_until(
        lambda: sum(_refusals(town, PROBE).values()) == refused + FLOOD, 60, "all of the flood is counted"
    )
    for name in neighbours:
        wait_until(
            lambda name=name: _row(town, name, "telemetry")["stored"] > before[name]["stored"],
            40,
            f"{name} goes on",
        )
        after = _row(town, name, "telemetry")
        assert after["repeated"] == before[name]["repeated"], "its acknowledgements came in time"
        assert (after["missing"], after["given_up"]) == (0, 0)
        assert _refusals(town, name) == {}
        assert town.count(name, "link_lost") == 0


def test_a_message_beyond_the_brokers_limit_ends_only_its_sender(town: Town, probe: Papers) -> None:
    def told() -> int:
        return (town.folder / "logs" / "broker.log").read_text().count("oversize")

    before, counted = told(), _refusals(town, PROBE).get("oversized", 0)
    payload = b"x" * 300_000
    # A client of MQTT 3.1.1 is not told the limit at its connection, and runs into it.
    _publish(town, probe, topics.build("telemetry", device=PROBE), payload, version="mqttv311")
    wait_until(lambda: told() > before, 20, "the broker refuses the message")
    wait_until(lambda: _refusals(town, PROBE)["oversized"] > counted, 20, "and that is counted")
    assert town.count("kiosk-01", "link_lost") == 0


def _document() -> str:
    return uuid7(NOW_MS, secrets.token_bytes(RANDOM_BYTES))


def test_a_kiosk_gets_only_papers_that_there_are(town: Town, probe: Papers) -> None:
    person = next(
        person
        for held in people.generate(SEED).lists.values()
        for person in people.generate(SEED).persons.values()
        if person.person == held.shares[0].person
    )
    request = {
        "document": _document(),
        "visit": "visit-1",
        "kind": Kind.POSSESSION_SHEET,
        "language": "sq",
        "identification": {
            "personal_number": person.personal_number,
            "document_number": person.document_number,
            "date_of_birth": person.date_of_birth.isoformat(),
        },
    }
    stranger = request["identification"] | {"document_number": "000000000"}  # type: ignore[operator] # a dict
    url = f"{town.addresses['device']}/api/v1/documents"
    with httpx.Client(verify=_trust(town, probe)) as kiosk:

        def refused(path: str, body: object, status: int, code: str) -> None:
            answer = kiosk.post(url + path, json=body)
            told = answer.json()
            assert (answer.status_code, told["code"]) == (status, code)
            assert told["detail"]

        refused("", request | {"kind": "passport"}, 422, Problem.UNKNOWN_KIND)
        refused("", request | {"identification": stranger}, 403, Problem.NOT_IDENTIFIED)
        refused("", {"document": 1}, 422, Problem.MALFORMED)
        request["document"] = _document()  # a request that was refused stays refused
        begun = kiosk.post(url, json=request)
        assert begun.status_code == 200, begun.text
        refused(f"/{request['document']}/subject", {"subject": "UL-0"}, 422, Problem.UNKNOWN_SUBJECT)
        refused(
            f"/{request['document']}/payment", {"authorisation": "auth-1"}, 402, Problem.PAYMENT_NOT_CONFIRMED
        )
        assert kiosk.post(url, content=b"x" * 2_000_000).status_code == 413
        assert kiosk.get(f"{url}/{request['document']}/pdf").status_code in (404, 409)
        assert kiosk.post(f"{url}/{request['document']}/cancel").status_code == 200


def test_a_broken_setting_is_named(town: Town, tmp_path: Path) -> None:
    text = (town.folder / "devices" / "kiosk-01" / "agent.toml").read_text()
    for old, new, named in (
        ("device =", "devise =", "devise"),
        ("period_s = 10.0", 'period_s = "often"', "period_s"),
        ("[broker]", "[broker", "TOML"),
    ):
        assert old in text
        (tmp_path / "agent.toml").write_text(text.replace(old, new))
        done = subprocess.run(
            [sys.executable, "-m", "edge_agent", "--settings", str(tmp_path / "agent.toml")],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 78
        assert named in done.stderr


def test_revoked_devices_are_shut_out_of_the_running_city_at_once(town: Town, probe: Papers) -> None:
    """The last of this module: a listener in a thief's hands and a real kiosk, by one command each."""
    command = [
        *("mosquitto_sub", "-h", "localhost", "-p", str(town.addresses["broker"]), "-V", "mqttv5"),
        *("--cafile", str(town.folder / "cloud" / "pki" / "ca.pem"), "-q", "1"),
        *("--cert", str(probe.certificate), "--key", str(probe.key), "-v"),
        *("-t", f"{topics.ROOT_DEFAULT}/{PROBE}/#"),
    ]
    broker = town.folder / "logs" / "broker.log"
    before = broker.read_text().count(f" as {PROBE} ")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as thief:
        wait_until(lambda: broker.read_text().count(f" as {PROBE} ") > before, 20, "the thief listens")
        links = town.count("kiosk-01", "link_connected")
        for device in (PROBE, "kiosk-02"):
            assert town.cloud("revoke", "--device", device)["revoked"] >= 1

        def shut_out() -> bool:
            dropped = {
                line["device"]
                for line in town.log("control-plane")
                if line.get("event") == "connection_dropped"
            }
            return {PROBE, "kiosk-02"} <= dropped

        wait_until(shut_out, 20, "both are certainly out")
        thief.terminate()
    refused = _publish(town, probe, topics.build("presence", device=PROBE), b"{}")
    assert refused.returncode != 0
    wait_until(
        lambda: any("CERTIFICATE_REVOKED" in line.get("sentence", "") for line in town.log("kiosk-02")),
        20,
        "the kiosk was told why",
    )
    assert town.cloud("device", "--device", "kiosk-02")["certificates"] == 0
    assert town.count("kiosk-01", "link_connected") == links, "its neighbour did not notice"
