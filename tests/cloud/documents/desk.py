"""The documents of one control plane with everything outside of it faked, and a citizen to play with."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from dbos import DBOS
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.documents import Document, DocumentChange
from cloud.database.workflows import running
from cloud.documents import kinds
from cloud.documents.contents import KEY_BYTES, Contents
from cloud.documents.core import Limits
from cloud.documents.counter import Tools
from cloud.documents.run import Documents
from cloud.errors import RefusedError
from contract.documents import (
    Choice,
    Evidence,
    Identification,
    Kind,
    NewRequest,
    Payment,
    PrintOutcome,
    View,
    Whom,
)
from contract.messages import Envelope, Lane, encode, open_envelope, seal
from simulators.people import Person, generate
from tests.cloud.conftest import Clock
from tests.cloud.waiting import until
from tests.ports.documents_fakes import FakePayments, FakeRegistry

CITY = generate(3)
MAN, WOMAN, CHILD, LANDLESS, STRANGER = list(CITY.persons.values())[:5]
KIOSK = "kiosk-01"
KINDS = kinds.load()


def document_id(number: int = 1) -> str:
    """The id that a kiosk would make."""
    return str(UUID(int=(1 << 100) + number))


class FakeRenderer:
    """Sets nothing in type: the paper is its data. `broken` refuses."""

    broken = False
    calls = 0

    def __call__(self, template: str, data: dict[str, Any]) -> bytes:
        self.calls += 1
        if self.broken:
            raise RefusedError("the template is broken")
        return b"%PDF " + template.encode() + json.dumps(data, sort_keys=True).encode()


class FakeSealer:
    """Each seal is another one, as with a real key."""

    broken = False
    calls = 0

    def __call__(self, pdf: bytes) -> bytes:
        self.calls += 1
        if self.broken:
            raise RefusedError("the key is gone")
        return pdf + f" sealed {self.calls}".encode()


@dataclass
class FakeJobs:
    """Print jobs by document: what the jobs' own function promises."""

    offered: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    calls: int = 0
    refuses: bool = False

    def __call__(self, device: str, document: str, sha256: str, size: int, timeout_s: float) -> str:
        self.calls += 1
        if self.refuses:
            raise RefusedError(f"{device} has too much to do")
        known = self.offered.setdefault(document, (device, sha256, size))
        assert known == (device, sha256, size), "one document, two papers"
        return f"print-{document}"


@dataclass
class Message:
    """What the broker gives of one message."""

    device: str
    ids: dict[str, str]
    envelope: Envelope
    received_at: datetime
    session: Session
    after: list[Any] = field(default_factory=list)

    def after_commit(self, do: Any) -> None:
        self.after.append(do)


class Desk:
    """One control plane's documents; `clock` is its only time."""

    def __init__(self, sessions: sessionmaker[Session], clock: Clock, name: str) -> None:
        self.sessions = sessions
        self.clock = clock
        self.registry = FakeRegistry(CITY)
        self.payments = FakePayments()
        self.render = FakeRenderer()
        self.seal = FakeSealer()
        self.jobs = FakeJobs()
        self.contents = Contents(bytes(KEY_BYTES), timedelta(days=30))
        self.chance = iter(range(1, 10_000))
        tools = Tools(
            sessions=sessions,
            contents=self.contents,
            kinds=KINDS,
            registry=self.registry,
            payments=self.payments,
            limits=Limits(),
            clock=clock,
            chance=lambda length: next(self.chance).to_bytes(length, "big"),
        )
        self.documents = Documents(
            tools,
            render=self.render,
            seal=self.seal,
            offer=self.jobs,
            public_url="https://dokumente.example",
            name=name,
        )
        self.counter = self.documents.counter

    # --- a citizen ---

    def ask(
        self,
        number: int = 1,
        *,
        person: Person = MAN,
        visit: str = "visit-1",
        kind: Kind = Kind.POSSESSION_SHEET,
        whom: Whom | None = None,
        **identification: str,
    ) -> View:
        return self.counter.request(
            KIOSK,
            NewRequest(
                document=document_id(number),
                visit=visit,
                kind=kind,
                language="sq",
                identification=of(person, **identification),
                whom=whom,
            ),
        )

    def priced(self, number: int = 1, person: Person = MAN) -> View:
        view = self.ask(number, person=person, visit=f"visit-{number}")
        return self.counter.choose(KIOSK, view.document, Choice(subject=view.subjects[0].subject))

    def paid(self, number: int = 1) -> str:
        """A paper that the kiosk may print now."""
        document = self.priced(number).document
        self.pay(document)
        self.wait(document, "offered")
        self.wait_offered(document)
        return document

    def pay(self, document: str, authorisation: str | None = None) -> View:
        authorisation = authorisation or f"auth-{document}"
        self.payments.authorise(authorisation, document, 400)
        return self.counter.pay(KIOSK, document, Payment(authorisation=authorisation))

    # --- a kiosk ---

    def evidence(self, document: str, outcome: PrintOutcome, *, device: str = KIOSK, **other: Any) -> Message:
        body = {"document": document, "job": f"print-{document}", "outcome": outcome} | other
        at = int(self.clock().timestamp() * 1000)
        payload = seal(
            encode(Evidence(**body)), boot="b", lane=Lane.EVENTS, seq=1, at=at, sent=at, historical=False
        )
        with self.sessions.begin() as session:
            message = Message(
                device,
                {"device": device, "document": document},
                open_envelope(payload),
                self.clock(),
                session,
            )
            self.documents.news.on_evidence(message)
        for do in message.after:
            do()
        return message

    # --- looking ---

    def row(self, document: str) -> Document:
        with self.sessions() as session:
            row = session.get(Document, document)
            assert row is not None
            return row

    def path(self, document: str) -> list[str]:
        rows = sa.select(DocumentChange.state).where(DocumentChange.document == document)
        with self.sessions() as session:
            return list(session.scalars(rows.order_by(DocumentChange.number)))

    def settled(self, document: str) -> Document:
        """The row once no run of this document is under way any more."""
        alive = ["PENDING", "ENQUEUED"]
        until(lambda: None if DBOS.list_workflows(workflow_id_prefix=document, status=alive) else True)
        return self.row(document)

    def wait(self, document: str, *states: str) -> Document:
        """Wait until the document is in one of `states`."""
        return until(lambda: row if (row := self.row(document)).state in states else None)

    def wait_offered(self, document: str) -> None:
        until(lambda: document in self.jobs.offered or None)

    @contextmanager
    def open(self) -> Iterator["Desk"]:
        """The control plane runs, workflows and all, until the block is left."""
        assert self.sessions.kw["bind"] is not None
        url = self.sessions.kw["bind"].url.render_as_string(hide_password=False)
        with running(url, "control-1"):
            yield self


def of(person: Person, **other: str) -> Identification:
    """What the person's card says."""
    values = {
        "personal_number": person.personal_number,
        "document_number": person.document_number,
        "date_of_birth": person.date_of_birth.isoformat(),
    }
    return Identification(**values | other)
