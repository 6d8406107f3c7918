"""The world around a kiosk for tests: a cloud in memory behind HTTPS, and a link that remembers."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from contract.documents import (
    DOCUMENT,
    Choice,
    Evidence,
    NewRequest,
    Payment,
    PreviewRow,
    PrintJob,
    PrintOutcome,
    Subject,
    View,
)
from contract.jobs import Execution, Status
from contract.messages import Lane
from edge_agent.errors import RefusedError, UnavailableError

PDF = b"%PDF-1.7 sealed " + bytes(range(256)) * 150
PERSON = ("1001234567", "K1234567", "1990-03-14")
SUBJECTS = [
    Subject(subject="UL-71914059-00123", label="00123, Prishtinë, 3 parcela"),
    Subject(subject="UL-71914059-00987", label="00987, Matiçan, 1 parcelë"),
]


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes


@dataclass
class MemoryCloud:
    """The documents API in memory, as `edge_agent.documents.requests.Https`.

    `down`: does not answer. `deaf`: does what it is asked and does not answer. `refuse`: answers with this
    problem code. Its documents live by the contract's table.
    """

    down: bool = False
    deaf: bool = False
    refuse: str | None = None
    subjects: list[Subject] = field(default_factory=lambda: list(SUBJECTS))
    price_cents: int = 400
    views: dict[str, View] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    paid: dict[str, str] = field(default_factory=dict)
    pdf: bytes = PDF

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Answer as the device listener does."""
        self.asked.append((method, path))
        if self.down:
            raise UnavailableError("no answer")
        answer = self._answer(method, path, body)
        if self.deaf:
            raise UnavailableError("the answer was lost")
        return answer

    def move(self, document: str, *events: str, **changes: Any) -> None:
        """The workflow goes on: `events` of the contract's table."""
        view = self.views[document]
        for event in events:
            view = msgspec.structs.replace(view, state=DOCUMENT.apply(view.state, event))
        self.views[document] = msgspec.structs.replace(view, **changes)

    def offer(self, document: str) -> Execution:
        """Render, seal and offer; the print job of it."""
        self.move(document, "render", "seal", "offer", serial="PR-2026-000123")
        return print_job(document, self.pdf)

    def _answer(self, method: str, path: str, body: bytes) -> Answer:
        if self.refuse is not None:
            return _problem(409, self.refuse)
        tail = path.removeprefix("/api/v1/documents").strip("/").split("/")
        if tail == [""]:
            return self._create(msgspec.json.decode(body, type=NewRequest))
        document, verb = tail[0], (tail[1] if len(tail) > 1 else "")
        if document not in self.views:
            return _problem(404, "not-found")
        match verb:
            case "subject":
                return self._choose(document, msgspec.json.decode(body, type=Choice).subject)
            case "payment":
                return self._pay(document, msgspec.json.decode(body, type=Payment).authorisation)
            case "cancel":
                if self.views[document].state not in ("requested", "identified", "priced"):
                    return _problem(409, "wrong-state")
                self.move(document, "void")
            case "pdf":
                return Answer(200, self.pdf)
        return self._view(document)

    def _create(self, request: NewRequest) -> Answer:
        who = request.identification
        if (who.personal_number, who.document_number, who.date_of_birth) != PERSON:
            return _problem(403, "not-identified")
        self.views.setdefault(
            request.document,
            View(document=request.document, kind=request.kind, state="identified", subjects=self.subjects),
        )
        return self._view(request.document)

    def _choose(self, document: str, subject: str) -> Answer:
        if subject not in {offered.subject for offered in self.subjects}:
            return _problem(422, "unknown-subject")
        if self.views[document].state == "identified":
            self.move(
                document,
                "price",
                price_cents=self.price_cents,
                preview=[
                    PreviewRow(label="Pronari", value="Arta Krasniqi"),
                    PreviewRow(label="Zona kadastrale", value="Prishtinë"),
                    PreviewRow(label="Sipërfaqja", value="1.204 m²"),
                ],
            )
        return self._view(document)

    def _pay(self, document: str, authorisation: str) -> Answer:
        if self.views[document].state == "priced":
            self.paid[document] = authorisation
            self.move(document, "authorise")
        return self._view(document)

    def _view(self, document: str) -> Answer:
        return Answer(200, msgspec.json.encode(self.views[document]))


def _problem(status: int, code: str) -> Answer:
    return Answer(status, json.dumps({"type": "about:blank", "status": status, "code": code}).encode())


def print_job(document: str, pdf: bytes = PDF) -> Execution:
    """The execution that asks for a print."""
    order = PrintJob(document=document, sha256=hashlib.sha256(pdf).hexdigest(), size=len(pdf))
    return Execution(
        job_id=f"print-{document}",
        thing_name="kiosk-01",
        status=Status.IN_PROGRESS,
        version_number=2,
        queued_at=1,
        last_updated_at=1,
        job_document=msgspec.to_builtins(order),
    )


@dataclass
class MemoryLink:
    """The link as a way sees it: remembers what was sent; `full` refuses."""

    connected: bool = True
    full: bool = False
    sent: list[tuple[str, dict[str, str], msgspec.Struct]] = field(default_factory=list)
    boot: str = "0190-boot"
    handlers: list[Callable[[], None]] = field(default_factory=list)

    def stamp(self) -> int:
        """Documents measure nothing."""
        raise AssertionError("documents measure nothing")

    async def send(
        self, topic_name: str, ids: Mapping[str, str], body: msgspec.Struct, *, lane: Lane, must: bool
    ) -> None:
        """Keep `body`."""
        assert must
        assert lane == Lane.EVENTS
        if self.full:
            raise RefusedError("the outbox is full")
        self.sent.append((topic_name, dict(ids), body))

    def publish(self, topic_name: str, ids: Mapping[str, str], payload: bytes, qos: int = 1) -> None:
        """Documents publish nothing without keeping it."""
        raise AssertionError(topic_name)

    def publish_live(self, topic_name: str, ids: Mapping[str, str], body: msgspec.Struct) -> None:
        """Documents publish nothing without keeping it."""
        raise AssertionError(topic_name)

    def subscribe(self, topic_name: str, handler: Callable[[dict[str, str], bytes], None]) -> None:
        """Documents listen to no topic of their own."""
        raise AssertionError(topic_name)

    def on_connected(self, handler: Callable[[], None]) -> None:
        """Remembered."""
        self.handlers.append(handler)

    def on_disconnected(self, handler: Callable[[], None]) -> None:
        """Remembered."""
        self.handlers.append(handler)

    def outcomes(self, document: str) -> list[PrintOutcome]:
        """What was told of a paper, in order."""
        return [
            body.outcome
            for name, ids, body in self.sent
            if name == "evidence" and ids == {"document": document} and isinstance(body, Evidence)
        ]
