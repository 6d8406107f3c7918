"""Runs a kiosk: carries out what the visit decides, serves its page, prints, and watches the printer."""

import asyncio
import logging
import math
import os
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, assert_never
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import uvicorn

from contract.documents import Kind, NewRequest, PrintOutcome, View, Whom
from contract.ids import RANDOM_BYTES, uuid7
from contract.languages import LANGUAGES
from edge_agent.documents import mrz
from edge_agent.documents import visit_messages as m
from edge_agent.documents.claims import release
from edge_agent.documents.devices import Devices, connect
from edge_agent.documents.languages import load
from edge_agent.documents.ledger import Claim
from edge_agent.documents.pages import application
from edge_agent.documents.print_operation import PrintOperation, Tools
from edge_agent.documents.printer import JAMMED, PAPER_OUT, PrinterStatus
from edge_agent.documents.receipt import Line, Receipt, receipt, slip
from edge_agent.documents.requests import Https, ProblemError, Requests
from edge_agent.documents.screen import Notice, Reason, Screen, Step
from edge_agent.documents.visit import WARN_S, Visit
from edge_agent.documents.words import bring, kind_name, slip_title
from edge_agent.errors import AgentError, MalformedError, RefusedError, SettingsError, UnavailableError
from edge_agent.ports import Link
from edge_agent.settings import Kiosk as KioskSettings
from edge_agent.settings import Settings

log = logging.getLogger(__name__)

WATCH_S = 5.0
"""How often the printer is asked how it is."""
WATCH_SOON_S = 1.0
"""How often while it cannot print: the citizen waits before the screen."""
RECONSIDER_S = 60.0
"""How often a paper in doubt is asked for again."""
RELEASE_AGAIN_S = 15.0
TASKS_MAX = 32
"""Questions under way at once; a visit has at most three."""
PAGE_STOPS_S = 1
TOKEN_BYTES = 16

Value = bool | int | float


class Kiosk:
    """One kiosk. `print_operation` is the job operation `print-document`.

    Args:
        settings: with the table `kiosk`.
        link: takes evidence; its handlers are registered here, so before it runs.
        https: the device API.
        devices: the hardware; as the settings say where None.

    Raises:
        SettingsError: a setting that cannot be used.
        UnavailableError: the ledger cannot be opened.
    """

    def __init__(self, settings: Settings, link: Link, https: Https, devices: Devices | None = None) -> None:
        assert settings.kiosk is not None, "a kiosk has the table [kiosk] in its settings"
        self._settings = settings.kiosk
        self._zone = _zone(settings.kiosk.timezone)
        _check(settings.kiosk)
        self._link = link
        self._devices = devices or connect(settings.kiosk, settings.device, settings.data_dir)
        self._requests = Requests(https)
        self._words = load()
        self._visit = Visit(
            kinds=tuple(settings.kiosk.kinds),
            language=settings.kiosk.language,
            idle_s=settings.kiosk.visit_idle_s,
            print_s=settings.kiosk.print_timeout_s,
        )
        self.print_operation = PrintOperation(
            Tools(
                requests=self._requests,
                printer=self._devices.printer,
                ledger=self._devices.ledger,
                link=link,
                timeout_s=settings.kiosk.print_timeout_s,
                clock=time.monotonic,
                pause=asyncio.sleep,
                progress=self._paper_moved,
            )
        )
        self._readings: dict[str, Value] = {}
        self._printer: PrinterStatus | None = None
        self._inbox: deque[m.Event] = deque()
        self._draining = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup | None = None
        self._wake = asyncio.Event()
        self._to_release: set[str] = set()
        self._release_wake = asyncio.Event()
        self._printer_back = asyncio.Event()
        self._closed = False
        self._shown = self._visit.screen
        self._version = 0
        self._boot = os.urandom(4).hex()
        self._changed = asyncio.Event()
        self._stopping = False
        self.token = os.urandom(TOKEN_BYTES).hex()
        self.serving = asyncio.Event()
        """Set when the page can be asked for."""
        self.page_port = settings.kiosk.page_port
        """The port of the page; the one that was given to it where the settings say 0."""
        link.on_connected(self._prepare)
        link.on_disconnected(self._prepare)

    @property
    def readings(self) -> Mapping[str, Value]:
        """The printer's part of the telemetry, by `contract.telemetry.METRICS`."""
        return self._readings

    # For updates, as `edge_agent.ports.Occupancy`.

    def busy(self) -> str:
        """Why nothing may be interrupted: a citizen is here, or a paper or a receipt is being printed."""
        if self._visit.screen.step != Step.WELCOME:
            return "a visit is open at the kiosk"
        if self.print_operation.document is not None:
            return "a paper is being printed"
        return "the last visit is being settled" if self._tasks else ""

    def close(self) -> None:
        """Out of service: nobody can begin a visit, and the screen says that the kiosk is being updated."""
        self._closed = True
        self._prepare()

    def open(self) -> None:
        """In service again."""
        self._closed = False
        self._prepare()

    async def printer_trouble(self) -> str:
        """What the self-test says of the printer: whether it answers, not whether it could print."""
        try:
            await self._devices.printer.status()
        except UnavailableError as error:
            return f"the printer does not answer: {error}"
        return ""

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            SettingsError: the page's address cannot be used.
        """
        try:
            with self._listener() as listener:
                async with asyncio.TaskGroup() as group:
                    self._group = group
                    group.create_task(self._serve(listener), name="kiosk-page")
                    group.create_task(self._keep_time(), name="kiosk-visit")
                    group.create_task(self._watch_printer(), name="kiosk-printer")
                    group.create_task(self._settle_papers(), name="kiosk-papers")
                    group.create_task(self._settle_payments(), name="kiosk-payments")
        finally:
            self._group = None
            self._devices.reader.deafen()
            await self._devices.printer.close()
            self._devices.ledger.close()

    # The page, as `edge_agent.documents.pages.Visits`.

    @property
    def screen(self) -> Screen:
        """What is to be shown."""
        return self._shown

    @property
    def version(self) -> str:
        """Another one for each change of what is to be shown, and for each start of the agent."""
        return f"{self._boot}-{self._version}"

    def seconds_left(self) -> int | None:
        """Until an untouched visit ends."""
        ends_at = self._shown.ends_at
        return None if ends_at is None else max(0, math.ceil(ends_at - time.monotonic()))

    def press(self, event: m.Event) -> None:
        """Somebody has pressed something; the link is looked at first: without it no money is taken."""
        self._prepare()
        self._feed(event)

    async def changed(self, version: str) -> None:
        """Returns when `version` is no longer the present one, or the kiosk stops."""
        while self.version == version and not self._stopping:
            await self._changed.wait()

    # The visit.

    def _feed(self, event: m.Event) -> None:
        """Give an event to the core, carry out what it says; events that come meanwhile follow in order."""
        self._inbox.append(event)
        if self._draining:
            return
        self._draining = True
        try:
            while self._inbox:
                self._carry_out(self._visit.handle(self._inbox.popleft(), time.monotonic()))
        finally:
            self._draining = False
        if self._visit.screen != self._shown:
            self._shown = self._visit.screen
            self._version += 1
            self._changed.set()
            self._changed = asyncio.Event()
        self._wake.set()

    def _carry_out(self, effects: list[m.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, m.Claim):
                try:
                    self._devices.ledger.claim(Claim(effect.document, effect.authorisation))
                except UnavailableError as error:
                    log.warning(
                        "payment_not_claimed", extra={"document": effect.document, "reason": str(error)}
                    )
                    self._inbox.append(m.NotKept(effect.document))
                    return
            else:
                self._do(effect)

    def _do(self, effect: m.Effect) -> None:
        requests = self._requests
        match effect:
            case m.Listen():
                self._listen()
            case m.Deafen():
                self._devices.reader.deafen()
            case m.Create(document, visit, kind, language, identification, whom):
                request = NewRequest(
                    document=document,
                    visit=visit,
                    kind=kind,
                    language=language,
                    identification=identification,
                    whom=Whom(whom),
                )
                self._ask(document, lambda: requests.create(request))
            case m.Choose(document, subject):
                self._ask(document, lambda: requests.choose(document, subject))
            case m.Confirm(document, authorisation):
                self._ask(document, lambda: requests.pay(document, authorisation))
            case m.Look(document):
                self._ask(document, lambda: requests.look(document))
            case m.Authorise(document, amount_cents):
                self._spawn(lambda: self._authorise(document, amount_cents))
            case m.Settled(document):
                self._settled(document)
            case m.Release(document):
                self._to_release.add(document)
                self._release_wake.set()
            case m.PrintReceipt():
                self._print_for(effect.visit, self._receipt(effect))
            case m.PrintSlip():
                self._print_for(effect.visit, self._slip(effect))
            case m.Forget():
                self.token = os.urandom(TOKEN_BYTES).hex()
                log.info("visit_ended")
            case m.Claim():
                raise AssertionError("claims are written in their order")
            case _:
                assert_never(effect)

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        assert self._group is not None, "the kiosk runs"
        assert len(self._tasks) < TASKS_MAX, f"{TASKS_MAX} questions are under way"
        task = self._group.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _ask(self, document: str, question: Callable[[], Awaitable[View]]) -> None:
        async def ask() -> None:
            try:
                view = await question()
            except ProblemError as error:
                log.info("cloud_refused", extra={"document": document, "code": error.code})
                self._feed(m.Refused(document, error.code))
            except AgentError as error:
                log.info("cloud_unanswered", extra={"document": document, "reason": str(error)})
                self._feed(m.Unanswered(document))
            else:
                self._feed(m.Viewed(document, view))

        self._spawn(ask)

    async def _authorise(self, document: str, amount_cents: int) -> None:
        try:
            found = await self._devices.terminal.authorise(document, amount_cents)
        except AgentError as error:
            log.warning("terminal_failed", extra={"document": document, "reason": str(error)})
            self._feed(m.TerminalLost(document))
        else:
            self._feed(m.CardAnswered(document, found.state, found.authorisation))

    def _settled(self, document: str) -> None:
        try:
            self._devices.ledger.settle(document)
        except UnavailableError as error:
            # Left standing, it is settled after the next start: the cloud says then that it has the payment.
            log.warning("payment_not_settled", extra={"document": document, "reason": str(error)})

    def _listen(self) -> None:
        try:
            self._devices.reader.listen(self._heard)
        except UnavailableError as error:
            log.warning("document_reader_unavailable", extra={"reason": str(error)})
            self._inbox.append(m.ReaderLost())

    def _heard(self, text: str | None) -> None:
        """What a reader sent; it is neither logged nor kept."""
        if text is None:
            self._feed(m.ReaderLost())
            return
        today = self._civil_time().date()
        try:
            identification = mrz.identification(mrz.parse(text, today), today)
        except MalformedError:
            self._feed(m.DocumentMisread(Notice.MISREAD))
        except RefusedError:
            self._feed(m.DocumentMisread(Notice.EXPIRED))
        else:
            self._feed(m.DocumentRead(identification, new_id()))

    def _receipt(self, effect: m.PrintReceipt) -> list[Line]:
        say = self._words[effect.language]
        said = Receipt(
            municipality=self._settings.municipality[effect.language],
            kind=kind_name(effect.kind, say),
            serial=effect.serial,
            amount_cents=effect.amount_cents,
            at=self._civil_time(),
            verify_url=self._settings.verify_url,
        )
        return receipt(said, say)

    def _slip(self, effect: m.PrintSlip) -> list[Line]:
        say = self._words[effect.language]
        title = slip_title(effect.kind, effect.whom, say)
        return slip(
            self._settings.municipality[effect.language], title, bring(effect.kind, effect.whom, say), say
        )

    def _print_for(self, visit: str, lines: list[Line]) -> None:
        async def print_lines() -> None:
            try:
                await self._devices.receipts.print_lines(lines)
            except UnavailableError as error:
                log.warning("receipt_not_printed", extra={"reason": str(error)})
                self._feed(m.ReceiptEnded(visit, printed=False))
            else:
                self._feed(m.ReceiptEnded(visit, printed=True))

        self._spawn(print_lines)

    def _paper_moved(self, document: str, outcome: PrintOutcome) -> None:
        self._prepare()
        self._feed(m.PaperMoved(document, outcome))

    def _prepare(self) -> None:
        """Tell the visit how printer and link are."""
        at_work = self.print_operation.document
        self._feed(
            m.Readiness(
                printer=_trouble(self._printer),
                connected=self._link.connected and not self._link.full,
                busy=at_work is not None and at_work != self._visit.document,
                updating=self._closed,
            )
        )

    def _civil_time(self) -> datetime:
        return datetime.now(self._zone)

    # Tasks.

    @contextmanager
    def _listener(self) -> Iterator[socket.socket]:
        address = (self._settings.page_host, self._settings.page_port)
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(address)
            except OSError as error:
                raise SettingsError(
                    f"kiosk.page_host, page_port {address}: {error.strerror}; choose a free port"
                ) from error
            listener.listen()
            self.page_port = listener.getsockname()[1]
            yield listener

    async def _serve(self, listener: socket.socket) -> None:
        app = application(
            self,
            kinds=tuple(self._settings.kinds),
            municipality=self._settings.municipality,
            new_id=new_id,
            hosts=["localhost", "127.0.0.1", self._settings.page_host],
        )
        server = _Server(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                access_log=False,
                http="h11",
                ws="none",
                server_header=False,
                timeout_graceful_shutdown=PAGE_STOPS_S,
            )
        )
        self.serving.set()  # the socket listens already
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="kiosk-http")
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self._stopping = True
            self._changed.set()  # answers the questions that wait for a change
            server.should_exit = True
            await serving
            raise

    async def _keep_time(self) -> None:
        while True:
            self._wake.clear()
            deadline = self._visit.deadline()
            if await _within(self._wake, None if deadline is None else max(0.0, deadline - time.monotonic())):
                continue
            self._feed(m.TimePassed())

    async def _watch_printer(self) -> None:
        while True:
            try:
                status: PrinterStatus | None = await self._devices.printer.status()
            except UnavailableError as error:
                status = None
                if self._printer is not None:
                    log.warning("printer_lost", extra={"reason": str(error)})
            if status is not None and self._printer is None:
                log.info("printer_found", extra={"reasons": list(status.reasons)})
                self._printer_back.set()
            self._printer = status
            self._readings = _readings(status)
            self._prepare()
            await asyncio.sleep(WATCH_S if status is not None and status.ready else WATCH_SOON_S)

    async def _settle_papers(self) -> None:
        """Papers whose end is not known are asked for when the printer is back, and from time to time."""
        await self._printer_back.wait()
        while True:
            self._printer_back.clear()
            try:
                await self.print_operation.reconsider()
            except UnavailableError as error:
                log.warning("papers_not_reconsidered", extra={"reason": str(error)})
            await _within(self._printer_back, RECONSIDER_S)

    async def _settle_payments(self) -> None:
        """Payments that the cloud does not have are let go, those of before a restart first."""
        self._to_release |= {claim.document for claim in self._devices.ledger.claims()}
        while True:
            self._release_wake.clear()
            for document in sorted(self._to_release):
                try:
                    await release(
                        document,
                        requests=self._requests,
                        terminal=self._devices.terminal,
                        ledger=self._devices.ledger,
                    )
                except AgentError as error:
                    log.warning("payment_not_released", extra={"document": document, "reason": str(error)})
                else:
                    self._to_release.discard(document)
            await _within(self._release_wake, RELEASE_AGAIN_S if self._to_release else None)


class _Server(uvicorn.Server):
    """Signals are the agent's, not the page's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _within(event: asyncio.Event, seconds: float | None) -> bool:
    """Whether `event` came in time."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def new_id() -> str:
    """A UUIDv7 of now."""
    return uuid7(time.time_ns() // 1_000_000, os.urandom(RANDOM_BYTES))


def _trouble(status: PrinterStatus | None) -> Reason | None:
    if status is None:
        return Reason.PRINTER
    if PAPER_OUT & set(status.reasons):
        return Reason.PAPER
    return None if status.ready else Reason.PRINTER


def _readings(status: PrinterStatus | None) -> dict[str, Value]:
    if status is None:
        return {"printer_ready": False}
    found: dict[str, Value] = {
        "printer_state": int(status.state),
        "printer_ready": status.ready,
        "printer_paper_empty": bool(PAPER_OUT & set(status.reasons)),
        "printer_jammed": bool(JAMMED & set(status.reasons)),
    }
    if status.toner_pct is not None:
        found["printer_toner_pct"] = status.toner_pct
    return found


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SettingsError(f"kiosk.timezone {name!r} is not known: {error}; install tzdata") from error


def _check(settings: KioskSettings) -> None:
    if settings.language not in LANGUAGES:
        raise SettingsError(f"kiosk.language {settings.language!r}: one of {', '.join(LANGUAGES)} is taken")
    missing = [language for language in LANGUAGES if language not in settings.municipality]
    if missing:
        raise SettingsError(f"kiosk.municipality has no name in {', '.join(missing)}")
    unknown = sorted(set(settings.kinds) - {kind.value for kind in Kind})
    if unknown or not settings.kinds:
        known = ", ".join(kind.value for kind in Kind)
        raise SettingsError(f"kiosk.kinds {settings.kinds}: some of {known} are taken")
    if settings.visit_idle_s <= WARN_S:
        raise SettingsError(f"kiosk.visit_idle_s {settings.visit_idle_s:g}: more than {WARN_S:g} is taken")
