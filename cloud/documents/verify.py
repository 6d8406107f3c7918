"""The public pages on which anybody can see whether a paper is real: what it is, never what it says."""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from threading import Lock
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session, sessionmaker
from starlette.concurrency import run_in_threadpool

from cloud.database.engine import for_reading
from cloud.documents import codes, store
from cloud.documents.file_hash import FORM_BYTES_MAX, file_sha256
from cloud.documents.kinds import Kinds
from cloud.web.application import takes_bytes
from cloud.web.languages import ZONE
from cloud.web.pages import language_of, render
from cloud.web.problems import ProblemError
from cloud.web.public import public
from contract.languages import official_date

NO_CODE = "x"
"""Stands in addresses for whatever was typed that cannot be a code."""
MISSES_MAX = 20
MISSES_WITHIN = timedelta(minutes=10)
ADDRESSES_MAX = 10_000
"""Addresses whose wrong codes are remembered; the one that was seen longest ago is forgotten first."""


@dataclass(frozen=True)
class Paper:
    """What everybody may know of a paper."""

    kind: str
    serial: str
    code: str
    issued_on: date
    valid_until: date
    sha256: str


class Misses:
    """Wrong codes by address: who tries too many has to wait."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, deque[datetime]] = OrderedDict()
        self._guard = Lock()

    def too_many(self, address: str, now: datetime) -> bool:
        """Whether this address must wait."""
        with self._guard:
            times = self._seen.get(address, deque())
            return sum(1 for at in times if now - at < MISSES_WITHIN) >= MISSES_MAX

    def note(self, address: str, now: datetime) -> None:
        """One more wrong code."""
        with self._guard:
            times = self._seen.setdefault(address, deque(maxlen=MISSES_MAX))
            times.append(now)
            self._seen.move_to_end(address)
            if len(self._seen) > ADDRESSES_MAX:
                self._seen.popitem(last=False)


class _Window:
    """Looks papers up for the routes, and shows what may be shown of them."""

    def __init__(self, sessions: sessionmaker[Session], kinds: Kinds, clock: Callable[[], datetime]) -> None:
        self._sessions = for_reading(sessions)
        self._kinds = kinds
        self._clock = clock
        self._misses = Misses()

    def find(self, request: Request, typed: str) -> Paper | None:
        """The paper with that code; None where there is none, which counts against the caller.

        Raises:
            ProblemError: 429, this address has tried too many.
        """
        now, address = self._clock(), request.client.host if request.client else ""
        if self._misses.too_many(address, now):
            wait_s = str(int(MISSES_WITHIN.total_seconds()))
            raise ProblemError(429, "too many wrong codes; wait ten minutes", headers={"Retry-After": wait_s})
        paper = _paper(self._sessions, typed)
        if paper is None:
            self._misses.note(address, now)
        return paper

    def show(self, request: Request, paper: Paper | None, compared: str = "") -> Response:
        """What `paper` is; `compared` is the outcome of comparing a file with it, if one was sent."""
        if paper is None:
            return _fresh(render(request, "documents/verify.html", status=404, unknown=True))
        lang = language_of(request).code
        rules = self._kinds.by_name[paper.kind]
        page = render(
            request,
            "documents/paper.html",
            paper=paper,
            title=rules.title[lang],
            subtitle=rules.subtitle[lang],
            issuer=self._kinds.municipality.name[lang],
            valid=self._clock().astimezone(ZONE).date() <= paper.valid_until,
            issued_on=official_date(paper.issued_on),
            valid_until=official_date(paper.valid_until),
            compared=compared,
        )
        return _fresh(page)


def router(sessions: sessionmaker[Session], kinds: Kinds, *, clock: Callable[[], datetime]) -> APIRouter:
    """The public routes of the documents."""
    routes = APIRouter()
    window = _Window(sessions, kinds, clock)

    @routes.get("/v/{code}", include_in_schema=False)
    @public
    def scanned(request: Request, code: str) -> Response:
        """Where the QR code leads."""
        return _to_language(request, f"/verify/{codes.normal(code) or NO_CODE}")

    @routes.get("/verify", include_in_schema=False)
    @public
    def typed_address(request: Request) -> Response:
        """The address that stands on the paper."""
        return _to_language(request, "/verify")

    @routes.get("/{lang}/verify")
    @public
    def ask(request: Request, code: Annotated[str, Query(max_length=200)] = "") -> Response:
        if code:
            lang = language_of(request).code
            return RedirectResponse(f"/{lang}/verify/{codes.normal(code) or NO_CODE}", 303)
        return render(request, "documents/verify.html", unknown=False)

    @routes.get("/{lang}/verify/{code}")
    @public
    def answer(request: Request, code: str) -> Response:
        return window.show(request, window.find(request, code))

    @routes.post("/{lang}/verify/{code}")
    @public
    @takes_bytes(FORM_BYTES_MAX)
    async def compare(request: Request, code: str) -> Response:
        """For browsers without scripts: the file is hashed as it comes in and not kept."""
        paper = await run_in_threadpool(window.find, request, code)
        sha256 = await file_sha256(request)
        compared = "missing"
        if sha256 is not None and paper is not None:
            compared = "same" if sha256 == paper.sha256 else "different"
        return await run_in_threadpool(window.show, request, paper, compared)

    return routes


def _paper(sessions: sessionmaker[Session], typed: str) -> Paper | None:
    code = codes.normal(typed)
    if code is None:
        return None
    with sessions() as session:
        row = store.by_code(session, code)
        if row is None or row.issued_at is None or row.valid_until is None:
            return None
        return Paper(
            kind=row.kind,
            serial=row.serial or "",
            code=code,
            issued_on=row.issued_at.astimezone(ZONE).date(),
            valid_until=row.valid_until,
            sha256=row.sha256 or "",
        )


def _to_language(request: Request, path: str) -> Response:
    return RedirectResponse(
        f"/{language_of(request).code}{path}", 303, headers={"Vary": "Accept-Language, Cookie"}
    )


def _fresh(page: Response) -> Response:
    """Whether a paper is valid changes, and nobody's history of papers belongs into a shared cache."""
    page.headers["Cache-Control"] = "no-store"
    return page
