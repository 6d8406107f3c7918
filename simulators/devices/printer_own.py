"""An IPP printer of ours in plain Python, for machines without CUPS's; it lives in a thread."""

import asyncio
import threading
from dataclasses import dataclass
from pathlib import Path

from simulators.devices import ipp
from simulators.devices.ipp import Attribute, Request
from simulators.devices.tray import Fault, Tray

START_S = 10.0
PAGE_S = 0.05
PAGE_SLOW_S = 5.0
LOOK_S = 0.2
"""How often a printer that is held up looks whether another process has taken its flag file away."""
REQUEST_BYTES_MAX = 64_000_000
JOBS_KEPT_MAX = 500

_PRINT_JOB, _VALIDATE, _CANCEL, _GET_JOB, _GET_JOBS, _GET_PRINTER = 0x02, 0x04, 0x08, 0x09, 0x0A, 0x0B
_OK, _BAD, _NOT_POSSIBLE, _NOT_FOUND = 0x0000, 0x0400, 0x0404, 0x0406
_FORMAT, _ATTRIBUTES, _NO_SUCH_OPERATION = 0x040A, 0x040B, 0x0501
_PROCESSING, _CANCELED, _ABORTED, _COMPLETED = 5, 7, 8, 9
_TAKEN: dict[str, set[object]] = {
    "copies": {1},
    "media": {"iso_a4_210x297mm"},
    "print-scaling": {"none"},
    "sides": {"one-sided"},
}
"""Job attributes and their values that this printer can honour."""
_HOLDS = {Fault.PAPER_OUT: ("media-empty-error", "media-needed-error"), Fault.JAM: ("media-jam-error",)}


@dataclass
class _Job:
    number: int
    name: str
    data: bytes
    state: int = 3
    reason: str = "none"
    sheets: int = 0

    def attributes(self, uri: str) -> list[Attribute]:
        return [
            Attribute("job-id", ipp.INTEGER, (self.number,)),
            Attribute("job-uri", ipp.URI, (f"{uri}/{self.number}",)),
            Attribute("job-name", ipp.NAME, (self.name,)),
            Attribute("job-state", ipp.ENUM, (self.state,)),
            Attribute("job-state-reasons", ipp.KEYWORD, (self.reason,)),
            Attribute("job-impressions-completed", ipp.INTEGER, (self.sheets,)),
        ]


class OwnPrinter:
    """One printer on a free port of loopback."""

    def __init__(self, name: str, folder: Path) -> None:
        self.tray = Tray(folder)
        self.uri = ""
        self._name = name
        self._jobs: list[_Job] = []
        self._numbers = 0
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._changed = asyncio.Event()
        self._thread = threading.Thread(target=self._live, name=f"printer-{name}", daemon=True)
        self._thread.start()
        if not self._started.wait(START_S):
            raise RuntimeError(f"the printer {name} did not start within {START_S} s")

    def set_fault(self, fault: Fault | None) -> None:
        """Break it, or mend it."""
        self.tray.fault = fault
        self._loop.call_soon_threadsafe(self._changed.set)

    def stop(self) -> None:
        """Switch it off at once; it forgets its jobs."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join()

    def _live(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            server = await asyncio.start_server(self._converse, "127.0.0.1", 0, limit=2**20)
            self.uri = f"ipp://127.0.0.1:{server.sockets[0].getsockname()[1]}/ipp/print"
            mechanics = group.create_task(self._print_on())
            self._started.set()
            await self._stopped.wait()
            mechanics.cancel()
            server.close()

    async def _print_on(self) -> None:
        """The mechanics: one page after the other."""
        while True:
            job = next((job for job in self._jobs if job.state < _CANCELED), None)
            if job is None:
                await self._change(None)
                continue
            job.state, job.reason = _PROCESSING, "job-printing"
            await asyncio.sleep(PAGE_SLOW_S if self.tray.fault == Fault.SLOW else PAGE_S)
            while self.tray.fault in _HOLDS and job.state == _PROCESSING:
                await self._change(LOOK_S)
            if job.state != _PROCESSING:
                continue
            if self.tray.fault == Fault.BROKEN:
                job.state, job.reason = _ABORTED, "aborted-by-system"
                continue
            self.tray.put(job.number, job.name, job.data)
            job.sheets, job.data = 1, b""
            job.state, job.reason = _COMPLETED, "job-completed-successfully"

    async def _change(self, within_s: float | None) -> None:
        """Wait for a new job, a fault, or its end."""
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), within_s)
        except TimeoutError:
            pass  # the flag file is looked at again

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                body = await _read_http(reader)
                if body is None:
                    break
                answer = self._answer(body)
                while self.tray.fault == Fault.SILENT:
                    await self._change(LOOK_S)
                head = f"HTTP/1.1 200 OK\r\nContent-Type: application/ipp\r\nContent-Length: {len(answer)}"
                writer.write(head.encode() + b"\r\n\r\n" + answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            writer.close()

    def _answer(self, body: bytes) -> bytes:
        try:
            request = ipp.read_request(body)
        except ValueError:
            return ipp.write_answer(_BAD, 0, [])
        status, groups = self._perform(request)
        return ipp.write_answer(status, request.number, groups)

    def _perform(self, request: Request) -> tuple[int, list[tuple[int, list[Attribute]]]]:
        match request.operation:
            case n if n in (_PRINT_JOB, _VALIDATE):
                return self._take(request)
            case n if n in (_CANCEL, _GET_JOB):
                job = next((job for job in self._jobs if job.number == request.first("job-id")), None)
                if job is None:
                    return _NOT_FOUND, []
                if n == _GET_JOB:
                    return _OK, [(ipp.JOB, job.attributes(self.uri))]
                return self._cancel(job), []
            case n if n == _GET_JOBS:
                ended = request.first("which-jobs", "not-completed") == "completed"
                listed = [job for job in self._jobs if (job.state >= _CANCELED) == ended]
                listed = listed[-request.first("limit", JOBS_KEPT_MAX) :]
                return _OK, [(ipp.JOB, job.attributes(self.uri)) for job in reversed(listed)]
            case n if n == _GET_PRINTER:
                return _OK, [(ipp.PRINTER, self._attributes())]
        return _NO_SUCH_OPERATION, []

    def _take(self, request: Request) -> tuple[int, list[tuple[int, list[Attribute]]]]:
        if request.first("document-format") != "application/pdf":
            return _FORMAT, []
        if request.first("ipp-attribute-fidelity") and any(
            set(values) - _TAKEN.get(name, set()) for name, values in request.job_attributes.items()
        ):
            return _ATTRIBUTES, []
        if request.operation == _VALIDATE:
            return _OK, []
        self._numbers += 1
        job = _Job(self._numbers, str(request.first("job-name", "untitled")), request.data)
        self._jobs = [*self._jobs[-JOBS_KEPT_MAX:], job]
        self._changed.set()
        return _OK, [(ipp.JOB, job.attributes(self.uri))]

    def _cancel(self, job: _Job) -> int:
        if job.state >= _CANCELED:
            return _NOT_POSSIBLE
        job.state, job.reason, job.data = _CANCELED, "job-canceled-by-user", b""
        return _OK

    def _attributes(self) -> list[Attribute]:
        fault = self.tray.fault
        reasons = _HOLDS.get(fault, ("none",)) if fault else ("none",)
        busy = any(job.state < _CANCELED for job in self._jobs)
        state = 5 if fault in _HOLDS else 4 if busy else 3
        return [
            Attribute("printer-name", ipp.NAME, (self._name,)),
            Attribute("printer-state", ipp.ENUM, (state,)),
            Attribute("printer-state-reasons", ipp.KEYWORD, reasons),
            Attribute("printer-is-accepting-jobs", ipp.BOOLEAN, (True,)),
            Attribute("marker-names", ipp.NAME, ("Waste", "Black")),
            Attribute("marker-types", ipp.KEYWORD, ("waste-toner", "toner")),
            Attribute("marker-levels", ipp.INTEGER, (25, 75)),
        ]


async def _read_http(reader: asyncio.StreamReader) -> bytes | None:
    """The body of the next request with a Content-Length; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lengths = [
        line.split(b":", 1)[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    ]
    length = int(lengths[0]) if lengths else 0
    if length > REQUEST_BYTES_MAX:
        return None
    return await reader.readexactly(length)
