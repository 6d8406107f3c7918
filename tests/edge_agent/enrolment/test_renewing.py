"""Renewal with real parts: mosquitto, TLS, child processes, the agent's own disk; settings compress the time.

Certificates of these tests live for 65 minutes, and are renewed four seconds after they were issued.
"""

import asyncio
import contextlib
import datetime as dt
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from contract.ids import uuid7
from contract.messages import Lane, open_envelope, read
from contract.telemetry import Sample, TelemetryBatch
from edge_agent import settings as agent_settings
from edge_agent.enrolment.child import ChildDesk
from edge_agent.enrolment.renewal import Limits
from edge_agent.enrolment.run import Renewing
from edge_agent.link.https import DeviceHttps
from edge_agent.link.identity import Wallet
from edge_agent.link.journal import SqliteJournal
from edge_agent.link.membership import membership
from edge_agent.link.mqtt import MqttTransport
from edge_agent.link.outbox import Bounds
from edge_agent.link.run import Link
from edge_agent.link.timekeeper import Timekeeper
from tests.edge_agent.authority import Authority
from tests.edge_agent.broker import Broker, mosquitto
from tests.edge_agent.control_plane import ControlPlane, control_plane
from tests.edge_agent.test_agent import DEVICE, Agent, Cloud

pytestmark = pytest.mark.system

DEADLINE_S = 60.0
SHARE = (5 * 60 + 4) / (65 * 60)
"""Four seconds after the issue of a certificate of `tests.edge_agent.authority`."""
ROTATIONS = 3
SENT_EVERY_S = 0.02


@dataclass
class Place:
    """A broker, a cloud and a control plane, and a device whose key lies there in plain, as before."""

    folder: Path
    authority: Authority
    broker: Broker
    cloud: Cloud
    plane: ControlPlane
    agents: list[Agent] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "agent.toml"

    @property
    def token(self) -> Path:
        return self.folder / "token"

    @property
    def wallet(self) -> Wallet:
        return membership(agent_settings.load(self.file, {}), wall_ms).wallet

    def start(self) -> Agent:
        agent = Agent(self.file)
        self.agents.append(agent)
        return agent

    def write_settings(self, share: float = SHARE) -> None:
        self.file.write_text(
            f'device = "{DEVICE}"\nkind = "kiosk"\nsite = "center"\ndata_dir = "{self.folder / "data"}"\n'
            f'token_file = "{self.token}"\n'
            f'[broker]\nhost = "localhost"\nport = {self.broker.port}\nack_timeout_s = 1.0\n'
            f'[cloud]\nbootstrap_url = "{self.plane.url}"\ndevice_url = "{self.plane.url}"\n'
            f'ca_file = "{self.folder / "ca.pem"}"\n[telemetry]\nperiod_s = 0.2\n'
            f"[certificate]\nrenew_at_share = {share}\nrenew_jitter_share = 0.0\nspread_s = 0.5\n"
            "trial_s = 10.0\nretry_s = 0.5\nretry_max_s = 1.0\nrefused_s = 0.5\ntoken_look_s = 0.2\n"
        )


@contextlib.contextmanager
def placed(folder: Path, authority: Authority, *, today_s: float | None = None) -> Iterator[Place]:
    """With `today_s` the cloud's end judges the broker's certificate by that moment (seconds since 1970)."""
    with (
        mosquitto(folder / "broker", authority) as broker,
        control_plane(folder / "plane", authority) as plane,
    ):
        (folder / "ca.pem").write_bytes(authority.pem)
        cloud = Cloud(folder / "cloud", broker, authority, lambda: today_s)
        found = Place(folder, authority, broker, cloud, plane)
        found.write_settings()
        authority.write_device(folder / "data" / "pki", DEVICE)
        try:
            yield found
        finally:
            for agent in found.agents:
                if agent.process.poll() is None:
                    agent.end(signal.SIGKILL)
            cloud.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with placed(tmp_path, Authority()) as found:
        yield found


def wall_ms() -> int:
    return int(time.time() * 1000)


async def test_certificates_change_under_load_and_not_one_message_is_lost(place: Place) -> None:
    settings = agent_settings.load(place.file, {})
    member = membership(settings, wall_ms)
    first_key = member.wallet.current.key.read_bytes()
    assert b"ENCRYPTED" not in first_key
    times = Timekeeper(member.clock, member.floor, wall_ms, time.monotonic)
    journal = SqliteJournal(settings.data_dir / "link.db")
    boot = uuid7(wall_ms(), b"0123456789")
    journal.begin(boot, wall_ms())
    transport = MqttTransport(
        host="localhost",
        port=place.broker.port,
        client_id=DEVICE,
        keepalive_s=30,
        context=member.wallet.context,
    )
    link = Link(
        device=DEVICE,
        kind="kiosk",
        agent="test",
        root=settings.broker.root,
        boot=boot,
        bounds=Bounds(50_000, 64_000_000, 50, 1.0),
        journal=journal,
        transport=transport,
        chance=random.Random(1),
        floor_ms=times.floor_ms,
        clock_ms=times.best_ms,
    )
    chosen = settings.certificate
    renewing = Renewing(
        wallet=member.wallet,
        link=link,
        api=DeviceHttps(place.plane.url, member.wallet, 5, times.told),
        desk=ChildDesk(place.file),
        token_file=place.token,
        limits=Limits(SHARE, 0.0, 0.5, chosen.trial_s, 0.5, 1.0, 0.5, 0.2),
        chance=random.Random(1),
        utc_s=times.utc_s,
        told_time=times.told,
        renewed=times.renewed,
        update_on_trial=lambda: False,
    )
    tasks = [asyncio.create_task(link.run()), asyncio.create_task(renewing.run())]
    keys, number = set(), 0
    async with asyncio.timeout(DEADLINE_S):
        while len(set(place.plane.proven)) < 1 + ROTATIONS or renewing.facts["state"] != "resting":
            number += 1
            batch = TelemetryBatch(samples=[Sample(at=wall_ms(), values={"uptime_s": number})])
            await link.send("telemetry", {}, batch, lane=Lane.TELEMETRY, must=True)
            keys.add(member.wallet.current.key.read_bytes())
            await asyncio.sleep(SENT_EVERY_S)
        while link.counts.waiting:
            await asyncio.sleep(SENT_EVERY_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    journal.close()
    stored = stored_telemetry(place.cloud)
    assert sorted(value for _, value in stored) == list(range(1, number + 1)), "lost, or stored twice"
    assert number > 200
    assert renewing.readings["certificate_failures"] == 0
    assert len(keys - {first_key}) >= ROTATIONS
    assert not member.wallet.current.plain
    assert member.wallet.next is None
    assert not member.wallet.spare.key.exists()


def stored_telemetry(cloud: Cloud) -> set[tuple[tuple[str, int], int]]:
    """What a ledger keeps: one for each boot and sequence."""
    found = set()
    while not cloud.messages.empty():
        name, _, payload = cloud.messages.get_nowait()
        if name == "telemetry":
            envelope = open_envelope(payload)
            values = read(envelope.body, TelemetryBatch).samples[0].values
            found.add(((envelope.boot, envelope.seq), int(values["uptime_s"])))
    return found


def test_a_certificate_that_the_broker_does_not_take_is_put_back(place: Place) -> None:
    place.plane.issuer = Authority("Unknown to the broker")
    agent = place.start()
    agent.wait_for("link_connected")
    agent.wait_for("certificate_trial_began")
    agent.wait_for("certificate_trial_ended")
    agent.wait_for("link_connected")
    place.cloud.telemetry()
    first = place.wallet.current.certificate.name
    assert first == "device.pem"
    place.plane.issuer = place.authority
    assert agent.wait_for("certificate_committed")["ends"]
    assert agent.end() == 0
    assert place.wallet.current.certificate.name == "second.pem"


@pytest.mark.parametrize(
    "event",
    [
        pytest.param("certificate_asked_for", marks=pytest.mark.long),
        "certificate_staged",
        "certificate_trial_began",
        pytest.param("certificate_committed", marks=pytest.mark.long),
    ],
)
def test_an_agent_that_is_killed_while_it_renews_goes_on_at_its_next_start(place: Place, event: str) -> None:
    agent = place.start()
    agent.wait_for(event)
    agent.end(signal.SIGKILL)
    again = place.start()
    again.wait_for("link_connected")
    again.wait_for("certificate_committed")
    assert again.end() == 0
    wallet = place.wallet
    assert wallet.pointer().proven
    assert not wallet.current.plain
    wallet.context()


def test_a_power_cut_between_the_proof_and_the_commitment_costs_nothing(place: Place) -> None:
    agent = place.start()
    agent.wait_for("certificate_trial_began")
    place.plane.on_proven = agent.process.kill
    agent.ended()
    assert place.wallet.current.certificate.name == "device.pem"
    assert place.wallet.next is not None
    place.plane.on_proven = lambda: None
    proven = place.plane.proven[-1]
    again = place.start()
    again.wait_for("certificate_committed")
    assert place.plane.proven[-1] == proven, "the same certificate is proven again"
    assert again.end() == 0


def test_a_revoked_device_takes_a_new_token_without_being_started_again(place: Place) -> None:
    place.plane.revoked.add(DEVICE)
    place.plane.tokens[DEVICE] = "secret"
    agent = place.start()
    failed = agent.wait_for("certificate_not_renewed")
    assert failed["reason"] == "refused"
    assert "enrol-token" in failed["sentence"]
    place.token.write_text("secret")
    agent.wait_for("device_enrolled")
    agent.wait_for("certificate_committed")
    assert not place.token.exists()
    assert agent.end() == 0


@pytest.mark.parametrize(("mode", "code"), [(0o600, 0), (0o640, 78), (0o604, 78)])
def test_an_agent_does_not_start_with_a_key_that_others_can_read(place: Place, mode: int, code: int) -> None:
    key = place.folder / "data" / "pki" / "device.key"
    key.chmod(mode)
    agent = place.start()
    if code == 0:
        agent.wait_for("link_connected")
        assert agent.end() == 0
        return
    assert agent.ended() == code
    assert "is open to others" in agent.other[0]
    assert f"chmod 600 {key}" in agent.other[0]


THEN = dt.datetime(2090, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
LONG = dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2095, 1, 1, tzinfo=dt.UTC)


def test_a_device_that_wakes_before_its_floor_connects_and_dates_nothing_wrongly(tmp_path: Path) -> None:
    """To it today is what 1970 is to a device of today: the servers' certificates begin much later."""
    authority = Authority(servers=(THEN - DAY, THEN + DAY), devices=LONG)
    with placed(tmp_path, authority, today_s=THEN.timestamp()) as place:
        place.write_settings(share=0.99)
        place.plane.date = "Sun, 01 Jan 2090 10:00:00 GMT"
        agent = place.start()
        assert "VERIFY_FAILED" in agent.wait_for("link_not_established")["sentence"]
        assert agent.end() == 0
        (tmp_path / "data" / "time-floor").write_text(str(int(THEN.timestamp() * 1000)))
        agent = place.start()
        agent.wait_for("clock_not_set")
        agent.wait_for("link_connected")
        boot = place.cloud.presence(True).boot
        envelope = place.cloud.telemetry()
        while envelope.boot != boot:
            envelope = place.cloud.telemetry()
        assert 10 * 3600 - 60 < envelope.at / 1000 - THEN.timestamp() < 10 * 3600 + 60
        assert agent.end() == 0


def test_a_peer_that_had_ended_at_the_floor_is_refused_by_a_device_without_a_clock(tmp_path: Path) -> None:
    authority = Authority(servers=(THEN - 9 * DAY, THEN - DAY), devices=LONG)
    with placed(tmp_path, authority, today_s=(THEN - 2 * DAY).timestamp()) as place:
        place.write_settings(share=0.99)
        (tmp_path / "data" / "time-floor").write_text(str(int(THEN.timestamp() * 1000)))
        agent = place.start()
        refused = agent.wait_for("link_not_established")
        assert (refused["reason"], "has expired" in refused["sentence"]) == ("refused", True), refused
        assert agent.end() == 0
