"""The one table of who may open what: people by their role, and by the same areas programs by their scopes.

A router says to which area its endpoints belong (`belongs_to`). What says nothing, or is of an area that is
not in a role's row, is refused to that role; administrators may open everything.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cloud.web.marking import N_
from cloud.web.public import is_public

if TYPE_CHECKING:
    from fastapi import APIRouter  # commands know roles as well, and load no web

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_MARK = "_fleet_area"


class Area(StrEnum):
    """A part of the control plane that is opened as one; mostly a way of data."""

    STATUS = "status"
    DEVICES = "devices"
    JOBS = "jobs"
    DOCUMENTS = "documents"
    ENROLMENT = "enrolment"
    UPDATES = "updates"
    CAPTIONS = "captions"
    RECORDINGS = "recordings"
    ASSEMBLY = "assembly"
    ACCOUNTS = "accounts"
    AUDIT = "audit"
    OWN = "own"
    """One's own password and session."""


class Role(StrEnum):
    """What an account is for."""

    ADMINISTRATOR = "administrator"
    OPERATOR = "operator"
    CLERK = "clerk"


AREAS: dict[Role, frozenset[Area]] = {
    Role.ADMINISTRATOR: frozenset(Area),
    Role.OPERATOR: frozenset(
        {
            Area.STATUS,
            Area.DEVICES,
            Area.JOBS,
            Area.DOCUMENTS,
            Area.ENROLMENT,
            Area.UPDATES,
            Area.OWN,
        }
    ),
    Role.CLERK: frozenset({Area.CAPTIONS, Area.RECORDINGS, Area.ASSEMBLY, Area.OWN}),
}
HOMES = {Role.ADMINISTRATOR: "/status", Role.OPERATOR: "/status", Role.CLERK: "/sittings"}
"""Where somebody is who has just signed in."""
NEVER_BY_TOKEN = frozenset({Area.ACCOUNTS, Area.AUDIT, Area.OWN})
NAMES = {
    Role.ADMINISTRATOR: N_("Administrator"),
    Role.OPERATOR: N_("Operator"),
    Role.CLERK: N_("Clerk"),
}
DUTIES = {
    Role.ADMINISTRATOR: N_("Everything, accounts and tokens too."),
    Role.OPERATOR: N_("Devices, jobs, enrolment, documents and updates."),
    Role.CLERK: N_("Sittings, captions and recordings of the assembly."),
}


def belongs_to(area: Area, routes: "APIRouter") -> "APIRouter":
    """Mark every endpoint of `routes` as one of `area`, and give the router back."""
    for route in routes.routes:
        setattr(route.endpoint, _MARK, area)  # type: ignore[attr-defined] # routers hold plain routes only
    return routes


def area_of(endpoint: Any) -> Area | None:
    """To which area an endpoint belongs; None where nobody has said so."""
    found = getattr(endpoint, _MARK, None)
    return found if isinstance(found, Area) else None


def allowed(role: Role, area: Area | None) -> bool:
    """Whether `role` may open what belongs to `area`."""
    return role is Role.ADMINISTRATOR or (area is not None and area in AREAS[role])


def scope(area: Area | None, method: str) -> str | None:
    """The scope that a token needs for a request, such as `jobs:write`; None where no token is enough."""
    if area is None or area in NEVER_BY_TOKEN:
        return None
    return f"{area}:{'read' if method in SAFE_METHODS else 'write'}"


def scopes_of(routes: Iterable[Any]) -> list[str]:
    """Every scope that opens something among the routes of an application."""
    found = {
        scope(area_of(route.endpoint), method)
        for route in routes
        if getattr(route, "path", "").startswith("/api/") and not is_public(route.endpoint)
        for method in route.methods
    }
    return sorted(each for each in found if each)


def roles_for(area: Area | None) -> list[Role]:
    """Whose it is; the administrators are the last, because they may do everything."""
    return [role for role in reversed(Role) if allowed(role, area)]
