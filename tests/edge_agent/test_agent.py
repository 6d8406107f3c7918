"""The whole agent as a process: it enrols, connects, measures, does jobs and ends, on a real broker."""

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as paho
import psutil
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from contract import topics
from contract.jobs import Execution, ExecutionAnswer, NotifyNext, Request, State, Status, Update, UpdateAnswer
from contract.messages import Ack, Envelope, Lane, Presence, encode, open_envelope, read
from contract.telemetry import TelemetryBatch, check
from edge_agent.link.identity import JudgeS, by_the_machines_clock, identity
from tests.edge_agent.authority import Authority
from tests.edge_agent.broker import Broker, free_port, mosquitto
from tests.edge_agent.control_plane import ControlPlane, control_plane

pytestmark = pytest.mark.system

DEVICE = "kiosk-001"
DEADLINE_S = 60.0
AT = 1_763_900_000


class Agent:
    """One run of the agent's process; `events` are its log lines as they come.

    `words` stand before the settings.
    """

    def __init__(self, settings: Path, words: Sequence[str] = (sys.executable, "-m", "edge_agent")) -> None:
        self.process = subprocess.Popen(
            [*words, "--settings", str(settings)], stderr=subprocess.PIPE, text=True
        )
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.other: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, event: str) -> dict[str, Any]:
        while True:
            found = self.events.get(timeout=DEADLINE_S)
            assert found["level"] != "critical", found
            if found["event"] == event:
                return found

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.ended()

    def ended(self) -> int:
        code = self.process.wait(DEADLINE_S)
        self._reader.join(DEADLINE_S)
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                if line.startswith("{"):
                    self.events.put(json.loads(line))
                else:
                    self.other.append(line)


class Cloud:
    """The cloud's end of the broker. It keeps what comes, and acknowledges it while `acknowledging`."""

    def __init__(
        self, folder: Path, broker: Broker, authority: Authority, judge_s: JudgeS = by_the_machines_clock
    ) -> None:
        authority.write_device(folder / "pki", "tests")
        (folder / "ca.pem").write_bytes(authority.pem)
        self.acknowledging = True
        self.pending: Execution | None = None
        self.messages: queue.Queue[tuple[str, dict[str, str], bytes]] = queue.Queue()
        self._marks: dict[tuple[str, Lane], int] = {}
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="tests", protocol=paho.MQTTv5)
        who = replace(identity(folder, folder / "ca.pem"), judge_s=judge_s)
        self._client.tls_set_context(who.context())
        self._client.on_message = self._on_message
        subscribed = threading.Event()
        self._client.on_connect = lambda *_: self._client.subscribe(f"{topics.ROOT_DEFAULT}/#", 1)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.connect("localhost", broker.port)
        self._client.loop_start()
        assert subscribed.wait(DEADLINE_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def next(self, name: str, condition: Callable[[bytes], bool] = lambda _: True) -> bytes:
        while True:
            topic, _, payload = self.messages.get(timeout=DEADLINE_S)
            if topic == name and condition(payload):
                return payload

    def telemetry(self) -> Envelope:
        return open_envelope(self.next("telemetry"))

    def presence(self, online: bool) -> Presence:
        return read(self.next("presence", lambda p: read(p, Presence).online is online), Presence)

    def offer(self, job: str, operation: str) -> None:
        """One job for the device, told by notify-next."""
        self.pending = Execution(
            job_id=job,
            thing_name=DEVICE,
            status=Status.IN_PROGRESS,
            version_number=2,
            queued_at=AT,
            last_updated_at=AT,
            job_document={"operation": operation},
        )
        self._publish("job-notify-next", {}, NotifyNext(timestamp=AT))

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        name, ids = topics.parse(message.topic)
        payload = bytes(message.payload)
        self.messages.put((name, ids, payload))
        if name == "telemetry" and self.acknowledging:
            self._acknowledge(open_envelope(payload))
        elif name == "job-start-next":
            request = read(payload, Request)
            answer = ExecutionAnswer(execution=self.pending, timestamp=AT, client_token=request.client_token)
            self._publish("job-start-next-accepted", {}, answer)
        elif name == "job-update":
            update = read(payload, Update)
            self.pending = None
            state = State(status=update.status, version_number=(update.expected_version or 0) + 1)
            taken = UpdateAnswer(timestamp=AT, client_token=update.client_token, execution_state=state)
            self._publish("job-update-accepted", {"job": ids["job"]}, taken)

    def _acknowledge(self, envelope: Envelope) -> None:
        stream = (envelope.boot, envelope.lane)
        mark = max(self._marks.get(stream, 0), envelope.kept_from - 1)
        if envelope.seq == mark + 1:
            mark = envelope.seq
        self._marks[stream] = mark
        self._publish("ack", {}, Ack(boot=envelope.boot, lane=envelope.lane, seq=mark))

    def _publish(self, name: str, ids: dict[str, str], body: msgspec.Struct) -> None:
        self._client.publish(topics.build(name, device=DEVICE, **ids), encode(body), 1)


@dataclass
class Place:
    """A broker, a cloud, a control plane, and the settings of a device that has a token for it."""

    settings: Path
    broker: Broker
    cloud: Cloud
    plane: ControlPlane
    agents: list[Agent]

    def start(self) -> Agent:
        agent = Agent(self.settings)
        self.agents.append(agent)
        return agent


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    authority = Authority()
    with (
        mosquitto(tmp_path / "broker", authority) as broker,
        control_plane(tmp_path / "plane", authority) as plane,
    ):
        plane.tokens[DEVICE] = "secret"
        (tmp_path / "token").write_text("secret")
        settings = tmp_path / "agent.toml"
        settings.write_text(
            f'device = "{DEVICE}"\nkind = "kiosk"\nsite = "center"\ndata_dir = "{tmp_path / "data"}"\n'
            f'token_file = "{tmp_path / "token"}"\n'
            f'[broker]\nhost = "localhost"\nport = {broker.port}\nack_timeout_s = 1.0\n'
            f'[cloud]\nbootstrap_url = "{plane.url}"\ndevice_url = "{plane.url}"\n'
            f'ca_file = "{tmp_path / "plane" / "ca.pem"}"\n[telemetry]\nperiod_s = 0.2\n'
        )
        cloud = Cloud(tmp_path / "cloud", broker, authority)
        found = Place(settings, broker, cloud, plane, [])
        try:
            yield found
        finally:
            for agent in found.agents:
                if agent.process.poll() is None:
                    agent.end(signal.SIGKILL)
            cloud.close()


def test_a_day_in_the_life_of_an_agent(place: Place) -> None:
    agent = place.start()
    agent.wait_for("device_enrolled")
    agent.wait_for("link_connected")
    online = place.cloud.presence(True)
    assert (online.kind, online.agent) == ("kiosk", "0.1.0")
    first, second = place.cloud.telemetry(), place.cloud.telemetry()
    assert (first.boot, first.seq, second.seq) == (online.boot, 1, 2)
    batch = read(first.body, TelemetryBatch)
    check(batch)
    assert {"cpu_pct", "memory_pct", "disk_pct", "uptime_s", "outbox_waiting"} <= set(batch.samples[0].values)
    place.cloud.offer("diagnose-1", "collect-diagnostics")
    update = read(place.cloud.next("job-update"), Update)
    assert (update.status, update.status_details["bundle"]) == (Status.SUCCEEDED, "bundle-1")
    device, bundle = place.plane.bundles[0]
    assert (device, bundle["boot"], bundle["job"]) == (DEVICE, online.boot, "diagnose-1")
    assert "token_file" not in bundle["settings"]
    assert agent.end() == 0
    assert place.cloud.presence(False).boot == online.boot
    assert agent.other == []


def test_it_restarts_when_it_is_told_to_and_reports_it(place: Place) -> None:
    agent = place.start()
    agent.wait_for("link_connected")
    before = place.cloud.presence(True)
    place.cloud.offer("restart-1", "restart-agent")
    assert agent.ended() == 75
    place.cloud.presence(False)
    place.start().wait_for("link_connected")
    after = place.cloud.presence(True)
    assert after.boot > before.boot
    assert read(place.cloud.next("job-update"), Update).status is Status.SUCCEEDED


def test_a_killed_agent_loses_nothing(place: Place) -> None:
    place.cloud.acknowledging = False
    agent = place.start()
    agent.wait_for("link_connected")
    boot = place.cloud.telemetry().boot
    place.cloud.telemetry()
    assert agent.end(signal.SIGKILL) == -signal.SIGKILL
    will = place.cloud.presence(False)
    assert will.boot == boot
    place.cloud.acknowledging = True
    place.start().wait_for("link_connected")
    again = [place.cloud.telemetry() for _ in range(2)]
    assert [(e.boot, e.seq) for e in again] == [(boot, 1), (boot, 2)]
    while place.cloud.telemetry().boot == boot:
        pass


def test_it_finds_back_to_a_broker_that_was_killed(place: Place) -> None:
    agent = place.start()
    agent.wait_for("link_connected")
    place.broker.stop(signal.SIGKILL)
    assert agent.wait_for("link_lost")["reason"] == "unavailable"
    place.broker.start()
    agent.wait_for("link_connected")
    place.cloud.presence(True)
    place.cloud.telemetry()
    assert agent.end() == 0


def test_a_job_that_it_does_not_know_is_rejected(place: Place) -> None:
    place.start().wait_for("link_connected")
    place.cloud.offer("fly-1", "fly")
    update = read(place.cloud.next("job-update"), Update)
    assert update.status is Status.REJECTED
    assert "does not know the operation 'fly'" in update.status_details["reason"]


def test_two_agents_do_not_share_a_folder(place: Place) -> None:
    place.start().wait_for("link_connected")
    twin = place.start()
    assert twin.ended() == 78
    assert len(twin.other) == 1
    assert "another agent runs" in twin.other[0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "kiosk"', 'kind = "toaster"', "toaster"),
        ("port = ", "porthole = ", "porthole"),
        ("[telemetry]", "[telemetrie]", "telemetrie"),
        ("ca.pem", "none.pem", "copy the fleet's ca.pem"),
    ],
)
def test_a_broken_setting_is_one_sentence(place: Place, old: str, new: str, said: str) -> None:
    place.settings.write_text(place.settings.read_text().replace(old, new))
    agent = place.start()
    assert agent.ended() == 78
    assert len(agent.other) == 1
    assert said in agent.other[0]


@pytest.mark.parametrize("kind", ["kiosk", "recorder"])
def test_a_device_whose_hardware_is_away_lives_and_ends_with_all_its_children(
    place: Place, tmp_path: Path, kind: str
) -> None:
    away = f"127.0.0.1:{free_port()}"
    hardware = {
        "kiosk": f'[kiosk]\npage_port = {free_port()}\nprinter_uri = "ipp://{away}/ipp/print"\n'
        f'document_reader_port = "{tmp_path / "reader"}"\nreceipt_printer_port = "{tmp_path / "slips"}"\n'
        f'terminal_url = "http://{away}"\n',
        "recorder": '[recorder]\nmicrophone_command = ["sleep", "600"]\n'
        f'model_dir = "{tmp_path}"\nvad_model = "{tmp_path / "none.onnx"}"\n',
    }
    text = place.settings.read_text().replace('kind = "kiosk"', f'kind = "{kind}"')
    place.settings.write_text(text + hardware[kind])
    agent = place.start()
    agent.wait_for("link_connected")
    assert place.cloud.presence(True).kind == kind
    batch = read(place.cloud.telemetry().body, TelemetryBatch)
    assert "cpu_pct" in batch.samples[0].values
    children = psutil.Process(agent.process.pid).children(recursive=True)
    assert agent.end() == 0
    assert agent.other == []
    assert not [child for child in children if child.is_running()]


def test_it_can_be_ended_while_it_waits_for_enrolment(place: Place) -> None:
    place.plane.tokens.clear()
    agent = place.start()
    failed = agent.wait_for("enrolment_failed")
    assert failed["reason"] == "refused"
    assert "enrol-token" in failed["sentence"]
    assert agent.end() == 0
