"""Enrolment for staff's programs."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from cloud.enrolment import tokens, views
from cloud.enrolment.office import Office
from cloud.enrolment.registry import SITE_LENGTH_MAX
from cloud.operators.access import current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.web.problems import ProblemError

PATH = "/api/v1/enrolment"
LISTED_MAX = 100
NAME_LENGTH_MAX = 63


class _View(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class CertificateJson(_View):
    """One certificate, its states as in the contract; `days_left` is null where it opens no doors.

    `issuer` is what the authority that signed it is called, empty where that is not known any more.
    """

    serial: str
    state: str
    by: str
    issued_at: datetime
    connected_at: datetime | None
    proven_at: datetime | None
    expires_at: datetime
    ended_at: datetime | None
    end_reason: str
    days_left: int | None
    issuer: str


class DropJson(_View):
    """A connection to the broker that is to end: certainly at `done_at`; before, `trouble` says why not."""

    asked_at: datetime
    tries: int
    trouble: str
    done_at: datetime | None


class MemberJson(_View):
    """A device; of its certificates first the one that it uses."""

    device: str
    kind: str
    site: str
    decommissioned_at: datetime | None
    token_until: datetime | None
    certificates: list[CertificateJson]
    drop: DropJson | None


class MemberList(BaseModel):
    """By id; `next` is the cursor of the next page, null on the last."""

    devices: list[MemberJson]
    next: str | None


class NewToken(BaseModel):
    """For which device; it is registered if it is new."""

    device: str = Field(max_length=NAME_LENGTH_MAX)
    kind: str = Field(max_length=32)
    site: str = Field(max_length=SITE_LENGTH_MAX)


class TokenJson(BaseModel):
    """A one-time token, told this once; those that the device had before have ended."""

    device: str
    token: str
    expires_at: datetime


class AuthorityJson(_View):
    """An authority: `present` signs, `former` is trusted still, who has one of a `distrusted` may only renew.

    `devices` in service have a certificate of it in use; null where there was never another authority.
    """

    name: str
    standing: str
    expires_at: datetime
    days_left: int
    devices: int | None


class EndJson(_View):
    """What the fleet's trust hangs on: `issuer`, `root`, `servers` or `revocations`, good until `ends_at`.

    Of several servers and of several lists of revoked certificates it is the first that ends, called `name`.
    `near` means that somebody must do something.
    """

    what: str
    name: str
    ends_at: datetime
    days_left: int
    near: bool


class AuthorityList(BaseModel):
    """The present one first, then the youngest; `ends` has no issuer where the root itself signs."""

    authorities: list[AuthorityJson]
    ends: list[EndJson]


class RefusalJson(_View):
    """How often something was refused for one cause."""

    cause: str
    count: int
    last_at: datetime


class RefusalList(BaseModel):
    """Every cause that there was."""

    refusals: list[RefusalJson]


def router(office: Office) -> APIRouter:
    """The routes."""
    routes = _authorities(office)

    def shown(device: str, now: datetime) -> MemberJson:
        with office.sessions() as session:
            found = views.one(session, device, now)
        if found is None:
            raise ProblemError(404, f"there is no device {device:.63}", code="not-found")
        return MemberJson.model_validate(found)

    @routes.get(PATH + "/devices")
    def list_members(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = 50,
        cursor: Annotated[str, Query(max_length=NAME_LENGTH_MAX)] = "",
    ) -> MemberList:
        now = current_operator(request).at
        with office.sessions() as session:
            found = views.listed(session, now, after=cursor, limit=limit + 1)
        following = found[limit - 1].device if len(found) > limit else None
        return MemberList(devices=[MemberJson.model_validate(each) for each in found[:limit]], next=following)

    @routes.get(PATH + "/devices/{device}")
    def show_member(request: Request, device: str) -> MemberJson:
        return shown(device, current_operator(request).at)

    @routes.post(PATH + "/tokens", status_code=201)
    def issue_token(request: Request, new: NewToken) -> TokenJson:
        operator = current_operator(request)
        token = office.token(operator, new.device, new.kind, new.site)
        return TokenJson(device=new.device, token=token, expires_at=operator.at + tokens.TOKEN_AGE)

    @routes.post(PATH + "/devices/{device}/revoke")
    def revoke_member(request: Request, device: str) -> MemberJson:
        """Revoke every certificate and token, and end the live connection. Again changes nothing."""
        operator = current_operator(request)
        shown(device, operator.at)
        office.revoke(operator, device)
        return shown(device, operator.at)

    @routes.post(PATH + "/devices/{device}/decommission")
    def take_out(request: Request, device: str) -> MemberJson:
        """Take out of service for good: as `revoke`, and nothing waits for it. Again changes nothing."""
        operator = current_operator(request)
        shown(device, operator.at)
        office.take_out(operator, device)
        return shown(device, operator.at)

    @routes.post(PATH + "/devices/{device}/readmit")
    def take_back(request: Request, device: str) -> MemberJson:
        """Let it enrol again with a new token. Again changes nothing."""
        operator = current_operator(request)
        shown(device, operator.at)
        office.take_back(operator, device)
        return shown(device, operator.at)

    @routes.get(PATH + "/refusals")
    def list_refusals() -> RefusalList:
        with office.sessions() as session:
            found = views.refusals(session)
        return RefusalList(refusals=[RefusalJson.model_validate(each) for each in found])

    return belongs_to(Area.ENROLMENT, routes)


def _authorities(office: Office) -> APIRouter:
    routes = APIRouter()

    @routes.get(PATH + "/authorities")
    def list_authorities(request: Request) -> AuthorityList:
        """Who signs devices' certificates, who did, how many devices each has still, and what ends when."""
        now, known = current_operator(request).at, office.issuers()
        ends = views.ends(office.ends(), now)
        with office.sessions() as session:
            found = views.authorities(session, known, now)
        return AuthorityList(
            authorities=[AuthorityJson.model_validate(each) for each in found],
            ends=[EndJson.model_validate(each) for each in ends],
        )

    return routes
