"""The start page's application; it runs in the city's process and listens on the loopback only."""

from pathlib import Path
from urllib.parse import quote, urlsplit

import jinja2
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from cloud.web import languages
from cloud.web.languages import Language
from cloud.web.pages import STATIC
from contract.languages import LANGUAGES, NAMES
from simulators.start_page import wording
from simulators.start_page.desk import Action, Desk, RefusedError

HERE = Path(__file__).parent
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HOSTS = ["127.0.0.1", "localhost"]


def start_page_app(desk: Desk) -> Starlette:
    """The application over `desk`."""
    page = _StartPage(desk)
    return Starlette(
        routes=[
            Route("/", page.first),
            Route("/lamps", page.lamps),
            Mount("/static", StaticFiles(directory=STATIC)),
            Mount("/own", StaticFiles(directory=HERE / "static")),
            Route("/{lang}", page.show),
            Route("/{lang}/do", page.do, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)],
    )


class _StartPage:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.languages = languages.load([HERE / "translations"])
        self.templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def first(self, request: Request) -> Response:
        """To the page in the browser's language."""
        code = languages.negotiate(request.headers.get("accept-language", ""))
        return RedirectResponse(f"/{code}", 303)

    async def show(self, request: Request) -> Response:
        """The page."""
        language = self._language(request)
        if language is None:
            return RedirectResponse("/", 303)
        kiosk = request.query_params.get("kiosk", "")
        html = self.templates.get_template("start.html").render(
            _=language.gettext,
            ngettext=language.ngettext,
            lang=language.code,
            names=NAMES,
            codes=LANGUAGES,
            desk=self.desk,
            lamps=self.desk.lamps(),
            lamp_names=wording.LAMPS,
            states=wording.STATES,
            plugs=wording.PLUGS,
            notice=_done(request.query_params.get("done", "")),
            refused="refused" in request.query_params,
            kiosk=kiosk if kiosk in self.desk.kiosks else next(iter(self.desk.kiosks), ""),
            person=request.query_params.get("person", ""),
        )
        return HTMLResponse(html, headers=HEADERS | {"Content-Language": language.code})

    async def lamps(self, _request: Request) -> Response:
        """How everything stands, for the page's script."""
        return JSONResponse({lamp.name: lamp.state for lamp in self.desk.lamps()}, headers=HEADERS)

    async def do(self, request: Request) -> Response:
        """Do what a button says, then show the page again."""
        language = self._language(request)
        origin = request.headers.get("origin")
        if language is None or (origin and urlsplit(origin).netloc != request.headers.get("host")):
            return Response("this request came from another page\n", 403)
        form = await request.form()
        device, person = str(form.get("device", "")), str(form.get("person", ""))
        back = f"/{language.code}?kiosk={quote(device)}&person={quote(person)}"
        try:
            action = Action(str(form.get("action", "")))
            await self.desk.do(action, device, person)
        except (ValueError, RefusedError):
            return RedirectResponse(f"{back}&refused#notice", 303)
        return RedirectResponse(f"{back}&done={action}#notice", 303)

    def _language(self, request: Request) -> Language | None:
        return self.languages.get(request.path_params["lang"])


def _done(action: str) -> str:
    return next((words for done, words in wording.DONE.items() if done == action), "")
