"""The issuing authority is replaced under a running city, and a device of the one before goes on."""

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloud.enrolment import issuers, views
from tests.cloud.fleet_link import wait_for
from tests.cloud.mosquitto import PROGRAM as MOSQUITTO
from tests.conformance.things import AGENT, DEADLINE_S, ROOT, Process, Things, _cloud, start

DEVICE = "kiosk-01"
HASTE = "[certificate]\nspread_s = 0.2\nretry_s = 0.2\n"


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Things]:
    """The control plane and a broker."""
    made = start(tmp_path)
    yield made
    made.stop()


def begin_again(town: Things) -> None:
    """What the commands say is to be done afterwards: broker, then control plane."""
    settings = town.folder / "cloud.toml"
    town.plane.end()
    town.broker.send_signal(signal.SIGTERM)
    town.broker.wait(DEADLINE_S)
    out = str(town.folder / "broker")
    told = _cloud(settings, "broker-config", "--out", out, "--port", str(town.ports["broker"]))
    assert MOSQUITTO is not None
    town.broker = subprocess.Popen(
        [MOSQUITTO, "-c", told["configuration"]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    town.plane = Process("cloud", "serve", "--settings", str(settings))
    town.plane.wait_for("link_connected")
    town.plane.wait_for("control_plane_started")


def devices(town: Things) -> Counter[str]:
    """How many devices use a certificate of each authority, by its standing."""
    known = issuers.read(town.folder / "data" / "pki")
    with town.database() as session:
        found = views.authorities(session, known, datetime.now(UTC))
    return Counter({each.standing: each.devices or 0 for each in found})


def agent(town: Things) -> Process:
    folder = town.folder / DEVICE
    folder.mkdir()
    (folder / "token").touch(0o600)
    (folder / "token").write_text(town.token(DEVICE))
    ports = {"broker": town.ports["broker"], "bootstrap": town.ports["bootstrap"]}
    text = AGENT.format(
        device=DEVICE, folder=folder, ca=town.ca, root=ROOT, device_port=town.ports["device"], **ports
    )
    (folder / "agent.toml").write_text(text + HASTE)
    return town.agent(DEVICE)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_device_outlives_the_authority_that_certified_it(town: Things) -> None:
    device = agent(town)
    device.wait_for("link_connected")
    made = _cloud(town.folder / "cloud.toml", "new-issuer")
    assert (made["issuer"], made["distrusted"]) == ("Civic Fleet Authority 2", [])
    begin_again(town)
    device.wait_for("link_connected", 2)
    assert devices(town) == Counter(former=1)
    assert not any(each["event"] == "certificate_asked_for" for each in device.events), "nothing hurries it"

    ended = _cloud(town.folder / "cloud.toml", "distrust-issuers")
    assert ended["distrusted"] == ["Civic Fleet Authority"]
    assert devices(town) == Counter(distrusted=1)
    begin_again(town)
    device.wait_for("certificate_committed")
    wait_for(lambda: devices(town) == Counter(present=1), "it has one of the present authority", DEADLINE_S)
    job = town.job(DEVICE, "collect-diagnostics")
    wait_for(lambda: town.status(job, DEVICE) == "SUCCEEDED", "it works as before", DEADLINE_S)
