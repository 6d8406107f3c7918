"""The cadastre's service, simulated: who somebody is, what they may ask for, and what is written there.

Nobody outside the control plane calls it. `POST /fault` makes it fail as real ones do.
"""

import asyncio
import hmac
from collections import deque
from collections.abc import Callable
from datetime import date
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulators.people import COORDINATE_SYSTEM, City, Person, PossessionList

POSSESSION_SHEET = "possession-sheet"
ADULT_AT_YEARS = 18
SLOW_S = 30.0
AUDITS_KEPT_MAX = 1000
_NOBODY = ("0" * 10, "0" * 9, "0001-01-01")


def cadastre_app(people: City, *, today: Callable[[], date] = date.today) -> Starlette:
    """The service over `people`. `app.state.audits` holds the last look-ups as the registry sees them."""
    cadastre = _Cadastre(people, today)
    app = Starlette(
        routes=[
            Route("/identify", cadastre.guarded(cadastre.identify), methods=["POST"]),
            Route("/may-request", cadastre.guarded(cadastre.may_request), methods=["POST"]),
            Route("/persons/{person}/possession-lists", cadastre.guarded(cadastre.possession_lists)),
            Route("/possession-lists/{number}", cadastre.guarded(cadastre.possession_list)),
            Route("/fault", cadastre.fault, methods=["POST"]),
            Route("/healthz", cadastre.health),
        ]
    )
    app.state.audits = cadastre.audits
    return app


class _Cadastre:
    """The registers and the fault of the moment."""

    def __init__(self, people: City, today: Callable[[], date]) -> None:
        self.people = people
        self.today = today
        self.mode = "ok"
        self.slow_s = SLOW_S
        self.audits: deque[dict[str, str]] = deque(maxlen=AUDITS_KEPT_MAX)
        self._by_number = {person.personal_number: person for person in people.persons.values()}

    def guarded(self, answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
        """`answer`, but for the fault that is switched on."""

        async def guarded(request: Request) -> Response:
            if self.mode == "down":
                return JSONResponse({"error": "the register is being maintained"}, 503)
            if self.mode == "slow":
                await asyncio.sleep(self.slow_s)
            found: Response = await answer(request)
            return found

        return guarded

    async def identify(self, request: Request) -> Response:
        """200 with the person if all three values belong together, else 404: the same for every mismatch."""
        asked = await _body(
            request, "personal_number", "document_number", "date_of_birth", "purpose", "audit_id"
        )
        if asked is None:
            return _malformed()
        self.audits.append({"audit_id": asked["audit_id"], "purpose": asked["purpose"]})
        person = self._by_number.get(asked["personal_number"])
        known = _identity(person) if person else _NOBODY
        given = (asked["personal_number"], asked["document_number"], asked["date_of_birth"])
        same = [hmac.compare_digest(a.encode(), b.encode()) for a, b in zip(known, given, strict=True)]
        if person is None or not all(same):
            return JSONResponse({"error": "nobody is identified by these values"}, 404)
        return JSONResponse({"person": person.person})

    async def may_request(self, request: Request) -> Response:
        """Whether `requester` may have a paper of `kind` about `subject`, and why or why not."""
        asked = await _body(request, "requester", "subject", "kind")
        if asked is None:
            return _malformed()
        reason = self._reason(asked["requester"], asked["subject"], asked["kind"])
        allowed = reason in ("holder", "spouse", "minor-child")
        return JSONResponse({"allowed": allowed, "reason": reason})

    async def possession_lists(self, request: Request) -> Response:
        """The lists that the person, the spouse or a minor child holds."""
        person = request.path_params["person"]
        if person not in self.people.persons:
            return JSONResponse({"error": "no such person"}, 404)
        found = [
            {"number": held.number, "zone": held.zone, "parcels": len(held.parcels)}
            for held in self.people.lists.values()
            if self._reason(person, held.number, POSSESSION_SHEET) != "not-related"
        ]
        return JSONResponse(found)

    async def possession_list(self, request: Request) -> Response:
        """What a possession sheet says."""
        held = self.people.lists.get(request.path_params["number"])
        if held is None:
            return JSONResponse({"error": "no such possession list"}, 404)
        return JSONResponse(sheet_of(self.people, held))

    async def fault(self, request: Request) -> Response:
        """Switch a fault on or off: `ok`, `down`, or `slow` by `seconds`."""
        wish = await _json(request)
        mode = wish.get("mode") if isinstance(wish, dict) else None
        seconds = wish.get("seconds", SLOW_S) if isinstance(wish, dict) else None
        if mode not in ("ok", "down", "slow") or not isinstance(seconds, int | float):
            return JSONResponse({"error": "mode is ok, down or slow; seconds is a number"}, 400)
        self.mode = mode
        self.slow_s = float(seconds)
        return JSONResponse({"mode": self.mode})

    async def health(self, _request: Request) -> Response:
        """The process is there, whatever fault it plays."""
        return JSONResponse({"mode": self.mode})

    def _reason(self, requester: str, subject: str, kind: str) -> str:
        held = self.people.lists.get(subject)
        if requester not in self.people.persons:
            return "unknown-requester"
        if held is None:
            return "unknown-subject"
        if kind != POSSESSION_SHEET:
            return "unknown-kind"
        holders = {share.person for share in held.shares}
        if requester in holders:
            return "holder"
        for person, relation in self.people.family(requester).items():
            if person in holders and (relation == "spouse" or self._is_minor(self.people.persons[person])):
                return "spouse" if relation == "spouse" else "minor-child"
        return "not-related"

    def _is_minor(self, person: Person) -> bool:
        today, born = self.today(), person.date_of_birth
        had_birthday = (today.month, today.day) >= (born.month, born.day)
        return today.year - born.year - (not had_birthday) < ADULT_AT_YEARS


def sheet_of(people: City, held: PossessionList) -> dict[str, Any]:
    """The registry's words for one possession list, as `GET /possession-lists/{number}` gives them."""
    return {
        "number": held.number,
        "zone_code": held.zone_code,
        "zone": held.zone,
        "coordinate_system": COORDINATE_SYSTEM,
        "changed_on": held.changed_on.isoformat(),
        "holders": [
            {"name": holder.name, "address": holder.address, "share": share.share}
            for share in held.shares
            for holder in (people.persons[share.person],)
        ],
        "parcels": [vars(parcel) for parcel in held.parcels],
        "rights": [vars(right) | {"since": right.since.isoformat()} for right in held.rights],
    }


def _identity(person: Person) -> tuple[str, str, str]:
    return person.personal_number, person.document_number, person.date_of_birth.isoformat()


async def _json(request: Request) -> Any:
    try:
        return await request.json()
    except ValueError:
        return None


async def _body(request: Request, *names: str) -> dict[str, str] | None:
    """The named strings of a JSON body; None when one is missing."""
    found = await _json(request)
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in names):
        return None
    return {name: found[name] for name in names}


def _malformed() -> Response:
    return JSONResponse({"error": "a value is missing or no text"}, 400)
