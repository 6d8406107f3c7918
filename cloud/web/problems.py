"""What callers get when something goes wrong: problem documents (RFC 9457) under /api, pages elsewhere."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from cloud.errors import CloudError, MalformedError, RefusedError, UnavailableError
from cloud.web.languages import N_
from cloud.web.pages import render

RETRY_AFTER_S = 5
FIELDS_SHOWN_MAX = 10

_TEXTS = {
    400: (N_("This cannot be understood"), N_("Go back, check what you entered and try again.")),
    401: (N_("Please sign in"), N_("This page is for staff. Sign in and try again.")),
    403: (
        N_("This is not allowed"),
        N_("Go back and reload the page. If it stays so, ask an administrator."),
    ),
    404: (N_("Not found"), N_("There is no such page. Check the address or start from the first page.")),
    405: (N_("This is not possible here"), N_("Go back and use the buttons of the page.")),
    409: (
        N_("This is not possible now"),
        N_("Something has changed meanwhile. Reload the page and look again."),
    ),
    413: (N_("That is too large"), N_("Send less, or in several parts.")),
    429: (N_("Too many attempts"), N_("Wait a little and try again.")),
    500: (N_("Something went wrong"), N_("It was our fault and has been recorded. Try again in a minute.")),
    503: (N_("Not available now"), N_("A service that is needed does not answer. Try again in a minute.")),
}


class ProblemError(CloudError):
    """A refusal with its HTTP status and, for programs, a stable `code`; `detail` says what to do."""

    def __init__(
        self, status: int, detail: str, *, code: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code
        self.headers = headers or {}


def document(
    status: int,
    detail: str | None = None,
    *,
    code: str | None = None,
    headers: dict[str, str] | None = None,
    **members: Any,
) -> JSONResponse:
    """A problem document; its type is `about:blank`, so its title is the status's own phrase."""
    content: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        content["detail"] = detail
    if code:
        content["code"] = code
    content.update(members)
    return JSONResponse(content, status, headers=headers, media_type="application/problem+json")


def respond(
    request: Request,
    status: int,
    detail: str | None = None,
    *,
    code: str | None = None,
    headers: dict[str, str] | None = None,
    **members: Any,
) -> Response:
    """A problem document for programs, a page in the reader's language for people.

    `detail` is for programs only: it is English. People get the sentence that belongs to the status.
    """
    if not hasattr(request.app.state, "pages") or request.url.path.startswith("/api/"):
        return document(status, detail, code=code, headers=headers, **members)
    title, advice = _TEXTS.get(status, _TEXTS[500 if status >= 500 else 400])
    request.scope["path_params"] = _known_language_only(request)
    page = render(request, "error.html", status=status, code=status, title=title, advice=advice)
    page.headers.update(headers or {})
    return page


def unavailable(request: Request, detail: str = "the database does not answer; try again") -> Response:
    """503, with the time after which to try again."""
    return respond(request, 503, detail, headers={"Retry-After": str(RETRY_AFTER_S)})


def install(app: FastAPI) -> None:
    """Let `app` answer the errors that are raised on purpose this way."""
    for kind, handler in {
        HTTPException: _http,
        RequestValidationError: _invalid,
        ProblemError: _problem,
        RefusedError: _refused,
        MalformedError: _malformed,
        UnavailableError: _unavailable,
    }.items():
        app.add_exception_handler(kind, handler)


def _known_language_only(request: Request) -> dict[str, Any]:
    lang = request.path_params.get("lang")
    known = request.app.state.pages.languages
    if lang is None:
        first = request.url.path.split("/")[1]
        return {"lang": first} if first in known else {}
    return {"lang": lang} if lang in known else {}


async def _http(request: Request, error: Any) -> Response:
    detail = error.detail if error.detail != HTTPStatus(error.status_code).phrase else None
    return respond(request, error.status_code, detail, headers=dict(error.headers or {}))


async def _invalid(request: Request, error: Any) -> Response:
    """Says which fields were wrong and why, but never repeats what they held."""
    errors = [
        {"field": ".".join(str(part) for part in found["loc"]), "message": found["msg"]}
        for found in error.errors()[:FIELDS_SHOWN_MAX]
    ]
    sentence = "; ".join(f"{found['field']}: {found['message']}" for found in errors)
    return respond(request, 422, sentence, code="malformed", errors=errors)


async def _problem(request: Request, error: Any) -> Response:
    return respond(request, error.status, error.detail, code=error.code, headers=error.headers)


async def _refused(request: Request, error: Any) -> Response:
    return respond(request, 409, str(error))


async def _malformed(request: Request, error: Any) -> Response:
    return respond(request, 400, str(error), code="malformed")


async def _unavailable(request: Request, error: Any) -> Response:
    return unavailable(request, str(error))
