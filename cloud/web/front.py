"""The first page, the choice of a language, and the answer to "are you well?"."""

from collections.abc import Callable, Mapping

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from cloud.web.addresses import local_address
from cloud.web.pages import LANGUAGE_COOKIE, Pages, language_of
from cloud.web.public import public

LANGUAGE_AGE_S = 365 * 24 * 3600


def router(health: Mapping[str, Callable[[], bool]], *, secure: bool) -> APIRouter:
    """The addresses that belong to no way. `health` names the parts that must be up, with a quick check."""
    routes = APIRouter()

    @routes.get("/")
    @public
    def first_page(request: Request) -> Response:
        return RedirectResponse(
            f"/{language_of(request).code}/captions", 303, headers={"Vary": "Accept-Language, Cookie"}
        )

    @routes.post("/language")
    @public
    def choose_language(request: Request, language: str = Form(), next: str = Form("/")) -> Response:  # noqa: A002 - the name of the field
        answer = RedirectResponse(local_address(next, "/"), 303)
        pages: Pages = request.app.state.pages
        if language in pages.languages:
            answer.set_cookie(
                LANGUAGE_COOKIE,
                language,
                max_age=LANGUAGE_AGE_S,
                samesite="lax",
                secure=secure,
                httponly=True,
            )
        return answer

    @routes.get("/healthz")
    @public
    def healthz() -> Response:
        """200 while every part is up, else 503; names the parts, tells nothing else."""
        parts = {name: check() for name, check in health.items()}
        well = all(parts.values())
        return JSONResponse({"ok": well, "parts": parts}, 200 if well else 503)

    return routes
