"""The roles on booted machines: a server, a kiosk and a recorder, set up by SSH as a technician does it.

The machines have no way out of their network: whatever is installed came from the machine that runs Ansible
or lay in the package archive.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.ansible import broken, lab
from tests.ansible.fleet import DOMAIN, KIOSK, RECORDER, SERVER, STRANGER, Fleet, Play, collect

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(1500),  # the first test waits for the root, the wheels and the first run
]
EXPOSURE_MAX = 20
"""systemd's own scale from 0 to 100; without hardening a service has 96."""
UNITS = {
    SERVER: ["fleet-timeseries", "fleet-broker", "fleet-control", "fleet-ingest"],
    KIOSK: ["fleet-agent"],
    RECORDER: ["fleet-agent"],
}
DEADLINE_S = 60


def eventually(what: str, holds: Callable[[], bool]) -> None:
    """Ask again until it holds."""
    until = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.2)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    why = lab.unable()
    if why and not os.environ.get("CI"):
        pytest.skip(why)
    assert why is None, f"{why}; nothing is skipped in CI: run it as root where namespaces may be made"
    folder = tmp_path_factory.mktemp("fleet")
    with ThreadPoolExecutor() as pool:  # both wait for a network, the one of wheels, the other of Debian
        wheels = pool.submit(collect)
        lab.root()
        wheels.result()
    with lab.Lab(folder) as machines:
        made = Fleet(machines, folder)
        made.boot()
        yield made


@pytest.fixture(scope="module")
def first(fleet: Fleet) -> Play:
    """The first run, which says what every task did."""
    play = fleet.play("-v", "site.yml")
    assert play.status == 0, play.output
    return play


def running(fleet: Fleet, name: str) -> dict[str, str]:
    """Process of each unit: another one after a restart."""
    machine = fleet.machine(name)
    return {
        unit: machine.tell("systemctl", "show", "--value", "--property=MainPID", f"{unit}.service")
        for unit in UNITS[name]
    }


@pytest.mark.usefixtures("first")
def test_every_unit_runs_and_is_hardened(fleet: Fleet) -> None:
    for name, units in UNITS.items():
        machine = fleet.machine(name)
        for unit in units:
            assert machine.tell("systemctl", "is-active", unit) == "active"
            assert machine.tell("systemctl", "is-enabled", unit) == "enabled"
            machine.tell("systemd-analyze", "security", f"--threshold={EXPOSURE_MAX}", "--no-pager", unit)
        assert machine.tell("systemctl", "--failed", "--no-legend") == ""
    server = fleet.machine(SERVER)
    server.tell(
        "systemd-analyze", "security", f"--threshold={EXPOSURE_MAX}", "--no-pager", "fleet-broker-revoked"
    )
    for own in ("mosquitto", "victoria-metrics"):
        assert server.run("systemctl", "is-enabled", own).stdout.strip() == "masked"


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize("device", [KIOSK, RECORDER])
def test_the_device_is_online_by_its_own_certificate(fleet: Fleet, device: str) -> None:
    told = fleet.device(device)
    assert (told["presence"], told["certificates"], told["agent"]) == ("online", 1, "0.1.0")
    said = fleet.machine(SERVER).tell("journalctl", "--unit=fleet-broker", "--output=cat", "--no-pager")
    address = fleet.machine(device).address
    assert re.search(rf"connected from {re.escape(address)}:\d+ as {device} \(p5, .* u'{device}'\)", said)


@pytest.mark.usefixtures("first")
def test_nobody_reaches_the_broker_without_a_certificate(fleet: Fleet) -> None:
    stranger = fleet.machine(STRANGER)
    listening = fleet.machine(SERVER).tell("ss", "--listening", "--tcp", "--numeric", "--no-header")
    ports = {line.split()[3].rpartition(":")[2] for line in listening.splitlines() if "127.0.0" not in line}
    assert ports == {"22", "8883", "8444", "8445"}
    hello = (
        "import socket, ssl; c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = 0;"
        f"s = c.wrap_socket(socket.create_connection(('fleet.{DOMAIN}', 8883)));"
        "s.sendall(bytes.fromhex('101000044d515454050200000300000161')); print(s.recv(9))"
    )
    assert stranger.run("python3", "-c", hello).returncode != 0
    said = fleet.machine(SERVER).tell("journalctl", "--unit=fleet-broker", "--output=cat", "--no-pager")
    assert "peer did not return a certificate" in said


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize("device", [KIOSK, RECORDER])
def test_telemetry_is_stored(fleet: Fleet, device: str) -> None:
    query = f'http://127.0.0.1:8428/api/v1/series?match[]=health_cpu_pct{{device="{device}"}}'
    program = f"import urllib.request; print(urllib.request.urlopen('{query}').read().decode())"

    def stored() -> bool:
        series = json.loads(fleet.machine(SERVER).tell("python3", "-c", program))["data"]
        return bool(series) and series[0]["device"] == device

    eventually(f"no telemetry of {device} is in the time series", stored)


def test_what_is_secret_lies_in_files_of_its_owner_only(fleet: Fleet, first: Play) -> None:
    server = fleet.machine(SERVER)
    file = "/var/lib/fleet-cloud/admin-password"
    assert server.tell("stat", "--format=%a %U", file) == "600 fleet-cloud"
    password = server.tell("cat", file)
    assert f"lies in {file} on {SERVER}.{DOMAIN}" in first.sentence
    listed = "import sqlite3; print(*sqlite3.connect('/var/lib/fleet-cloud/fleet.db').execute(" + (
        "'SELECT token_sha256 FROM enrolment_tokens').fetchall())"
    )
    tokens = set(re.findall(r"[0-9a-f]{64}", server.tell("python3", "-c", listed)))
    assert len(tokens) == 2
    told = first.output
    for name in UNITS:
        told += fleet.machine(name).tell("journalctl", "--no-pager", "--output=verbose")
        assert fleet.machine(name).run("test", "-e", "/var/lib/fleet-agent/token").returncode == 1
    assert password not in told
    shown = {hashlib.sha256(word.encode()).hexdigest() for word in re.findall(r"\b[0-9a-f]{32}\b", told)}
    assert not shown & tokens
    assert fleet.machine(KIOSK).tell("find", "/etc/fleet-agent", "-perm", "/077") == ""


@pytest.mark.usefixtures("first")
def test_a_second_run_changes_nothing(fleet: Fleet) -> None:
    before = {name: running(fleet, name) for name in UNITS}
    second = fleet.play("site.yml")
    assert second.status == 0, second.output
    assert second.changed() == {SERVER: 0, KIOSK: 0, RECORDER: 0}, second.output
    assert {name: running(fleet, name) for name in UNITS} == before


@pytest.mark.usefixtures("first")
def test_a_wrong_setting_stops_before_anything_is_touched(fleet: Fleet) -> None:
    before = {name: running(fleet, name) for name in (SERVER, KIOSK)}
    play = fleet.play("device.yml", "-e", '{"agent_outbox": {"rows_max": 0}}', hosts=(KIOSK,))
    assert play.status != 0
    assert "Expected `int` >= 1 - at `$.outbox.rows_max`" in play.sentence
    services = {"registry_url": "https://registry.example", "payments_url": "https://payments.example"}
    wrong = {"cloud_settings": {"public_url": "fleet", "documents": services}}
    play = fleet.play("site.yml", "-e", json.dumps(wrong), hosts=(SERVER,))
    assert play.status != 0
    assert "public_url is 'fleet'; give http:// or https://host" in play.sentence.replace("\\'", "'")
    assert {name: running(fleet, name) for name in (SERVER, KIOSK)} == before


@pytest.mark.usefixtures("first")
def test_a_second_device_with_the_same_name_is_refused(fleet: Fleet) -> None:
    play = fleet.play("device.yml", "-e", f"agent_device={KIOSK}", hosts=(STRANGER,))
    assert play.status != 0
    assert f"{KIOSK} has enrolled already, and it was not this machine ({STRANGER}.{DOMAIN})" in play.sentence
    assert fleet.machine(STRANGER).run("id", "fleet-agent").returncode != 0
    assert fleet.device(KIOSK)["presence"] == "online"


@pytest.mark.usefixtures("first")
def test_an_agent_that_does_not_start_is_taken_back(fleet: Fleet, tmp_path: Path) -> None:
    kiosk = fleet.machine(KIOSK)
    before, slot = fleet.device(KIOSK), kiosk.tell("readlink", "/opt/fleet-agent/current")
    wheels = broken.release(tmp_path / "agent", "fleet-edge-agent", "edge_agent", broken.AGENT)
    given = ("-e", f"agent_wheels={wheels}", "-e", "agent_online_tries=2")
    play = fleet.play("device.yml", *given, hosts=(KIOSK,))
    assert play.status != 0
    assert f"{KIOSK} is back on {Path(slot).name}, which runs: 9.9.9-" in play.sentence
    assert "this release of the agent does not start" in play.sentence
    assert kiosk.tell("readlink", "/opt/fleet-agent/current") == slot
    assert kiosk.tell("systemctl", "is-active", "fleet-agent") == "active"
    eventually(
        "the kiosk is not online again",
        lambda: (told := fleet.device(KIOSK))["presence"] == "online" and told["boot"] != before["boot"],
    )


@pytest.mark.usefixtures("first")
def test_a_cloud_that_does_not_start_is_taken_back_with_its_tables(fleet: Fleet, tmp_path: Path) -> None:
    server = fleet.machine(SERVER)
    slot = server.tell("readlink", "/opt/fleet-cloud/current")
    wheels = broken.release(tmp_path / "cloud", "fleet-cloud", "cloud", broken.CLOUD)
    given = ("-e", f"cloud_wheels={wheels}", "-e", "cloud_healthy_tries=2")
    play = fleet.play("site.yml", *given, hosts=(SERVER,))
    assert play.status != 0
    assert f"{SERVER}.{DOMAIN} is back on {Path(slot).name}, which is well: 9.9.9-" in play.sentence
    assert "this release of the cloud does not start" in play.sentence
    assert server.tell("readlink", "/opt/fleet-cloud/current") == slot
    for unit in UNITS[SERVER]:
        assert server.tell("systemctl", "is-active", unit) == "active"
    assert fleet.device(KIOSK)["certificates"] == 1


@pytest.mark.usefixtures("first")
def test_a_revoked_device_is_kept_out_of_the_broker_without_a_run(fleet: Fleet) -> None:
    server, kiosk = fleet.machine(SERVER), fleet.machine(KIOSK)
    revoke = "runuser -u fleet-cloud -- /opt/fleet-cloud/current/bin/python -m cloud revoke"
    settings = ["--settings", "/etc/fleet-cloud/settings.toml", "--device", KIOSK]
    server.tell(*revoke.split(), *settings)
    known = ["cmp", "--quiet", "/var/lib/fleet-cloud/pki/crl.pem", "/var/lib/fleet-broker/crl.pem"]
    eventually(
        "the broker has no new list of revoked certificates", lambda: not server.run(*known).returncode
    )
    kiosk.tell("systemctl", "restart", "fleet-agent")
    eventually("the revoked kiosk is still there", lambda: fleet.device(KIOSK)["presence"] == "offline")
    said = "certificate verify failed"
    eventually(
        "the broker does not say why it refuses",
        lambda: said in server.tell("journalctl", "--unit=fleet-broker", "--output=cat", "--no-pager"),
    )
