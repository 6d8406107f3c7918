"""A payment provider with card terminals. It is simulated: no card, no bank, no scheme is involved.

It behaves as providers do where it matters: an authorisation holds money and takes none, capture and void are
idempotent, a reference never holds the money twice, and what was said is remembered over a restart (journal).

| request | does |
|---|---|
| `POST /terminals/{terminal}/authorisations` {reference, amount_cents, wait_s?} | waits for a card |
| `DELETE /terminals/{terminal}/authorisations/current?reference=R` | stops asking (for R, where R is given) |
| `POST /terminals/{terminal}/card` {outcome: approve, decline} | the citizen's card |
| `GET /authorisations/{authorisation}`, `GET /authorisations?reference=R` | how it stands |
| `POST /authorisations/{authorisation}/capture`, `/void` | takes the money, or lets go of it |
| `GET /statement` | counts and sums by state, references that were captured |
| `POST /fault` {mode: ok, down, slow} | breaks the service |
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CARD_S = 60.0
"""How long a terminal asks for a card."""
SLOW_S = 3.0
AMOUNT_CENTS_MAX = 100_000
REFERENCE_LENGTH_MAX = 64
BODY_BYTES_MAX = 4096
ENDED = frozenset({"declined", "timeout", "cancelled", "captured", "voided"})
_MOVES = {
    ("waiting", "authorised"),
    ("waiting", "declined"),
    ("waiting", "timeout"),
    ("waiting", "cancelled"),
    ("authorised", "captured"),
    ("authorised", "voided"),
}

Clock = Callable[[], float]
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Authorisation:
    """One authorisation; `state` is waiting, authorised, declined, timeout, cancelled, captured or voided."""

    authorisation: str
    terminal: str
    reference: str
    amount_cents: int
    state: str = "waiting"


class Provider:
    """The provider's books: every authorisation there ever was, and what each terminal is asking."""

    def __init__(self, clock: Clock, journal: Path | None) -> None:
        self._clock = clock
        self._journal = journal
        self._known: dict[str, Authorisation] = {}
        self._last: dict[str, str] = {}
        self._asking: dict[str, str] = {}
        self._until: dict[str, float] = {}
        self._changed = asyncio.Condition()
        if journal is not None and journal.exists():
            for line in journal.read_text(encoding="utf-8").splitlines():
                self._remember(Authorisation(**json.loads(line)))
            for found in [found for found in self._known.values() if found.state == "waiting"]:
                self._write(replace(found, state="timeout"))  # nobody asks for a card any more

    def get(self, authorisation: str) -> Authorisation | None:
        """One authorisation."""
        return self._known.get(authorisation)

    def last(self, reference: str) -> Authorisation | None:
        """The last one under a reference."""
        return self._known.get(self._last.get(reference, ""))

    def current(self, terminal: str) -> Authorisation | None:
        """What the terminal asks for now."""
        return self._known.get(self._asking.get(terminal, ""))

    def ask(self, terminal: str, reference: str, amount_cents: int) -> Authorisation | None:
        """Begin to ask for a card, or find the question; None while another one is asked."""
        known = self.last(reference)
        if known is not None and known.state not in ENDED - {"captured", "voided"}:
            return known
        if self.current(terminal) is not None:
            return None
        begun = Authorisation(f"auth-{len(self._known) + 1:08d}", terminal, reference, amount_cents)
        self._until[begun.authorisation] = self._clock() + CARD_S
        self._write(begun)
        return begun

    async def move(self, authorisation: str, state: str) -> Authorisation | None:
        """Move on if the life of an authorisation allows it; None if it does not."""
        known = self._known[authorisation]
        if known.state == state:
            return known
        if (known.state, state) not in _MOVES:
            return None
        self._write(replace(known, state=state))
        async with self._changed:
            self._changed.notify_all()
        return self._known[authorisation]

    async def settled(self, authorisation: str, wait_s: float) -> Authorisation:
        """Wait until the card has spoken, the terminal's time is up, or `wait_s` have passed."""
        left = self._until.get(authorisation, 0.0) - self._clock()
        try:
            async with asyncio.timeout(min(wait_s, max(0.0, left))), self._changed:
                await self._changed.wait_for(lambda: self._known[authorisation].state != "waiting")
        except TimeoutError:
            if self._clock() >= self._until.get(authorisation, 0.0):
                await self.move(authorisation, "timeout")
        return self._known[authorisation]

    def statement(self) -> dict[str, Any]:
        """Counts and sums by state, and every reference whose money was taken."""
        states: dict[str, dict[str, int]] = {}
        for known in self._known.values():
            row = states.setdefault(known.state, {"count": 0, "amount_cents": 0})
            row["count"] += 1
            row["amount_cents"] += known.amount_cents
        captured = [known.reference for known in self._known.values() if known.state == "captured"]
        return {"states": states, "captured_references": captured}

    def _write(self, found: Authorisation) -> None:
        if self._journal is not None:
            with self._journal.open("a", encoding="utf-8") as journal:
                journal.write(json.dumps(asdict(found)) + "\n")
        self._remember(found)

    def _remember(self, found: Authorisation) -> None:
        self._known[found.authorisation] = found
        self._last[found.reference] = found.authorisation
        if found.state == "waiting":
            self._asking[found.terminal] = found.authorisation
        elif self._asking.get(found.terminal) == found.authorisation:
            del self._asking[found.terminal]


class _Desk:
    """The provider's requests."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._mode = "ok"

    def routes(self) -> list[Route]:
        at_work = self._at_work
        return [
            Route("/terminals/{terminal}/authorisations", at_work(self.ask), methods=["POST"]),
            Route("/terminals/{terminal}/authorisations/current", at_work(self.cancel), methods=["DELETE"]),
            Route("/terminals/{terminal}/card", at_work(self.card), methods=["POST"]),
            Route("/authorisations", at_work(self.find), methods=["GET"]),
            Route("/authorisations/{authorisation}", at_work(self.get), methods=["GET"]),
            Route("/authorisations/{authorisation}/capture", at_work(self.capture), methods=["POST"]),
            Route("/authorisations/{authorisation}/void", at_work(self.void), methods=["POST"]),
            Route("/statement", self.statement, methods=["GET"]),
            Route("/fault", self.fault, methods=["POST"]),
        ]

    async def ask(self, request: Request) -> Response:
        body = await _body(request)
        reference, cents = body.get("reference"), body.get("amount_cents")
        wait_s = body.get("wait_s", CARD_S)
        if not isinstance(reference, str) or not 0 < len(reference) <= REFERENCE_LENGTH_MAX:
            return _problem(422, f"reference is a text of 1 to {REFERENCE_LENGTH_MAX} characters")
        if not isinstance(cents, int) or isinstance(cents, bool) or not 0 < cents <= AMOUNT_CENTS_MAX:
            return _problem(422, f"amount_cents is a whole number from 1 to {AMOUNT_CENTS_MAX}")
        if not isinstance(wait_s, int | float) or isinstance(wait_s, bool) or not 0 <= wait_s <= CARD_S:
            return _problem(422, f"wait_s is a number from 0 to {CARD_S:g}")
        found = self._provider.ask(request.path_params["terminal"], reference, cents)
        if found is None:
            return _problem(409, "the terminal is asking for another card; cancel that first")
        if found.amount_cents != cents:
            return _problem(409, f"{reference} was asked with another amount")
        return _told(await self._provider.settled(found.authorisation, wait_s))

    async def cancel(self, request: Request) -> Response:
        current = self._provider.current(request.path_params["terminal"])
        meant = request.query_params.get("reference")
        if current is not None and meant in (None, current.reference):
            await self._provider.move(current.authorisation, "cancelled")
        return Response(status_code=204)

    async def card(self, request: Request) -> Response:
        outcome = (await _body(request)).get("outcome")
        state = {"approve": "authorised", "decline": "declined"}.get(str(outcome))
        if state is None:
            return _problem(422, "outcome is approve or decline")
        current = self._provider.current(request.path_params["terminal"])
        if current is None:
            return _problem(409, "the terminal asks for no card now")
        moved = await self._provider.move(current.authorisation, state)
        assert moved is not None, "a waiting authorisation can be answered"
        return _told(moved)

    async def find(self, request: Request) -> Response:
        found = self._provider.last(request.query_params.get("reference", ""))
        return _told(found) if found else _problem(404, "nothing under this reference")

    async def get(self, request: Request) -> Response:
        found = self._provider.get(request.path_params["authorisation"])
        return _told(found) if found else _problem(404, "no such authorisation")

    async def capture(self, request: Request) -> Response:
        return await self._move(request, "captured")

    async def void(self, request: Request) -> Response:
        return await self._move(request, "voided")

    async def statement(self, _request: Request) -> Response:
        return JSONResponse(self._provider.statement())

    async def fault(self, request: Request) -> Response:
        mode = (await _body(request)).get("mode")
        if mode not in ("ok", "down", "slow"):
            return _problem(422, "mode is ok, down or slow")
        self._mode = mode
        return Response(status_code=204)

    async def _move(self, request: Request, state: str) -> Response:
        authorisation = request.path_params["authorisation"]
        if not request.headers.get("idempotency-key"):
            return _problem(400, "Idempotency-Key is missing")
        known = self._provider.get(authorisation)
        if known is None:
            return _problem(404, "no such authorisation")
        moved = await self._provider.move(authorisation, state)
        return _told(moved) if moved else _problem(409, f"it is {known.state}: it cannot become {state}")

    def _at_work(self, endpoint: Endpoint) -> Endpoint:
        async def answer(request: Request) -> Response:
            if self._mode == "down":
                return _problem(503, "the provider is down (simulated)")
            if self._mode == "slow":
                await asyncio.sleep(SLOW_S)
            return await endpoint(request)

        return answer


def payments_app(clock: Clock = time.monotonic, journal: Path | None = None) -> Starlette:
    """The provider as an ASGI application.

    Args:
        clock: seconds that never go back; the terminals' time limit is counted by it.
        journal: one JSON object a line; what stands in it is remembered. None: memory only.
    """
    provider = Provider(clock, journal)
    app = Starlette(routes=_Desk(provider).routes())
    app.state.provider = provider
    return app


async def _body(request: Request) -> dict[str, Any]:
    data = await request.body()
    try:
        body = json.loads(data[:BODY_BYTES_MAX])
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _told(found: Authorisation) -> Response:
    return JSONResponse(asdict(found))


def _problem(status: int, detail: str) -> Response:
    return JSONResponse(
        {"type": "about:blank", "status": status, "detail": detail},
        status_code=status,
        media_type="application/problem+json",
    )
