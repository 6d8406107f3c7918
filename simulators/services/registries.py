"""The registries, simulated behind one address: who somebody is, who may ask for what, what is written.

The cadastre has possession lists, the civil status office has births.

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

from simulators.people import COORDINATE_SYSTEM, Birth, City, Parent, Person, PossessionList

POSSESSION_SHEET = "possession-sheet"
BIRTH_CERTIFICATE = "birth-certificate"
MAY = {"myself": ("holder", "self"), "spouse": ("spouse",), "child": ("minor-child",)}
"""For whom somebody asks, and the registries' reasons that fit it; every other reason is a refusal."""
REASONS = tuple(reason for reasons in MAY.values() for reason in reasons)
ADULT_AT_YEARS = 18
SLOW_S = 30.0
AUDITS_KEPT_MAX = 1000
_NOBODY = ("0" * 10, "0" * 9, "0001-01-01")


def registries_app(people: City, *, today: Callable[[], date] = date.today) -> Starlette:
    """The service over `people`. `app.state.audits` holds the last look-ups as the registry sees them."""
    registries = _Registries(people, today)
    app = Starlette(
        routes=[
            Route("/identify", registries.guarded(registries.identify), methods=["POST"]),
            Route("/may-request", registries.guarded(registries.may_request), methods=["POST"]),
            Route("/persons/{person}/possession-lists", registries.guarded(registries.possession_lists)),
            Route("/possession-lists/{number}", registries.guarded(registries.possession_list)),
            Route("/persons/{person}/births", registries.guarded(registries.births)),
            Route("/births/{number}", registries.guarded(registries.birth)),
            Route("/fault", registries.fault, methods=["POST"]),
            Route("/healthz", registries.health),
        ]
    )
    app.state.audits = registries.audits
    return app


class _Registries:
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
        return JSONResponse({"allowed": reason in REASONS, "reason": reason})

    async def possession_lists(self, request: Request) -> Response:
        """The lists that the person, the spouse or a minor child holds; `?whom=` is one of `MAY`."""
        wanted = self._wanted(request)
        if wanted is None:
            return JSONResponse({"error": "no such person, or whom is none of myself, spouse, child"}, 404)
        found = [
            {"number": held.number, "zone": held.zone, "parcels": len(held.parcels)}
            for held in self.people.lists.values()
            if self._reason(request.path_params["person"], held.number, POSSESSION_SHEET) in wanted
        ]
        return JSONResponse(found)

    async def births(self, request: Request) -> Response:
        """The entries that the person may have a certificate of: the own one and those of minor children."""
        wanted = self._wanted(request)
        if wanted is None:
            return JSONResponse({"error": "no such person, or whom is none of myself, spouse, child"}, 404)
        found = []
        for birth in self.people.births.values():
            if self._reason(request.path_params["person"], birth.number, BIRTH_CERTIFICATE) in wanted:
                born = self.people.persons[birth.person]
                found.append(
                    {"number": birth.number, "name": born.name, "born_on": born.date_of_birth.isoformat()}
                )
        return JSONResponse(found)

    async def birth(self, request: Request) -> Response:
        """What a birth certificate says."""
        birth = self.people.births.get(request.path_params["number"])
        if birth is None:
            return JSONResponse({"error": "no such entry"}, 404)
        return JSONResponse(birth_of(self.people, birth))

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

    def _wanted(self, request: Request) -> tuple[str, ...] | None:
        """The reasons for which something is listed; None where the question makes no sense."""
        if request.path_params["person"] not in self.people.persons:
            return None
        whom = request.query_params.get("whom")
        return REASONS if whom is None else MAY.get(whom)

    def _reason(self, requester: str, subject: str, kind: str) -> str:
        if requester not in self.people.persons:
            return "unknown-requester"
        match kind:
            case "possession-sheet":
                return self._reason_of_list(requester, subject)
            case "birth-certificate":
                return self._reason_of_birth(requester, subject)
        return "unknown-kind"

    def _reason_of_list(self, requester: str, subject: str) -> str:
        held = self.people.lists.get(subject)
        if held is None:
            return "unknown-subject"
        holders = {share.person for share in held.shares}
        if requester in holders:
            return "holder"
        for person, relation in self.people.family(requester).items():
            if person in holders and (relation == "spouse" or self._is_minor(self.people.persons[person])):
                return "spouse" if relation == "spouse" else "minor-child"
        return "not-related"

    def _reason_of_birth(self, requester: str, subject: str) -> str:
        """A spouse's birth is the spouse's own to ask for."""
        birth = self.people.births.get(subject)
        if birth is None:
            return "unknown-subject"
        if birth.person == requester:
            return "self"
        is_child = self.people.family(requester).get(birth.person) == "child"
        if is_child and self._is_minor(self.people.persons[birth.person]):
            return "minor-child"
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


def birth_of(people: City, birth: Birth) -> dict[str, Any]:
    """The registry's words for one birth, as `GET /births/{number}` gives them."""
    born = people.persons[birth.person]
    return {
        "number": birth.number,
        "registered_on": birth.registered_on.isoformat(),
        "given_names": born.given_names,
        "surname": born.surname,
        "sex": born.sex,
        "personal_number": born.personal_number,
        "born_on": born.date_of_birth.isoformat(),
        "place": birth.place,
        "municipality": birth.municipality,
        "father": _parent(birth.father),
        "mother": _parent(birth.mother),
    }


def _parent(parent: Parent | None) -> dict[str, str] | None:
    return None if parent is None else dict(vars(parent))


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
