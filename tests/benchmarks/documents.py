"""From the accepted payment to the bytes that a printer at hand would get, beside setting and sealing alone.

The whole control plane of documents runs, with its durable runs, database, jobs, Typst and pyHanko; the
registry and the payment service answer at once, and the printer fetches the paper as soon as it is offered.
The way over the link is not in it: that is measured by the city itself.
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.orm import sessionmaker

from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.models.devices import Device
from cloud.documents import possession_sheet
from cloud.documents.render_typst import TypstRenderer
from cloud.jobs.service import Jobs
from contract.documents import PrintJob, PrintOutcome
from tests.benchmarks.report import Measurement
from tests.cloud.documents import papers
from tests.cloud.documents.desk import KINDS, KIOSK, Desk, document_id

DOCUMENTS = 100
WARM_UP = 5
AT_ONCE = 2
ALONE = 50
WAIT_S = 30.0
P50_TARGET_MS = 300
P99_TARGET_MS = 1000
RATE_TARGET = 8


class Printer:
    """A kiosk with a printer at hand: it fetches the paper as soon as there is a job."""

    def __init__(self, desk: Desk, jobs: Jobs) -> None:
        self.desk = desk
        self.jobs = jobs
        self.offered: dict[str, threading.Event] = {}

    def offer(self, device: str, document: str, sha256: str, size: int, timeout_s: float) -> str:
        """As main.py offers, and the printer hears of it after the commit."""
        job = PrintJob(document=document, sha256=sha256, size=size)
        body = {"operation": job.operation, "document": document, "sha256": sha256, "size": size}
        with self.desk.sessions.begin() as session:
            self.jobs.create(
                session,
                f"print-{document}",
                body,
                [device],
                in_progress_timeout_s=timeout_s,
                queued_expiry_s=timeout_s,
            )
        self.offered[document].set()
        return f"print-{document}"

    def print_one(self, number: int) -> float:
        """Milliseconds from the payment to the bytes; identifying and choosing are done before."""
        document = self.desk.priced(number).document
        self.offered[document] = threading.Event()
        begun = time.perf_counter()
        self.desk.pay(document)
        assert self.offered[document].wait(WAIT_S), f"document {document} was not offered in {WAIT_S} s"
        pdf = self.desk.counter.paper(KIOSK, document)
        took = (time.perf_counter() - begun) * 1000
        assert pdf.startswith(b"%PDF")
        self.desk.evidence(document, PrintOutcome.PRINTED)
        with self.desk.sessions.begin() as session:
            self.jobs.cancel(session, f"print-{document}")  # the kiosk would end it; it must not pile up
        return took


@contextmanager
def hall() -> Iterator[Printer]:
    """A control plane in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        engine = connect(f"sqlite:///{Path(folder) / 'fleet.db'}")
        complete().create_all(engine)
        desk = Desk(sessionmaker(engine, expire_on_commit=False), lambda: datetime.now(UTC), folder)  # type: ignore[arg-type] # the real clock
        with desk.sessions.begin() as session:
            session.add(Device(device=KIOSK, kind="kiosk", site="Hall", registered_at=datetime.now(UTC)))
        jobs = Jobs(sessions=desk.sessions, publish=lambda *_a, **_k: None, clock=lambda: datetime.now(UTC))
        printer = Printer(desk, jobs)
        desk.documents._render = TypstRenderer()
        desk.documents._seal = papers.sealer(Path(folder) / "pki")
        desk.documents._offer = printer.offer
        with desk.open():
            yield printer
            for number in range(1, WARM_UP + 2 * DOCUMENTS + 1):
                desk.wait(document_id(number), "closed")
        engine.dispose()


def alone(do: Callable[[], object]) -> float:
    """The median of one thing done again and again, in milliseconds."""
    took = []
    for _ in range(ALONE):
        begun = time.perf_counter()
        do()
        took.append((time.perf_counter() - begun) * 1000)
    return statistics.median(took)


def run() -> list[Measurement]:
    """Latency one after the other, rate with several at once, and what Typst and pyHanko take of it."""
    render = TypstRenderer()
    data = possession_sheet.page(papers.SHEET, papers.issue(), KINDS.by_name["possession-sheet"], KINDS)
    with tempfile.TemporaryDirectory() as folder:
        seal = papers.sealer(Path(folder))
        pdf = render("possession-sheet", data)
        seal(pdf)
        render_ms, seal_ms = alone(lambda: render("possession-sheet", data)), alone(lambda: seal(pdf))
    with hall() as printer:
        for number in range(1, WARM_UP + 1):
            printer.print_one(number)
        first = WARM_UP + 1
        took = sorted(printer.print_one(number) for number in range(first, first + DOCUMENTS))
        begun = time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as kiosks:
            list(kiosks.map(printer.print_one, range(first + DOCUMENTS, first + 2 * DOCUMENTS)))
        rate = DOCUMENTS / (time.perf_counter() - begun)
    made_ms = render_ms + seal_ms
    p50, p99 = statistics.median(took), took[int(len(took) * 0.99) - 1]
    both = "render and seal alone"
    return [
        Measurement("document_render", render_ms, "ms", "", None, None, "", None),
        Measurement("document_seal", seal_ms, "ms", "", None, None, "", None),
        Measurement(
            "document_p50",
            p50,
            "ms",
            both,
            made_ms,
            p50 / made_ms,
            f"p50 <= {P50_TARGET_MS} ms",
            p50 <= P50_TARGET_MS,
        ),
        Measurement(
            "document_p99",
            p99,
            "ms",
            both,
            made_ms,
            p99 / made_ms,
            f"p99 <= {P99_TARGET_MS} ms",
            p99 <= P99_TARGET_MS,
        ),
        Measurement(
            "document_rate",
            rate,
            "1/s",
            f"{both}, one after the other",
            1000 / made_ms,
            rate * made_ms / 1000,
            f"value >= {RATE_TARGET}",
            rate >= RATE_TARGET,
        ),
    ]
