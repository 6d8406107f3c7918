"""The documents API as the kiosk asks it: shapes, refusals by their code, and answers that are none."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from contract.documents import Identification, NewRequest, Problem
from edge_agent.documents import requests
from edge_agent.documents.requests import ProblemError, Requests
from edge_agent.errors import MalformedError, UnavailableError
from tests.edge_agent.documents.worlds import Answer

NEW = NewRequest(
    document="d1",
    visit="v1",
    kind="possession-sheet",
    language="sq",
    identification=Identification(
        personal_number="1001234567", document_number="K1", date_of_birth="1990-03-14"
    ),
)
VIEW = b'{"document":"d1","kind":"possession-sheet","state":"priced","price_cents":400,"later":true}'
Verb = Callable[[Requests], Awaitable[Any]]
VERBS: list[Verb] = [
    lambda r: r.create(NEW),
    lambda r: r.choose("d1", "s1"),
    lambda r: r.pay("d1", "a1"),
    lambda r: r.look("d1"),
    lambda r: r.cancel("d1"),
    lambda r: r.paper("d1"),
]


@dataclass
class Fixed:
    """Answers the same to everything."""

    status: int
    body: bytes
    asked: list[tuple[str, str, bytes, dict[str, str]]] = field(default_factory=list)

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        self.asked.append((method, path, body, dict(headers or {})))
        return Answer(self.status, self.body)


def ask(verb: Verb, status: int, body: bytes) -> Any:
    async def run() -> Any:
        return await verb(Requests(Fixed(status, body)))

    return asyncio.run(run())


def test_the_shapes_of_the_contract() -> None:
    https = Fixed(200, VIEW)

    async def run() -> None:
        for verb in VERBS[:5]:
            view = await verb(Requests(https))
            assert (view.state, view.price_cents) == ("priced", 400)

    asyncio.run(run())
    json_type = {"content-type": "application/json"}
    assert [
        (method, path, json.loads(body or b"null"), headers) for method, path, body, headers in https.asked
    ] == [
        (
            "POST",
            "/api/v1/documents",
            {
                "document": "d1",
                "visit": "v1",
                "kind": "possession-sheet",
                "language": "sq",
                "identification": {
                    "personal_number": "1001234567",
                    "document_number": "K1",
                    "date_of_birth": "1990-03-14",
                },
            },
            json_type,
        ),
        ("POST", "/api/v1/documents/d1/subject", {"subject": "s1"}, json_type),
        ("POST", "/api/v1/documents/d1/payment", {"authorisation": "a1"}, json_type),
        ("GET", "/api/v1/documents/d1", None, {}),
        ("POST", "/api/v1/documents/d1/cancel", None, {}),
    ]


def test_a_paper_is_measured_as_it_came() -> None:
    paper = ask(VERBS[5], 200, b"%PDF")
    assert (paper.pdf, paper.size, paper.sha256) == (b"%PDF", 4, hashlib.sha256(b"%PDF").hexdigest())


def test_a_paper_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "PDF_BYTES_MAX", 3)
    with pytest.raises(MalformedError, match="too large"):
        ask(VERBS[5], 200, b"%PDF")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("problem", Problem)
def test_a_refusal_carries_its_code_and_a_pause_is_none(verb: Verb, problem: Problem) -> None:
    pauses = (Problem.REGISTRY_UNAVAILABLE, Problem.PAYMENTS_UNAVAILABLE)
    body = json.dumps({"type": "about:blank", "code": problem.value}).encode()
    if problem in pauses:
        with pytest.raises(UnavailableError):
            ask(verb, 503, body)
    else:
        with pytest.raises(ProblemError) as refused:
            ask(verb, 409, body)
        assert refused.value.code == problem


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b"oops", UnavailableError),
        (502, b"<html>", UnavailableError),
        (404, b"<html>", ProblemError),
        (400, b'{"code": 7}', ProblemError),
        (200, b"<html>", MalformedError),
        (200, b'{"document": "d1"}', MalformedError),
        (200, b"\xff\xfe", MalformedError),
    ],
)
def test_answers_that_are_none(status: int, body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        ask(VERBS[3], status, body)
