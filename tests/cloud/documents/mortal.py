"""A control plane's documents in a process of their own, which can be killed at a named point.

`main(FOLDER, DATABASE, REGISTRY, PAYMENTS, POINT)`, begun by `tests.mortals`: plays one visit as far as
it goes, from wherever the last process left it, and ends with 0 when the paper is paid for. At POINT (`-` for
none) the process kills itself as a power cut would. Everything but the services is real, jobs included.
"""

import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy as sa
from sqlalchemy.orm import sessionmaker

from cloud.database.engine import connect
from cloud.database.models.devices import Device
from cloud.database.models.jobs import Job
from cloud.database.workflows import running
from cloud.documents import kinds
from cloud.documents.contents import Contents, load_key
from cloud.documents.core import Limits
from cloud.documents.counter import Tools
from cloud.documents.payments_http import PaymentsHttp
from cloud.documents.registry_http import RegistryHttp
from cloud.documents.render_typst import TypstRenderer
from cloud.documents.run import Documents
from cloud.jobs.service import Jobs
from contract.documents import Choice, NewRequest, Payment, PrintJob, PrintOutcome
from tests.cloud.documents import papers
from tests.cloud.documents.desk import CITY, KIOSK, Desk, document_id, of
from tests.cloud.waiting import until

POINTS = (
    "begin before 1",
    "render before",
    "render after",
    "seal before",
    "seal after",
    "offer before",
    "offer after",
    "capture before",
    "capture after",
    "begin before 2",
)
"""Where the process is killed. A run is begun twice: after the payment, and after the evidence."""
DOCUMENT = document_id()


def mortal(point: str, name: str, do: Callable[..., Any]) -> Callable[..., Any]:
    """`do`, but the process dies before or after it (for the nth time) when that is the point."""
    calls = 0

    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if point in (f"{name} before", f"{name} before {calls}"):
            os.kill(os.getpid(), signal.SIGKILL)
        result = do(*arguments, **named)
        if point == f"{name} after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return wrapped


class Mortal(Desk):
    """A desk with real tools."""

    def __init__(self, folder: Path, database: str, registry: str, payments: str, point: str) -> None:
        engine = connect(database)
        self.sessions = sessionmaker(engine, expire_on_commit=False)
        self.clock = lambda: datetime.now(UTC)  # type: ignore[assignment] # the real one
        jobs = Jobs(sessions=self.sessions, publish=lambda *_: None, clock=self.clock)  # type: ignore[arg-type] # nobody listens

        def offer(device: str, document: str, sha256: str, size: int, timeout_s: float) -> str:
            job = PrintJob(document=document, sha256=sha256, size=size)
            body = {"operation": job.operation, "document": document, "sha256": sha256, "size": size}
            with self.sessions.begin() as session:
                jobs.create(
                    session,
                    f"print-{document}",
                    body,
                    [device],
                    in_progress_timeout_s=timeout_s,
                    queued_expiry_s=timeout_s,
                )
            return f"print-{document}"

        service = PaymentsHttp(payments)
        service.capture = mortal(point, "capture", service.capture)  # type: ignore[method-assign] # on purpose
        self.documents = Documents(
            Tools(
                sessions=self.sessions,
                contents=Contents(load_key(folder), timedelta(days=30)),
                kinds=kinds.load(),
                registry=RegistryHttp(registry),
                payments=service,
                limits=Limits(),
                clock=self.clock,
                chance=os.urandom,
            ),
            render=mortal(point, "render", TypstRenderer()),
            seal=mortal(point, "seal", papers.sealer(folder / "pki")),
            offer=mortal(point, "offer", offer),
            public_url="https://dokumente.example",
        )
        start = mortal(point, "begin", self.documents.start)
        self.documents.start = start  # type: ignore[method-assign] # on purpose
        self.documents.counter._begin = start
        self.documents.news._begin = start
        self.counter = self.documents.counter


def visit(desk: Mortal, payments: str) -> None:
    """One visit from the beginning; each question is one that a kiosk may ask again."""
    with desk.sessions.begin() as session:
        if session.get(Device, KIOSK) is None:
            session.add(Device(device=KIOSK, kind="kiosk", site="Hall", registered_at=desk.clock()))
    new = NewRequest(
        document=DOCUMENT,
        visit="v",
        kind="possession-sheet",
        language="sq",
        identification=of(next(iter(CITY.persons.values()))),
    )
    view = desk.counter.request(KIOSK, new)
    if view.state == "identified":
        view = desk.counter.choose(KIOSK, DOCUMENT, Choice(subject=view.subjects[0].subject))
    if view.state == "priced":
        question = {"reference": DOCUMENT, "amount_cents": view.price_cents, "wait_s": 0}
        asked = httpx.post(f"{payments}/terminals/{KIOSK}/authorisations", json=question).json()
        httpx.post(f"{payments}/terminals/{KIOSK}/card", json={"outcome": "approve"})
        desk.counter.pay(KIOSK, DOCUMENT, Payment(authorisation=asked["authorisation"]))
    until(lambda: True if desk.row(DOCUMENT).offered else None)
    until(lambda: _has_job(desk) or None)
    if desk.row(DOCUMENT).state == "offered":
        desk.counter.paper(KIOSK, DOCUMENT)
        desk.evidence(DOCUMENT, PrintOutcome.PRINTING)
    desk.evidence(DOCUMENT, PrintOutcome.PRINTED)
    until(lambda: True if desk.row(DOCUMENT).state == "closed" else None)


def _has_job(desk: Mortal) -> bool:
    with desk.sessions() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(Job)) == 1


def main(folder: str, database: str, registry: str, payments: str, point: str) -> None:
    desk = Mortal(Path(folder), database, registry, payments, point)
    with running(database, "control-1"):
        desk.documents.reconcile()
        visit(desk, payments)
