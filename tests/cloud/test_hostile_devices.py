"""Devices that send what nobody should, to a running control plane and ingest: the neighbour is heard."""

import contextlib
import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cloud.broker import ENVELOPED
from cloud.database.models.captions import Sitting
from cloud.database.models.link import RefusalCount
from cloud.operators.roles import Role
from cloud.refusals import Reason
from contract import topics
from contract.documents import Evidence, PrintOutcome
from contract.ids import RANDOM_BYTES, uuid7
from contract.messages import MESSAGE_BYTES_MAX, Lane
from contract.recordings import recording_id
from contract.telemetry import Sample, TelemetryBatch
from tests.cloud.exposed import Exposed
from tests.cloud.fleet_link import AT, FleetDevice, wait_for
from tests.cloud.raw_mqtt import NOT_AUTHORIZED, RawDevice
from tests.contract.test_fuzz import EXAMPLES, LITERALS, paths, with_mark

MESSAGES, MESSAGES_LONG = 1500, 30_000
EVERY = 10
"""The neighbour says something after so many hostile messages."""
NUMBERS = (
    "-1",
    "0",
    "2147483648",
    "-2147483649",
    "9223372036854775808",
    "18446744073709551616",
    "1e308",
    "0.5",
)
TEXTS = (
    '"\\ud83d\\ude00"',
    '"' + "x" * 300 + '"',
    '"\\u202e\\u0007"',
    '"../../x"',
    '"\'; DROP TABLE devices"',
)
GOLDEN = {
    "evidence": "evidence", "caption-final": "caption-final", "caption-partial": "caption-partial",
    "updates": "update-news", "recordings": "recordings", "floor": "floor", "telemetry": "telemetry",
    "presence": "presence", "job-update": "job-update",
}  # fmt: skip
"""Topics, and the golden file of what travels there; what has none gets an empty object."""


HALL, KIOSK, NEIGHBOUR = "hall-hostile", "kiosk-hostile", "kiosk-neighbour"
INTRUDER, ITS_NEIGHBOUR = "kiosk-intruder", "kiosk-beside"
"""Nobody else speaks for these: what the broker counts is told a moment later."""
DEVICES = {HALL: "recorder"} | dict.fromkeys((KIOSK, NEIGHBOUR, INTRUDER, ITS_NEIGHBOUR), "kiosk")
"""Of these tests alone: others may take the devices that all share out of service."""


@dataclass(frozen=True)
class Town:
    """What messages can name, so that they come as far as the tables: a sitting that is open, and a job."""

    session: str
    job: str


@pytest.fixture(scope="module")
def town(plane: Exposed) -> Town:
    plane.callers |= {device: plane.member(kind, device) for device, kind in DEVICES.items()}
    with plane.staff(Role.ADMINISTRATOR).browser() as staff:
        made = staff.post("/sittings", data={"device": HALL, "title": "Budget", "lang": "en"})
        assert made.status_code == 303, made.text
        with plane.sessions() as database:
            session = database.scalars(sa.select(Sitting.session).where(Sitting.device == HALL)).one()
        assert staff.post(f"/sittings/{session}/open").status_code == 303
        job = staff.post(
            "/api/v1/jobs",
            json={"operation": "collect-diagnostics", "targets": [KIOSK]},
            headers={"Idempotency-Key": "town"},
        )
        assert job.status_code == 201, job.text
    return Town(session, job.json()["job"])


def identity(plane: Exposed, device: str) -> tuple[Path, Path, Path]:
    certificate = plane.callers[device].certificate
    assert certificate is not None
    return plane.data / "pki" / "ca.pem", Path(certificate[0]), Path(certificate[1])


def connect(plane: Exposed, device: str) -> FleetDevice:
    return FleetDevice(plane.ports["broker"], device, identity(plane, device))


def ids_for(row: topics.Topic, town: Town, chance: random.Random) -> dict[str, str]:
    """Mostly what there is, so that the message is looked at; sometimes what there is not."""
    known = {
        "session": town.session,
        "channel": "floor",
        "recording": recording_id(town.session, "floor"),
        "job": chance.choice((town.job, "$next")),
        "document": "doc-1",
        "update": "update-1",
    }
    wanted = [name for name in known if f"{{{name}}}" in row.template]
    return {name: known[name] if chance.random() < 0.9 else "x" * 64 for name in wanted}


def body_of(name: str, town: Town) -> Any:
    if name not in GOLDEN:
        return {"clientToken": "t"}
    tree = json.loads((EXAMPLES / f"{GOLDEN[name]}.v1.json").read_text())
    body = tree.get("body", tree)
    for key, value in {"session": town.session, "recording": recording_id(town.session, "floor")}.items():
        if key in body:
            body[key] = value
    return body


class Attacker:
    """One device's hostile words; its sequences grow as a device's do, so that no gap hides its messages."""

    def __init__(self, device: FleetDevice, town: Town, chance: random.Random) -> None:
        self.device = device
        self.boot = uuid7(AT, chance.randbytes(RANDOM_BYTES))
        self.seqs = dict.fromkeys((Lane.EVENTS, Lane.TELEMETRY), 0)
        self._town = town
        self._chance = chance

    def say(self) -> None:
        """One message on one of the topics that devices may write."""
        row = self._chance.choice([row for row in topics.TOPICS if row.sender == "device"])
        topic = topics.build(row.name, device=self.device.device, **ids_for(row, self._town, self._chance))
        self.device.publish_raw(topic, self._payload(row.name), row.qos)

    def _payload(self, name: str) -> bytes:
        kind = self._chance.random()
        if kind < 0.1:
            return self._chance.randbytes(self._chance.randrange(300))
        if kind < 0.12:
            return b"[" * self._chance.choice((30_000, MESSAGE_BYTES_MAX + 1, 200_000))
        body = self._spoilt(body_of(name, self._town))
        lane = ENVELOPED.get(name)
        if lane is None:
            return body
        sealed = self._sealed(lane, body)
        if kind < 0.3:
            at = self._chance.randrange(len(sealed))
            return sealed[:at] + self._chance.randbytes(1) + sealed[at + 1 :]
        return sealed

    def _spoilt(self, tree: Any) -> bytes:
        for _ in range(self._chance.randrange(3)):
            path = self._chance.choice(paths(tree))
            trap = self._chance.choice((*LITERALS[:16], *NUMBERS, *TEXTS, "[]", "{}"))
            text = json.dumps(with_mark(tree, path)).replace('"@"', trap)
            try:
                tree = json.loads(text)
            except (ValueError, RecursionError):
                return text.encode(errors="replace")
        return json.dumps(tree).encode(errors="replace")

    def _sealed(self, lane: Lane, body: bytes) -> bytes:
        seq = 0
        if lane in self.seqs:
            self.seqs[lane] += 1
            seq = self.seqs[lane]
        head = {"v": 1, "boot": self.boot, "lane": lane, "seq": seq, "at": AT, "sent": AT}
        return json.dumps(head)[:-1].encode() + b', "body": ' + body + b"}"


class Neighbour:
    """A device that does what it should, and waits for every acknowledgement."""

    def __init__(self, device: FleetDevice, chance: random.Random) -> None:
        self._device = device
        self.boot = uuid7(AT, chance.randbytes(RANDOM_BYTES))
        self._seq = 0

    def speak(self) -> None:
        self._seq += 1
        batch = TelemetryBatch(samples=[Sample(at=AT + self._seq, values={"uptime_s": self._seq})])
        self._device.send("telemetry", batch, boot=self.boot, lane=Lane.TELEMETRY, seq=self._seq)
        body = Evidence(document="doc-1", job="j", outcome=PrintOutcome.PRINTED)
        self._device.send("evidence", body, boot=self.boot, lane=Lane.EVENTS, seq=self._seq, document="doc-1")

    def wait_heard(self) -> None:
        """Until everything that was said is acknowledged, in both lanes."""
        self._device.wait_ack(self.boot, Lane.TELEMETRY, self._seq)
        self._device.wait_ack(self.boot, Lane.EVENTS, self._seq)


def refusals(plane: Exposed) -> dict[tuple[str, str], int]:
    """Messages refused by device and reason, in both databases."""
    with plane.sessions() as database:
        counts = {(row.device, row.reason): row.count for row in database.scalars(sa.select(RefusalCount))}
    with closing(sqlite3.connect(plane.data / "telemetry.db", timeout=10)) as telemetry:
        for device, reason, count in telemetry.execute("SELECT device, reason, count FROM link_refusals"):
            counts[device, reason] = counts.get((device, reason), 0) + count
    return counts


@pytest.fixture
def street(plane: Exposed) -> Iterator[list[FleetDevice]]:
    """The connected devices: two that will misbehave, and a neighbour."""
    made = [connect(plane, device) for device in (HALL, KIOSK, NEIGHBOUR)]
    yield made
    for each in made:
        each.close()


def besiege(plane: Exposed, town: Town, street: list[FleetDevice], seed: int, messages: int) -> None:
    chance = random.Random(seed)
    hall, kiosk, good = street
    before = refusals(plane)
    attackers = [Attacker(each, town, chance) for each in (hall, kiosk)]
    neighbour = Neighbour(good, chance)
    for number in range(messages):
        chance.choice(attackers).say()
        if number % EVERY == 0:
            neighbour.speak()
        if number % 500 == 499:
            neighbour.wait_heard()  # so that the broker's queues never overflow
    neighbour.wait_heard()
    counted = {key: count - before.get(key, 0) for key, count in refusals(plane).items()}
    bad = {reason for (device, reason), count in counted.items() if device in (HALL, KIOSK) and count}
    assert {"malformed", "not-an-envelope", "oversized", "refused"} <= bad
    assert "handler-failed" not in bad, plane.failures()
    own = {reason for (device, reason), count in counted.items() if device == NEIGHBOUR and count}
    assert own == {"refused"}, (
        "its evidence is of a document that is not its own; nothing else was held against it"
    )
    assert plane.failures() == []
    assert all(process.poll() is None for process in plane.processes.values()), (
        "nobody was ended by a message"
    )


@pytest.mark.system
def test_hostile_messages_are_counted_and_the_neighbour_is_heard(
    plane: Exposed, town: Town, street: list[FleetDevice]
) -> None:
    besiege(plane, town, street, 5, MESSAGES)


@pytest.mark.system
@pytest.mark.long
def test_hostile_messages_link_at_length(plane: Exposed, town: Town, street: list[FleetDevice]) -> None:
    besiege(plane, town, street, random.randrange(10**9), MESSAGES_LONG)


TEN_MIB = 10 * 1_048_576
AT_THE_BROKER = {
    Reason.FOREIGN_TOPIC: 3,
    Reason.UNKNOWN_TOPIC: 2,
    Reason.FOREIGN_FILTER: 1,
    Reason.BROKEN_PACKET: 1,
    Reason.OVERSIZED: 1,
}
"""What the test below does, by the reason for which the broker refuses it."""


def kept_out(plane: Exposed, device: str) -> dict[Reason, int]:
    counts = refusals(plane)
    return {reason: counts.get((device, reason), 0) for reason in AT_THE_BROKER}


@pytest.mark.system
@pytest.mark.usefixtures("town")
def test_what_the_broker_refuses_is_counted_for_its_sender_alone(plane: Exposed) -> None:
    port, me = plane.ports["broker"], identity(plane, INTRUDER)
    others, mine = (topics.build("telemetry", device=name).encode() for name in (ITS_NEIGHBOUR, INTRUDER))
    device = RawDevice(port, me)
    for topic in (
        others,
        others,
        mine + b"/nothing",
        b"Denied PUBLISH from " + ITS_NEIGHBOUR.encode() + b" (",
    ):
        device.publish(topic)
        assert device.reason() == NOT_AUTHORIZED
    device.publish(others, qos=0)
    device.subscribe(others)
    device.publish(mine + b"/\xff")
    device.wait_hung_up()
    large = RawDevice(port, me)
    with contextlib.suppress(OSError):  # it hangs up long before it has read all of it
        large.publish(mine, b"x" * TEN_MIB)
    large.wait_hung_up()
    wait_for(lambda: kept_out(plane, INTRUDER) == AT_THE_BROKER, f"all are counted: {AT_THE_BROKER}")
    assert not any(kept_out(plane, ITS_NEIGHBOUR).values())
    with plane.staff(Role.ADMINISTRATOR).browser() as staff:
        told = staff.get(f"/api/v1/devices/{INTRUDER}/ledger").json()["refused_by_reason"]
    assert {reason: told[reason] for reason in AT_THE_BROKER} == AT_THE_BROKER
