"""Documents for kiosks, on the device listener: shapes as in `contract.documents`, refusals as problems.

Every request is idempotent by the document's id, which the kiosk makes.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import for_reading
from cloud.database.models.devices import Device
from cloud.documents.counter import Counter
from cloud.documents.problems import DocumentProblemError
from cloud.web.listener import peer
from cloud.web.problems import ProblemError
from contract import documents as contract

PATH = "/api/v1/documents"
KIOSK = "kiosk"

T = TypeVar("T", bound=msgspec.Struct)

DocumentId = Annotated[
    str,
    Path(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", description="A UUID."),
]
Language = Literal["sq", "sr-Latn", "sr-Cyrl", "en"]


class Identification(BaseModel):
    """What a document reader saw."""

    personal_number: str = Field(pattern=r"^[0-9]{10}$")
    document_number: str = Field(pattern=r"^[A-Z0-9]{1,20}$")
    date_of_birth: str = Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="ISO 8601.")


class NewRequest(BaseModel):
    """A request for one paper; `visit` is an opaque id of this visit."""

    document: str = Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
    visit: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    kind: str = Field(min_length=1, max_length=32)
    language: Language
    identification: Identification
    whom: contract.Whom | None = Field(default=None, description="Narrows what is offered.")


class Choice(BaseModel):
    """Which of the offered subjects the paper is about."""

    subject: str = Field(min_length=1, max_length=80)


class Payment(BaseModel):
    """The terminal's authorisation; empty where it costs nothing."""

    authorisation: str = Field(max_length=64)


class Subject(BaseModel):
    """One thing that the paper can be about."""

    subject: str
    label: str


class PreviewRow(BaseModel):
    """One line of what the paper will say."""

    label: str
    value: str


class View(BaseModel):
    """How a request stands."""

    document: str
    kind: str
    state: str
    subjects: list[Subject] = []
    preview: list[PreviewRow] = []
    price_cents: int | None = None
    serial: str | None = None
    problem: str | None = None


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    402: {"description": "The payment is not confirmed."},
    403: {"description": "Nobody is identified, the visit is locked, or it is not allowed."},
    404: {"description": "This kiosk has no such request."},
    409: {"description": "The state of the request does not allow it."},
    503: {"description": "The registry or the payment service does not answer."},
}
_PDF: dict[int | str, dict[str, Any]] = {200: {"content": {"application/pdf": {}}, "description": "The PDF."}}


def router(counter: Counter, sessions: sessionmaker[Session]) -> APIRouter:
    """The routes for kiosks; any other device is refused."""
    routes = APIRouter(responses=_PROBLEMS)
    reading = for_reading(sessions)

    def kiosk(request: Request) -> str:
        device = peer(request)
        with reading() as session:
            row = session.get(Device, device)
        if row is None or row.kind != KIOSK:
            raise ProblemError(403, "only kiosks may ask for documents", code=contract.Problem.NOT_ALLOWED)
        return device

    @routes.post(PATH)
    def request_document(request: Request, new: NewRequest) -> View:
        """Open a request and identify who asks."""
        return _answer(lambda: counter.request(kiosk(request), _to(contract.NewRequest, new)))

    @routes.post(PATH + "/{document}/subject")
    def choose_subject(request: Request, document: DocumentId, choice: Choice) -> View:
        """Choose what the paper is about; the answer has the price and a preview."""
        return _answer(lambda: counter.choose(kiosk(request), document, _to(contract.Choice, choice)))

    @routes.post(PATH + "/{document}/payment")
    def confirm_payment(request: Request, document: DocumentId, payment: Payment) -> View:
        """Tell of the citizen's payment; the paper is made now."""
        return _answer(lambda: counter.pay(kiosk(request), document, _to(contract.Payment, payment)))

    @routes.get(PATH + "/{document}")
    def show_document(request: Request, document: DocumentId) -> View:
        """How the request stands."""
        return _answer(lambda: counter.view(kiosk(request), document))

    @routes.get(PATH + "/{document}/pdf", response_class=Response, responses=_PDF)
    def fetch_pdf(request: Request, document: DocumentId) -> Response:
        """The sealed PDF, for the kiosk that prints it and only until its job has ended."""
        try:
            pdf = counter.paper(kiosk(request), document)
        except DocumentProblemError as error:
            raise _problem(error) from None
        return Response(pdf, media_type="application/pdf", headers={"Cache-Control": "no-store"})

    @routes.post(PATH + "/{document}/cancel")
    def cancel_document(request: Request, document: DocumentId) -> View:
        """End a request that is not paid."""
        return _answer(lambda: counter.cancel(kiosk(request), document))

    return routes


def _to(kind: type[T], body: BaseModel) -> T:
    return msgspec.convert(body.model_dump(), kind)


def _answer(ask: Callable[[], contract.View]) -> View:
    try:
        return View.model_validate(msgspec.to_builtins(ask()))
    except DocumentProblemError as error:
        raise _problem(error) from None


def _problem(error: DocumentProblemError) -> ProblemError:
    return ProblemError(error.status, str(error), code=error.problem.value)
