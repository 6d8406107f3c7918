"""The kiosk's touch page: one screen, which is always the state of the visit, rendered here.

A press is a POST with the token of the visit; the page hears of changes by a question to `/state` that is
answered when there is one. It is served on loopback to the browser in the kiosk's housing.
"""

import asyncio
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from contract.languages import LANGUAGES, NAMES
from edge_agent.documents import visit_messages as m
from edge_agent.documents.languages import load, money
from edge_agent.documents.screen import Screen, Step, Whom
from edge_agent.documents.words import bring, kind_about, kind_name, subject_question

HERE = Path(str(files("edge_agent.documents")))
WAIT_S = 20.0
"""How long a question to `/state` is kept when nothing changes."""
FORM_BYTES_MAX = 4096
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
STAGES = {
    Step.KINDS: 1,
    Step.WHOM: 2,
    Step.IDENTIFY: 3,
    Step.CHECKING: 3,
    Step.SUBJECTS: 4,
    Step.PRICING: 4,
    Step.PREVIEW: 5,
    Step.PAYING: 6,
    Step.CONFIRMING: 6,
    Step.PRINTING: 7,
}
"""How far along a visit is, of `STAGES_OF`."""
STAGES_OF = 7

NewId = Callable[[], str]


class Visits(Protocol):
    """What the page needs of the kiosk; `edge_agent.documents.run.Kiosk` is the real one."""

    @property
    def screen(self) -> Screen:
        """What is to be shown."""

    @property
    def version(self) -> str:
        """Another one for each change of what is to be shown."""

    @property
    def token(self) -> str:
        """Of the present visit; another one after each visit."""

    def seconds_left(self) -> int | None:
        """Until an untouched visit ends."""

    def press(self, event: m.Event) -> None:
        """Somebody has pressed something."""

    async def changed(self, version: str) -> None:
        """Returns when `version` is no longer the present one."""


def application(
    visits: Visits, *, kinds: tuple[str, ...], municipality: dict[str, str], new_id: NewId, hosts: list[str]
) -> Starlette:
    """The page as an ASGI application.

    Args:
        visits: the kiosk.
        kinds: the documents that are offered.
        municipality: its name in each language.
        new_id: makes a UUIDv7.
        hosts: the names under which the page may be asked for; others are refused (DNS rebinding).
    """
    desk = _Desk(visits, kinds, municipality, new_id)
    return Starlette(
        routes=[
            Route("/", desk.show, methods=["GET"]),
            Route("/press", desk.press, methods=["POST"]),
            Route("/state", desk.state, methods=["GET"]),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
        exception_handlers={404: _home, 405: _home},
    )


def read_press(said: str, new_id: NewId) -> m.Event | None:
    """The event of a button's value, such as `kind:possession-sheet`; None for what is no button's value."""
    name, _, value = said.partition(":")
    match name:
        case "language" if value in LANGUAGES:
            return m.LanguagePressed(value, new_id())
        case "kind":
            return m.KindPressed(value)
        case "whom" if value in set(Whom):
            return m.WhomPressed(Whom(value))
        case "subject":
            return m.SubjectPressed(value)
        case "back":
            return m.BackPressed(new_id())
    plain: dict[str, m.Event] = {
        "pay": m.PayPressed(),
        "again": m.AgainPressed(),
        "cancel": m.CancelPressed(),
        "more-time": m.MoreTimePressed(),
        "finish": m.FinishPressed(),
        "slip": m.SlipPressed(),
    }
    return plain.get(said)


class _Desk:
    """The page's requests."""

    def __init__(
        self, visits: Visits, kinds: tuple[str, ...], municipality: dict[str, str], new_id: NewId
    ) -> None:
        self._visits = visits
        self._kinds = kinds
        self._municipality = municipality
        self._new_id = new_id
        self._words = load()
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def show(self, _request: Request) -> Response:
        screen = self._visits.screen
        translate = self._words[screen.language]
        name = "closed" if screen.blocked is not None else screen.step.value
        if screen.warning and screen.step in STAGES:
            name = "idle"  # an end keeps what it says and counts down below it
        page = self._environment.get_template(f"{name}.html").render(
            screen=screen,
            name=name,
            stage=STAGES.get(screen.step),
            stages=STAGES_OF,
            version=self._visits.version,
            token=self._visits.token,
            seconds_left=self._visits.seconds_left(),
            municipality=self._municipality,
            languages=[(code, NAMES[code], self._words[code]) for code in LANGUAGES],
            kinds=[(kind, kind_name(kind, translate), kind_about(kind, translate)) for kind in self._kinds],
            kind_name=lambda kind: kind_name(kind, translate),
            subject_question=lambda kind: subject_question(kind, translate),
            bring=lambda whom: bring(screen.kind, whom, translate),
            money=lambda cents: money(screen.language, cents),
            _=translate,
        )
        return HTMLResponse(page, headers=HEADERS)

    async def press(self, request: Request) -> Response:
        """What does not carry the visit's token came from an old page, and only brings the present one."""
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) <= FORM_BYTES_MAX:
            form = await request.form(max_fields=8)
            event = read_press(str(form.get("press", "")), self._new_id)
            if event is not None and form.get("token") == self._visits.token:
                self._visits.press(event)
        return RedirectResponse("/", status_code=303, headers=HEADERS)

    async def state(self, request: Request) -> Response:
        known = request.query_params.get("version", "")
        if known == self._visits.version:
            try:
                async with asyncio.timeout(WAIT_S):
                    await self._visits.changed(known)
            except TimeoutError:
                pass  # nothing has changed: say so, that the page knows us alive
        return JSONResponse({"version": self._visits.version}, headers=HEADERS)


async def _home(_request: Request, _error: Exception) -> Response:
    return RedirectResponse("/", status_code=303, headers=HEADERS)
