"""Changes come from our own pages only: the token in every form, and no other site's requests."""

import hmac
from urllib.parse import parse_qs, urlsplit

from fastapi import Request
from starlette.types import Message, Receive

from cloud.web.problems import ProblemError

CSRF_FIELD = "csrf"
CSRF_HEADER = "x-csrf-token"


def csrf_of(token: str) -> str:
    """The CSRF token of a session: from its token there is a way to it, and none back."""
    return hmac.new(token.encode(), b"csrf", "sha256").hexdigest()


def refuse_foreign(request: Request) -> None:
    """A browser says where a change comes from; another site's is refused even without a session.

    Raises:
        ProblemError: 403, it comes from another site.
    """
    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if foreign or request.headers.get("sec-fetch-site") == "cross-site":
        raise ProblemError(403, "this request came from another site", code="foreign-origin")


async def check_csrf(request: Request, wanted: str) -> Receive:
    """Hold the header, or the form's field, against the session; gives the body again to whoever reads it.

    Raises:
        ProblemError: 403, it is another one or none.
    """
    given = request.headers.get(CSRF_HEADER)
    receive = request.receive
    if given is None and request.headers.get("content-type", "").startswith(
        "application/x-www-form-urlencoded"
    ):
        body = await request.body()
        given = parse_qs(body.decode("latin-1")).get(CSRF_FIELD, [""])[0]
        receive = _again(body, request.receive)
    if given is None or not hmac.compare_digest(given.encode(), wanted.encode()):
        raise ProblemError(403, "the CSRF token is missing or old; reload the page", code="csrf")
    return receive


def _again(body: bytes, rest: Receive) -> Receive:
    given = False

    async def receive() -> Message:
        nonlocal given
        if given:
            return await rest()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
