"""Puts the agent of one device together and runs it: settings, adapters, one group of named tasks."""

import argparse
import asyncio
import fcntl
import logging
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from contract.ids import RANDOM_BYTES, uuid7
from contract.jobs import Operation as OperationName
from contract.telemetry import Value
from contract.twin import LOG_LEVEL, TELEMETRY_INTERVAL
from edge_agent import logs
from edge_agent.enrolment.child import ChildDesk
from edge_agent.enrolment.renewal import Limits
from edge_agent.enrolment.run import Renewing
from edge_agent.errors import AgentError, SettingsError, UnavailableError
from edge_agent.jobs.diagnostics import PATH as DIAGNOSTICS_PATH
from edge_agent.jobs.diagnostics import CollectDiagnostics
from edge_agent.jobs.journal import SqliteJournal as JobJournal
from edge_agent.jobs.restart import RestartAgent
from edge_agent.jobs.run import Jobs
from edge_agent.link.dating import Stamp
from edge_agent.link.https import Answer, DeviceHttps
from edge_agent.link.identity import Wallet, check_private
from edge_agent.link.journal import SqliteJournal
from edge_agent.link.membership import membership
from edge_agent.link.mqtt import MqttTransport
from edge_agent.link.outbox import Bounds
from edge_agent.link.reserve import FileReserve, Reserve
from edge_agent.link.run import Link
from edge_agent.link.timekeeper import Timekeeper
from edge_agent.ports import Occupancy, Operation, SelfTest, ServerTime
from edge_agent.settings import Recorder, Settings, load
from edge_agent.telemetry.run import Readings, Telemetry
from edge_agent.telemetry.sensors import Machine
from edge_agent.twin.memory import MemoryFile
from edge_agent.twin.run import Knob, Twin
from edge_agent.updates.board_smp import BoardTarget
from edge_agent.updates.parts import is_on_trial, update_operations, updates_of
from edge_agent.updates.run import OpenPremises
from edge_agent.version import VERSION

if TYPE_CHECKING:
    from edge_agent.recordings.run import Recordings

log = logging.getLogger(__name__)

EXIT_RESTART = os.EX_TEMPFAIL
"""75: the service manager is to start the agent again."""
CLOCK_PERIOD_S = 600.0
"""How often the control plane is asked for nothing but its `Date`."""
CLOCK_RETRY_S = 60.0
BOARD_PERIOD_S = 3600.0
"""How often the I/O board is asked which firmware runs; updates ask it themselves."""
UNSTOPPABLE = frozenset[str]({OperationName.PRINT_DOCUMENT, OperationName.RESTART_AGENT})
"""What goes on when its job is cancelled: the printer has the paper, the process is ending already."""

Run = Callable[[], Awaitable[None]]


@dataclass
class Parts:
    """What one kind of device adds: named tasks, operations of jobs, readings of telemetry.

    `busy` says whether somebody uses it now; `self_test` asks its hardware whether it answers; `hears_time`
    is told the server's time.
    """

    tasks: dict[str, Run] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    readings: list[Readings] = field(default_factory=list)
    busy: Occupancy = field(default_factory=OpenPremises)
    self_test: SelfTest = field(default_factory=dict)
    board: BoardTarget | None = None
    hears_time: Callable[[ServerTime], None] | None = None


@dataclass
class End:
    """Whether the process is to end, and with which code."""

    asked: asyncio.Event
    code: int = os.EX_OK

    def ask(self, code: int = os.EX_OK) -> None:
        """End soon and in order."""
        self.code = code
        self.asked.set()


def main() -> int:
    """0 ended by a signal; 1 a broken invariant; 69 the disk is full; 75 start again; 78 wrong settings."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="TOML file")
    parser.add_argument("--check", action="store_true", help="only read the settings")
    arguments = parser.parse_args()
    logs.configure()
    try:
        settings = load(arguments.settings, os.environ)
        if arguments.check:
            return os.EX_OK
        with _alone(settings.data_dir):
            return asyncio.run(_live(settings, arguments.settings))
    except SettingsError as error:
        print(f"edge_agent: {error}", file=sys.stderr)
        return os.EX_CONFIG
    except UnavailableError as error:
        print(f"edge_agent: {error}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    except BaseException as error:
        log.critical("agent_failed", exc_info=error)
        return 1


@contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Two agents on one data folder would send each other's messages.

    Raises:
        SettingsError: another one runs there, or the folder cannot be written.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (data_dir / "agent.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        raise SettingsError(f"another agent runs on data_dir {data_dir}; end it first") from error
    except PermissionError as error:
        raise SettingsError(f"data_dir {data_dir} cannot be written; give it to the agent's user") from error


async def _live(settings: Settings, file: Path) -> int:
    end = End(asyncio.Event())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.ask)
    if not membership(settings, _wall_ms).wallet.current.complete:
        code = await _enrol(file, end)
        if code is not None:
            return code
    member = membership(settings, _wall_ms)
    _check_keys(member.wallet)
    times = Timekeeper(member.clock, member.floor, _wall_ms, time.monotonic)
    boot = uuid7(max(times.best_ms(), times.floor_ms()), secrets.token_bytes(RANDOM_BYTES))
    reserve = FileReserve(settings.data_dir / "link.reserve")
    stamp = Stamp(time.monotonic())
    stamp.look(times.best_ms(), times.floor_ms(), time.monotonic())
    journal, job_journal = _journals(settings.data_dir, reserve, boot, stamp.origin or 0)
    link = _link(settings, member.wallet, journal, boot, reserve, stamp, times)
    https = DeviceHttps(settings.cloud.device_url, member.wallet, settings.cloud.timeout_s, times.told)
    renewing = _renewing(settings, file, member.wallet, link, https, times)
    parts = _parts(settings, link, https)
    updates = updates_of(
        settings,
        file,
        link=link,
        occupancy=parts.busy,
        self_test=parts.self_test,
        board=parts.board,
        end=lambda: end.ask(EXIT_RESTART),
        chance=random.Random(),  # noqa: S311 jitter, not a secret
        environ=os.environ,
    )
    if updates is not None:
        parts.tasks["updates"] = updates.run
        parts.operations |= update_operations(updates)
    parts.operations |= _operations(settings, link, https, end, parts.board, renewing)
    jobs = Jobs(link=link, journal=job_journal, operations=parts.operations, unstoppable=UNSTOPPABLE)
    if parts.hears_time is not None:
        jobs.on_server_time(parts.hears_time)
    telemetry = Telemetry(
        link=link,
        period_s=settings.telemetry.period_s,
        readings=[*_readings(settings, link, https), lambda: renewing.readings, *parts.readings],
    )
    twin = _twin(settings, link, telemetry)
    tasks = {
        "jobs": jobs.run,
        "telemetry": telemetry.run,
        "twin": twin.run,
        "clock": lambda: _watch_clock(https),
        "time": times.run,
        "certificate": renewing.run,
        **parts.tasks,
    }
    log.info("agent_started", extra={"device": settings.device, "boot": boot, "agent": VERSION})
    await _run_until(end, link, tasks)
    log.info("agent_ended", extra={"device": settings.device, "boot": boot, "code": end.code})
    return end.code


def _twin(settings: Settings, link: Link, telemetry: Telemetry) -> Twin:
    """What staff may change of a device that runs; the settings file says how it starts."""
    return Twin(
        link=link,
        memory=MemoryFile(settings.data_dir / "desired.json"),
        knobs={
            TELEMETRY_INTERVAL.path: Knob(lambda: _whole(telemetry.period_s), telemetry.pace),
            LOG_LEVEL.path: Knob(logs.level, logs.set_level),
        },
        facts={"agent": VERSION, "kind": settings.kind},
    )


def _whole(number: float) -> float | int:
    return int(number) if number.is_integer() else number


async def _run_until(end: End, link: Link, tasks: Mapping[str, Run]) -> None:
    """The link goes last, so that what the others still have to say is kept, and presence is told."""
    async with asyncio.TaskGroup() as outer:
        linked = outer.create_task(_for_ever("link", link.run), name="link")
        async with asyncio.TaskGroup() as inner:
            running = [inner.create_task(_for_ever(name, run), name=name) for name, run in tasks.items()]
            await end.asked.wait()
            for task in running:
                task.cancel()
        linked.cancel()


async def _for_ever(name: str, run: Run) -> None:
    await run()
    raise AssertionError(f"{name} has ended by itself")


async def _enrol(file: Path, end: End) -> int | None:
    """Enrol in a process that takes its large libraries with it; gives an exit code if ours is to end."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge_agent.enrolment", "--settings", str(file)
    )
    asked = asyncio.create_task(end.asked.wait())
    ended = asyncio.create_task(child.wait())
    await asyncio.wait({asked, ended}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if not ended.done():
        child.terminate()
        await ended
        return end.code
    return None if child.returncode == os.EX_OK else child.returncode


def _journals(data_dir: Path, reserve: Reserve, boot: str, at: int) -> tuple[SqliteJournal, JobJournal]:
    """The journals, with `boot` begun at `at`; who starts on a full disk lives on the reserve.

    Raises:
        UnavailableError: the disk is full, and the reserve is used up.
    """

    def opened() -> tuple[SqliteJournal, JobJournal]:
        found = SqliteJournal(data_dir / "link.db"), JobJournal(data_dir / "jobs.db")
        found[0].begin(boot, at)
        return found

    try:
        return opened()
    except UnavailableError as error:
        if not reserve.release():
            raise
        log.error("reserve_released", extra={"sentence": str(error)})  # noqa: TRY400 the sentence says it all
        return opened()


def _check_keys(wallet: Wallet) -> None:
    """Start with no key that others can read, nor with one that cannot be opened.

    Raises:
        SettingsError: a key or the secret that opens it is open to others, or the secret is missing.
    """
    check_private(wallet.current.key)
    check_private(wallet.spare.key)
    if not wallet.current.plain:
        wallet.vault.password()


def _renewing(
    settings: Settings, file: Path, wallet: Wallet, link: Link, https: DeviceHttps, times: Timekeeper
) -> Renewing:
    chosen = settings.certificate
    return Renewing(
        wallet=wallet,
        link=link,
        api=https,
        desk=ChildDesk(file),
        token_file=settings.token_file,
        limits=Limits(
            renew_at_share=chosen.renew_at_share,
            renew_jitter_share=chosen.renew_jitter_share,
            spread_s=chosen.spread_s,
            trial_s=chosen.trial_s,
            retry_s=chosen.retry_s,
            retry_max_s=chosen.retry_max_s,
            refused_s=chosen.refused_s,
            token_look_s=chosen.token_look_s,
        ),
        chance=random.Random(),  # noqa: S311 jitter, not a secret
        utc_s=times.utc_s,
        told_time=times.told,
        renewed=times.renewed,
        update_on_trial=lambda: is_on_trial(settings, os.environ),
    )


def _link(
    settings: Settings,
    wallet: Wallet,
    journal: SqliteJournal,
    boot: str,
    reserve: Reserve,
    stamp: Stamp,
    times: Timekeeper,
) -> Link:
    broker, outbox = settings.broker, settings.outbox
    transport = MqttTransport(
        host=broker.host,
        port=broker.port,
        client_id=settings.device,
        keepalive_s=broker.keepalive_s,
        context=wallet.context if broker.tls else None,
    )
    return Link(
        device=settings.device,
        kind=settings.kind,
        agent=VERSION,
        root=broker.root,
        boot=boot,
        bounds=Bounds(
            rows_max=outbox.rows_max,
            bytes_max=outbox.bytes_max,
            window=outbox.window,
            ack_timeout_s=broker.ack_timeout_s,
            age_max_s=outbox.age_max_s,
            declare_every_s=outbox.declare_every_s,
            reserve_every_s=outbox.reserve_every_s,
        ),
        journal=journal,
        transport=transport,
        chance=random.Random(),  # noqa: S311 jitter, not a secret
        reserve=reserve,
        stamp=stamp,
        floor_ms=times.floor_ms,
        clock_ms=times.best_ms,
    )


def _parts(settings: Settings, link: Link, https: DeviceHttps) -> Parts:
    """What the hardware in the settings needs; its modules are large and are imported only here.

    A device without its table reports its health and takes jobs, and no more.
    """
    if settings.kind == "kiosk" and settings.kiosk is not None:
        from edge_agent.documents.run import Kiosk

        kiosk = Kiosk(settings, link, https)
        port = settings.kiosk.board_port
        board = BoardTarget(port) if port is not None else None
        return Parts(
            tasks={"kiosk": kiosk.run, **(_board_tasks(board) if board is not None else {})},
            operations={"print-document": kiosk.print_operation},
            readings=[lambda: kiosk.readings],
            busy=kiosk,
            self_test={"printer": kiosk.printer_trouble},
            board=board,
        )
    if settings.kind == "recorder" and settings.recorder is not None:
        from edge_agent.captions.operation import SetSittingOperation
        from edge_agent.captions.run import Captions
        from edge_agent.captions.sitting_file import SittingFile

        recordings = _recordings(settings, settings.recorder, link, https)
        file = SittingFile(settings.data_dir / "sittings.json")
        captions = Captions(link, settings.recorder, file, sink=recordings)
        return Parts(
            tasks={"captions": captions.run, "recordings": recordings.run},
            operations={"set-sitting": SetSittingOperation(captions, settings.recorder.model_languages)},
            readings=[
                lambda: {"microphone_level_dbfs": captions.microphone_level_dbfs},
                lambda: {
                    "recordings_waiting_bytes": recordings.waiting_bytes,
                    "recordings_full": recordings.full,
                },
            ],
            busy=captions,
            self_test={"microphone": captions.microphone_trouble},
            hears_time=captions.time_told,
        )
    log.warning("hardware_not_configured", extra={"device": settings.device, "kind": settings.kind})
    return Parts()


def _recordings(settings: Settings, recorder: Recorder, link: Link, https: DeviceHttps) -> "Recordings":
    from edge_agent.recordings.memory import Memory
    from edge_agent.recordings.run import Recordings
    from edge_agent.recordings.segment_files import SAMPLE_BYTES, SegmentFiles
    from edge_agent.recordings.uploads_tus import TusUploads

    sync_bytes = int(recorder.audio_sync_s * recorder.microphone_rate_hz) * SAMPLE_BYTES
    files = SegmentFiles(settings.data_dir / "recordings", sync_bytes)
    memory = Memory(settings.data_dir / "recordings.db")
    return Recordings(link, recorder, memory, files, TusUploads(https, files))


def _operations(
    settings: Settings,
    link: Link,
    https: DeviceHttps,
    end: End,
    board: BoardTarget | None,
    renewing: Renewing,
) -> dict[str, Operation]:
    started = time.monotonic()

    def facts() -> dict[str, Any]:
        return {
            "agent": VERSION,
            "boot": link.boot,
            "agent_uptime_s": int(time.monotonic() - started),
            "outbox": msgspec.to_builtins(link.counts),
            "malformed": link.malformed,
            "clock_skew_ms": https.clock_skew_ms,
            "certificate": renewing.facts,
            "board_firmware": board and board.known,
            "settings": _shown(settings),
        }

    async def post(bundle: bytes) -> Answer:
        return await https.request("POST", DIAGNOSTICS_PATH, bundle, {"Content-Type": "application/json"})

    return {
        "collect-diagnostics": CollectDiagnostics(data_dir=settings.data_dir, facts=facts, post=post),
        "restart-agent": RestartAgent(lambda: end.ask(EXIT_RESTART)),
    }


def _shown(settings: Settings) -> dict[str, Any]:
    """The settings that a bundle may show: secrets are files, and commands may carry anything."""
    found: dict[str, Any] = msgspec.to_builtins(settings, enc_hook=str)
    found.pop("token_file")
    found["certificate"].pop("key_file")
    for command in ("microphone_command", "floor_command"):
        (found.get("recorder") or {}).pop(command, None)
    return found


def _readings(settings: Settings, link: Link, https: DeviceHttps) -> list[Readings]:
    machine = Machine(settings.data_dir, settings.telemetry.temperature_file)

    def own() -> Mapping[str, Value | None]:
        counts = link.counts
        return {
            "outbox_waiting": counts.waiting,
            "outbox_bytes": counts.bytes,
            "outbox_dropped": counts.dropped,
            "outbox_refused": counts.refused,
            "link_taken_over": counts.taken_over,
            "clock_skew_ms": https.clock_skew_ms,
        }

    return [machine.read, own]


async def _watch_clock(https: DeviceHttps) -> None:
    """Any answer carries the server's time, whatever its status."""
    while True:
        try:
            await https.request("HEAD", "/")
        except AgentError as error:
            log.info("clock_not_compared", extra={"sentence": str(error)})
            await asyncio.sleep(CLOCK_RETRY_S)
        else:
            await asyncio.sleep(CLOCK_PERIOD_S)


def _board_tasks(board: BoardTarget) -> dict[str, Run]:
    return {"board": lambda: _watch_board(board)}


async def _watch_board(board: BoardTarget) -> None:
    """Diagnostics tell the firmware that the board last said it runs."""
    while True:
        try:
            version = await board.version()
        except AgentError as error:
            log.warning("board_not_asked", extra={"sentence": str(error)})
        else:
            log.info("board_answered", extra={"firmware": version})
        await asyncio.sleep(BOARD_PERIOD_S)


def _wall_ms() -> int:
    return int(time.time() * 1000)
