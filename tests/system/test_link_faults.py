"""Faults that last: a black hole, a full disk, a device that is shut out, under load and with real parts.

Agents with numbered `must` messages beside their own samples, mosquitto with mutual TLS, the ingest and the
control plane. Each promised message is stored once, and the device, the store and the ledger count alike.
"""

import os
import queue
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloud.enrolment.authority import DEVICE_AGE
from cloud.operators.roles import Role
from contract.messages import Lane
from edge_agent.link.outbox import SILENT_TIMEOUTS
from tests.cloud.exposed import Exposed, exposed
from tests.cloud.mosquitto import PROGRAM, end
from tests.edge_agent.test_agent import Agent
from tests.system.black_hole import BlackHole, black_hole
from tests.system.conftest import wait_until
from tests.system.speaking_agent import METRIC

EVERY_S = 0.05
FEW, SOME = 20, 50
"""Messages of a lane."""
DEADLINE_S = 60.0
DISK = "40m"
"""Of the tmpfs: the reserve is made where there is room for it twice, however often the disk was full."""
FILL_BYTES = 4096
BUSY_S = 30.0
"""What a busy machine may add."""
LIST_LOOK_S = 0.1
RENEWED_AFTER_S = 2.0
"""In the life of a certificate that is renewed all the time."""
RENEW_EARLY = RENEWED_AFTER_S / DEVICE_AGE.total_seconds()
RENEW_AT_SHARE = 2 / 3
ROTATIONS_LONG = 20


@dataclass(frozen=True)
class Pace:
    """The times of a link; the broker's are the agent's own defaults."""

    hole_s: float
    keepalive_s: int
    ack_timeout_s: float
    drain_s: float

    @property
    def hang_up_s(self) -> float:
        """A silent connection is given up within this: by pings, or because nothing is acknowledged."""
        return max(2 * self.keepalive_s, SILENT_TIMEOUTS * self.ack_timeout_s) + self.keepalive_s


SHORT = Pace(hole_s=12.0, keepalive_s=1, ack_timeout_s=0.4, drain_s=DEADLINE_S)
"""Ten minutes with everything fifty times shorter; a keep-alive is a second at least."""
TRUE = Pace(hole_s=600.0, keepalive_s=30, ack_timeout_s=20.0, drain_s=300.0)


@dataclass
class Device:
    """A talking agent: its process, its settings and what it has noted."""

    name: str
    folder: Path
    words: Sequence[str]
    process: Agent = field(init=False)

    def start(self) -> None:
        self.process = Agent(self.folder / "agent.toml", self.words)

    def noted(self, diary: str, lane: Lane) -> list[int]:
        """Numbers in a diary."""
        path = self.folder / diary
        words = path.read_text().split() if path.exists() else []
        return [int(number) for name, _, number in (word.partition(":") for word in words) if name == lane]

    def promised(self, lane: Lane = Lane.TELEMETRY) -> list[int]:
        return self.noted("promised", lane)

    def wait_for(self, event: str, silence_s: float = DEADLINE_S) -> dict[str, Any]:
        """Until it has said `event`; it is never silent for longer than `silence_s`."""
        heard = []
        while True:
            try:
                found = self.process.events.get(timeout=silence_s)
            except queue.Empty:
                raise AssertionError(f"{self.name} has not said {event}, but {heard[-20:]}") from None
            assert found["level"] != "critical", found
            if found["event"] == event:
                return found
            heard.append(found)

    def heard(self) -> set[str]:
        """Events since the last that was waited for."""
        found = set()
        while not self.process.events.empty():
            found.add(str(self.process.events.get_nowait()["event"]))
        return found


class Street:
    """The cloud's parts as `exposed` runs them, an office that may do everything, and the devices."""

    def __init__(self, plane: Exposed, office: httpx.Client, folder: Path) -> None:
        self.plane = plane
        self.office = office
        self._folder = folder

    @contextmanager
    def device(
        self,
        name: str,
        *,
        port: int = 0,
        pace: Pace = SHORT,
        disk: Path | None = None,
        renew_at_share: float = RENEW_AT_SHARE,
    ) -> Iterator[Device]:
        """A device that has enrolled by itself and talks; its data is on `disk`, a small one of its own."""
        folder = self._folder / name
        folder.mkdir()
        data = disk or folder / "data"
        (folder / "token").write_text(self.token(name))
        settings = self._settings(name, folder, data, port or self.plane.ports["broker"], pace)
        (folder / "agent.toml").write_text(
            f"{settings}renew_at_share = {renew_at_share}\nrenew_jitter_share = 0.0\n"
        )
        speech = (sys.executable, "-m", "tests.system.speaking_agent", str(folder), str(EVERY_S))
        mount = f'mount -t tmpfs -o size={DISK} tmpfs "{data}" && exec "$0" "$@"'
        made = Device(name, folder, speech if disk is None else ("unshare", "-m", "sh", "-c", mount, *speech))
        made.start()
        try:
            made.wait_for("link_connected")
            self.wait_stored(made, FEW)
            yield made
        finally:
            if made.process.process.poll() is None:
                made.process.end(signal.SIGKILL)

    def kill_broker(self) -> None:
        """kill -9 the broker, which forgets its sessions; it is started again as on a server."""
        old = self.plane.processes["broker"]
        old.kill()
        wait_until(lambda: self.plane.processes["broker"] is not old, DEADLINE_S, "there is a new broker")

    def token(self, device: str) -> str:
        """A new token for a device, as staff makes it."""
        wanted = {"device": device, "kind": "kiosk", "site": "Dardania"}
        answer = self.office.post("/api/v1/enrolment/tokens", json=wanted)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def points(self, device: str, metric: str = METRIC) -> list[int]:
        """Stored values, oldest first."""
        with closing(sqlite3.connect(self.plane.data / "telemetry.db", timeout=10)) as database:
            rows = database.execute(
                "SELECT value FROM points JOIN series ON id = series "
                "WHERE device = ? AND metric = ? ORDER BY at",
                (device, metric),
            )
            return [int(value) for (value,) in rows]

    def ledger(self, device: str) -> dict[str, Any]:
        """What the API says of a device."""
        answer = self.office.get(f"/api/v1/devices/{device}/ledger")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def counted(self, device: str, lane: Lane) -> dict[str, int]:
        """The numbers of the one boot of a device in a lane."""
        (found,) = [boot for boot in self.ledger(device)["boots"] if boot["lane"] == lane] or [{}]
        return {"seq": found["seq"], **found["numbers"]} if found else {}

    def wait_stored(self, device: Device, more: int) -> None:
        """Until the cloud has everything that is promised now, and `more` of what comes then."""
        lanes = (Lane.EVENTS, Lane.TELEMETRY)
        goals = {lane: len(device.promised(lane)) + more for lane in lanes}

        def holds() -> bool:
            evidence = self.counted(device.name, Lane.EVENTS).get("refused", 0)
            return len(self.points(device.name)) >= goals[Lane.TELEMETRY] and evidence >= goals[Lane.EVENTS]

        wait_until(holds, DEADLINE_S, f"{device.name} is stored up to {goals}")

    def settle(self, device: Device, within_s: float = DEADLINE_S) -> None:
        """The device says nothing new; until the cloud has what it had promised. Then the agent ends."""
        (device.folder / "hush").touch()
        wait_until(
            lambda: (
                len(self.points(device.name)) >= len(device.promised())
                and self.counted(device.name, Lane.EVENTS)["refused"] >= len(device.promised(Lane.EVENTS))
            ),
            within_s,
            f"everything of {device.name} is stored: {self.ledger(device.name)}",
        )
        last = self.points(device.name, "outbox_dropped")[-1:]
        wait_until(
            lambda: self.points(device.name, "outbox_waiting")[-1] <= 2, within_s, f"it waits for none {last}"
        )
        assert device.process.end() == 0

    def check(self, device: Device) -> dict[str, int]:
        """Nothing that was promised is lost or doubled, and all count alike; the figures."""
        for lane in (Lane.EVENTS, Lane.TELEMETRY):
            tried, promised, refused = (device.noted(each, lane) for each in ("tried", "promised", "refused"))
            assert sorted(promised + refused) == tried, f"{lane}: somebody was told nothing, or twice"
        stored = self.points(device.name)
        assert stored == device.promised(), "lost, doubled, or taken although it was refused"
        numbers = {lane: self.counted(device.name, lane) for lane in (Lane.EVENTS, Lane.TELEMETRY)}
        events, samples = numbers[Lane.EVENTS], numbers[Lane.TELEMETRY]
        assert events["refused"] == len(device.promised(Lane.EVENTS)), events
        assert samples["stored"] == len(stored) + len(self.points(device.name, "uptime_s")), samples
        for lane, each in numbers.items():
            assert (each["missing"], each["lost"], each["undeclared"]) == (0, 0, 0), (lane, each)
        seqs = events["stored"] + events["refused"], samples["stored"] + samples["refused"]
        assert seqs == (events["seq"], samples["seq"]), f"numbers that nobody accounts for: {numbers}"
        assert self.ledger(device.name)["refused_by_reason"] == {"refused": events["refused"]}
        return {
            "promised": len(stored) + events["refused"],
            "repeated": events["repeated"] + samples["repeated"],
        }

    def _settings(self, name: str, folder: Path, data: Path, port: int, pace: Pace) -> str:
        ports = self.plane.ports
        return (
            f'device = "{name}"\nkind = "kiosk"\nsite = "Dardania"\ndata_dir = "{data}"\n'
            f'token_file = "{folder / "token"}"\n'
            f'[broker]\nhost = "localhost"\nport = {port}\n'
            f"keepalive_s = {pace.keepalive_s}\nack_timeout_s = {pace.ack_timeout_s}\n"
            f'[cloud]\nbootstrap_url = "https://localhost:{ports["bootstrap"]}"\n'
            f'device_url = "https://localhost:{ports["device"]}"\n'
            f'ca_file = "{self.plane.data / "pki" / "ca.pem"}"\n'
            "[telemetry]\nperiod_s = 0.2\n[outbox]\ndeclare_every_s = 1.0\nreserve_every_s = 1.0\n"
            "[certificate]\nspread_s = 0.5\nrefused_s = 0.5\nretry_s = 0.5\ntoken_look_s = 0.2\n"
        )


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """On SQLite; it has no faults of its own."""
    folder = tmp_path_factory.mktemp("street")
    with ExitStack() as stack:
        plane = stack.enter_context(exposed(folder, f"sqlite:///{folder}/data/fleet.db"))
        office = stack.enter_context(plane.staff(Role.ADMINISTRATOR).browser())
        stack.enter_context(kept_as_on_a_server(plane))
        yield Street(plane, office, folder)
        assert plane.failures() == []


@pytest.fixture(scope="module")
def faults(street: Street, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Future[None]]]:
    """The faults of three devices at once, because each of them is little but waiting."""
    disk = tmp_path_factory.mktemp("full")

    def cut() -> None:
        with black_hole(street.plane.ports["broker"]) as hole:
            cross(street, hole, SHORT, "kiosk-hole")

    def starved() -> None:
        with black_hole(street.plane.ports["broker"]) as hole:
            run_out_of_disk(street, hole, disk, "kiosk-disk", 1)

    with ThreadPoolExecutor(3) as pool:
        yield {
            "hole": pool.submit(cut),
            "disk": pool.submit(starved),
            "revocation": pool.submit(revoke_under_load, street, "kiosk-revoked", 1),
        }


@contextmanager
def kept_as_on_a_server(plane: Exposed) -> Iterator[None]:
    """What units do on a server: the broker reads each new list, and is started again when it has ended.

    Debian's mosquitto 2.0.11 was seen to end by itself in these tests ("munmap_chunk(): invalid pointer").
    """
    signed, read = plane.data / "pki" / "crl.pem", plane.folder / "broker" / "crl.pem"
    ended = threading.Event()

    def carry() -> None:
        while not ended.wait(LIST_LOOK_S):
            if plane.processes["broker"].poll() is not None:
                words = [str(PROGRAM), "-c", str(plane.folder / "broker" / "mosquitto.conf")]
                plane.processes["broker"] = subprocess.Popen(words, stderr=subprocess.DEVNULL, text=True)
            fresh = signed.read_bytes()
            if fresh != read.read_bytes():
                beside = read.with_name("crl.pem.new")
                beside.write_bytes(fresh)
                beside.replace(read)
                plane.processes["broker"].send_signal(signal.SIGHUP)

    first = plane.processes["broker"]
    thread = threading.Thread(target=carry)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        last = plane.processes["broker"]
        if last is not first:  # the first one is ended by who has begun it
            end(last, DEADLINE_S)


@pytest.fixture
def hole(street: Street) -> Iterator[BlackHole]:
    with black_hole(street.plane.ports["broker"]) as made:
        yield made


def cross(street: Street, hole: BlackHole, pace: Pace, name: str) -> None:
    with street.device(name, port=hole.port, pace=pace) as device:
        hole.cut()
        cut_at = time.monotonic()
        device.wait_for("link_lost", pace.hang_up_s + DEADLINE_S)
        hung_up_s = time.monotonic() - cut_at
        assert hung_up_s < pace.hang_up_s + BUSY_S, "nothing but TCP's own patience ended it"
        before, said = len(street.points(name)), len(device.promised())
        device.wait_for("link_not_established", pace.drain_s)
        time.sleep(max(0.0, cut_at + pace.hole_s - time.monotonic()))  # the fault itself lasts
        wait_until(lambda: len(device.promised()) > said + SOME, pace.drain_s, "enough is said to prove it")
        assert len(street.points(name)) == before, "something came through the hole"
        hole.restore()
        device.wait_for("link_connected", pace.drain_s)
        street.settle(device, pace.drain_s)
        figures = street.check(device)
        assert street.ledger(name)["dropped_by_reason"] == {}
        print(f"black hole of {pace.hole_s:g} s: hung up after {hung_up_s:.1f} s, {figures}")


def test_a_black_hole_of_ten_minutes_costs_nothing(faults: Mapping[str, Future[None]]) -> None:
    faults["hole"].result()


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_black_hole_of_ten_true_minutes_costs_nothing(street: Street, hole: BlackHole) -> None:
    cross(street, hole, TRUE, "kiosk-hole-long")


def fill(disk: Path) -> None:
    """Leave no room on the disk."""
    with (disk / "something-else").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * FILL_BYTES)
        except OSError:
            return


def starve(street: Street, hole: BlackHole, device: Device, disk: Path) -> None:
    """The disk is full and nothing is acknowledged, so that what is kept needs room; then it is, and at last
    there is room."""
    fill(disk)
    hole.cut()
    device.wait_for("reserve_released")
    refused = len(device.noted("refused", Lane.EVENTS))

    def refuses() -> bool:
        fill(disk)
        return len(device.noted("refused", Lane.EVENTS)) >= refused + FEW

    wait_until(refuses, DEADLINE_S, "what takes no room is refused to the way that said it")
    hole.restore()
    device.wait_for("link_connected")
    street.wait_stored(device, 0)
    (disk / "something-else").unlink()
    device.wait_for("reserve_made")
    street.wait_stored(device, FEW)


def run_out_of_disk(street: Street, hole: BlackHole, folder: Path, name: str, rounds: int) -> None:
    assert os.geteuid() == 0, "run this test as root: it mounts a small tmpfs in a name space of its own"
    assert shutil.which("unshare"), "install the Debian package util-linux"
    mount = folder / "disk"
    mount.mkdir()
    with street.device(name, port=hole.port, disk=mount) as device:
        disk = Path(f"/proc/{device.process.process.pid}/root{mount}")
        for _ in range(rounds):
            starve(street, hole, device, disk)
        dropped: Callable[[], int] = lambda: street.points(name, "outbox_dropped")[-1]  # noqa: E731
        wait_until(
            lambda: dropped() == sum(street.ledger(name)["dropped_by_reason"].values()),
            DEADLINE_S,
            f"everything that was dropped is declared: {dropped()}, {street.ledger(name)}",
        )
        refusals = sum(len(device.noted("refused", lane)) for lane in (Lane.EVENTS, Lane.TELEMETRY))
        assert street.points(name, "outbox_refused")[-1] == refusals
        street.settle(device)
        figures = street.check(device)
        why = street.ledger(name)["dropped_by_reason"]
        assert why.keys() == {"disk"}, why
        print(f"full disk, {rounds} times: {figures}, dropped {why}, refused {refusals}")


def test_a_full_disk_breaks_no_promise_and_is_left_without_a_restart(
    faults: Mapping[str, Future[None]],
) -> None:
    faults["disk"].result()


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_disk_that_is_full_again_and_again_breaks_no_promise(
    street: Street, hole: BlackHole, tmp_path: Path
) -> None:
    run_out_of_disk(street, hole, tmp_path, "kiosk-disk-long", 10)


def figures(street: Street, device: Device) -> tuple[list[int], dict[str, Any]]:
    """What is stored of it, and what the ledger counts."""
    return street.points(device.name), street.ledger(device.name)["numbers"]


def handled(street: Street, victim: Device, neighbour: Device) -> tuple[list[int], dict[str, Any]]:
    """The figures once all has been handled that the broker had taken before it closed the connection."""
    seen: list[tuple[list[int], dict[str, Any]]] = [figures(street, victim)]

    def same() -> bool:
        street.wait_stored(neighbour, FEW)
        seen.append(figures(street, victim))
        return seen[-1] == seen[-2]

    wait_until(same, DEADLINE_S, f"nothing more comes of {victim.name}")
    return seen[-1]


def shut_out(street: Street, victim: Device, neighbour: Device) -> float:
    """Revoke under load; seconds from the order to the drop."""
    before = time.monotonic()
    answer = street.office.post(f"/api/v1/enrolment/devices/{victim.name}/revoke")
    assert answer.status_code == 200, answer.text
    victim.wait_for("link_lost")
    dropped_s = time.monotonic() - before
    at_the_drop = handled(street, victim, neighbour)
    assert victim.wait_for("link_not_established")["reason"] == "refused"
    kept = len(victim.promised())
    street.wait_stored(neighbour, SOME)
    assert figures(street, victim) == at_the_drop
    assert len(victim.promised()) > kept, "it went on talking"
    return dropped_s


def readmit(street: Street, victim: Device) -> None:
    """A new token; what was promised meanwhile is not lost."""
    (victim.folder / "token").write_text(street.token(victim.name))
    victim.wait_for("device_enrolled")
    victim.wait_for("link_connected")
    street.wait_stored(victim, FEW)


def revoke_under_load(street: Street, name: str, rounds: int) -> None:
    broker = street.plane.processes["broker"]
    with street.device(name) as victim, street.device(f"{name}-neighbour") as neighbour:
        neighbour.heard()
        for _ in range(rounds):
            dropped_s = shut_out(street, victim, neighbour)
            print(f"revoked: the connection was dropped after {dropped_s:.2f} s")
            readmit(street, victim)
        assert broker.poll() is None, "the broker has ended"
        assert "link_lost" not in neighbour.heard(), "the neighbour's connection was dropped too"
        for each in (victim, neighbour):
            street.settle(each)
            print(f"{each.name}: {street.check(each)}")


def test_a_device_that_is_revoked_while_it_sends_is_dropped_and_its_neighbour_is_not(
    faults: Mapping[str, Future[None]],
) -> None:
    faults["revocation"].result()


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_device_that_is_revoked_again_and_again_loses_nothing_that_it_promised(street: Street) -> None:
    revoke_under_load(street, "kiosk-revoked-long", 10)


def rotate(street: Street, name: str, rounds: int) -> None:
    """Each new certificate is asked for, and the broker dies before it has proven itself."""
    with street.device(name, renew_at_share=RENEW_EARLY) as device:
        for _ in range(rounds):
            device.wait_for("certificate_asked_for")
            street.kill_broker()
            device.wait_for("certificate_committed")
            street.wait_stored(device, FEW)
        street.settle(device)
        print(f"{rounds} rotations with the broker killed: {street.check(device)}")


def test_certificates_that_change_while_the_broker_dies_cost_nothing(
    street: Street, faults: Mapping[str, Future[None]]
) -> None:
    for each in faults.values():
        each.exception()  # they say themselves what went wrong; here the broker is theirs no longer
    rotate(street, "kiosk-rotating", 2)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_certificates_that_change_again_and_again_while_the_broker_dies_cost_nothing(street: Street) -> None:
    for name in ("kiosk-rotating-a", "kiosk-rotating-b"):  # one gets CERTIFICATES_MAX a day at most
        rotate(street, name, ROTATIONS_LONG // 2)
