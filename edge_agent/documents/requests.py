"""What the kiosk asks of the cloud about documents: the device API of `contract.documents`, over HTTPS."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import msgspec

from contract.documents import Choice, NewRequest, Payment, Problem, View
from contract.messages import encode
from edge_agent.errors import MalformedError, RefusedError, UnavailableError

ROOT = "/api/v1/documents"
PDF_BYTES_MAX = 32_000_000


class Answer(Protocol):
    """An HTTP answer; names of headers in lower case."""

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def body(self) -> bytes:
        """The whole body."""


class Https(Protocol):
    """`edge_agent.link.https.DeviceHttps`, as this way sees it."""

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask once.

        Raises:
            UnavailableError: no answer in time.
            MalformedError: an answer that is too large.
        """


class ProblemError(RefusedError):
    """The cloud refused, and said why: `code` is one of `contract.documents.Problem` or another word."""

    def __init__(self, code: str, about: str) -> None:
        super().__init__(f"{about}: the cloud refused: {code}")
        self.code = code


@dataclass(frozen=True)
class Paper:
    """A sealed PDF in memory, and what was measured of it."""

    pdf: bytes
    sha256: str
    size: int


class _ProblemDocument(msgspec.Struct, frozen=True):
    code: str = ""


class Requests:
    """The documents API.

    Every verb raises ProblemError when the cloud refuses for a reason, UnavailableError when it does not
    answer or cannot now, MalformedError when its answer cannot be understood. Each is safe to repeat.
    """

    def __init__(self, https: Https) -> None:
        self._https = https

    async def create(self, request: NewRequest) -> View:
        """Ask for a document and identify the citizen."""
        return await self._view("POST", ROOT, encode(request))

    async def choose(self, document: str, subject: str) -> View:
        """Choose what the paper is about; the answer has price and preview."""
        return await self._view("POST", f"{ROOT}/{document}/subject", encode(Choice(subject=subject)))

    async def pay(self, document: str, authorisation: str) -> View:
        """Hand over the terminal's authorisation; the document is made from here on."""
        return await self._view(
            "POST", f"{ROOT}/{document}/payment", encode(Payment(authorisation=authorisation))
        )

    async def look(self, document: str) -> View:
        """How far it is."""
        return await self._view("GET", f"{ROOT}/{document}")

    async def cancel(self, document: str) -> View:
        """Give it up, if it can still be given up."""
        return await self._view("POST", f"{ROOT}/{document}/cancel")

    async def paper(self, document: str) -> Paper:
        """The sealed PDF, while its print job has not ended."""
        body = await self._ask("GET", f"{ROOT}/{document}/pdf", b"")
        if len(body) > PDF_BYTES_MAX:
            raise MalformedError(f"document {document}: a paper of {len(body)} bytes is too large")
        return Paper(pdf=body, sha256=hashlib.sha256(body).hexdigest(), size=len(body))

    async def _view(self, method: str, path: str, body: bytes = b"") -> View:
        answer = await self._ask(method, path, body)
        try:
            return msgspec.json.decode(answer, type=View)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedError(f"{method} {path}: the answer is no view: {error}") from error

    async def _ask(self, method: str, path: str, body: bytes) -> bytes:
        headers = {"content-type": "application/json"} if body else {}
        answer = await self._https.request(method, path, body, headers)
        if answer.status < HTTPStatus.BAD_REQUEST:
            return answer.body
        code = _code(answer.body)
        if code in (Problem.REGISTRY_UNAVAILABLE, Problem.PAYMENTS_UNAVAILABLE) or not code:
            about = f"{method} {path}: {answer.status} {code}".rstrip()
            if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or code:
                raise UnavailableError(about)
            raise ProblemError(f"http-{answer.status}", f"{method} {path}")
        raise ProblemError(code, f"{method} {path}")


def _code(body: bytes) -> str:
    """`code` of a problem document (RFC 9457); empty where there is none."""
    try:
        return msgspec.json.decode(body, type=_ProblemDocument).code
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
