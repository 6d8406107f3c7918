"""The cadastre's service over HTTP."""

from typing import Annotated
from urllib.parse import quote

import msgspec

from cloud.documents.ports import Permission
from cloud.documents.possession_sheet import Sheet
from cloud.documents.service_http import TIMEOUT_S, JsonService
from cloud.errors import RefusedError
from contract.documents import Identification, Subject

NAME = "the cadastre"
LISTS_MAX = 500

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class _Person(msgspec.Struct):
    person: _Id


class _Listed(msgspec.Struct):
    number: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    zone: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]


class _Allowed(msgspec.Struct):
    allowed: bool
    reason: _Id


class RegistryHttp:
    """The port `Registry`; safe to use from several threads."""

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._service = JsonService(NAME, url, timeout_s=timeout_s)

    def identify(self, identification: Identification, *, purpose: str, audit: str) -> str | None:
        """See `Registry.identify`."""
        answer = self._service.ask(
            "POST",
            "/identify",
            msgspec.to_builtins(identification) | {"purpose": purpose, "audit_id": audit},
        )
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise answer.unexpected()
        return answer.read(_Person).person

    def subjects(self, person: str) -> list[Subject]:
        """See `Registry.subjects`; the label is what the registry calls list and zone."""
        answer = self._service.ask("GET", f"/persons/{quote(person, safe='')}/possession-lists")
        if answer.status != 200:
            raise answer.unexpected()
        listed = answer.read(list[_Listed])[:LISTS_MAX]
        return [Subject(subject=each.number, label=f"{each.number} · {each.zone}") for each in listed]

    def may_request(self, requester: str, subject: str, kind: str) -> Permission:
        """See `Registry.may_request`."""
        answer = self._service.ask(
            "POST", "/may-request", {"requester": requester, "subject": subject, "kind": kind}
        )
        if answer.status != 200:
            raise answer.unexpected()
        allowed = answer.read(_Allowed)
        return Permission(allowed.allowed, allowed.reason)

    def sheet(self, subject: str) -> Sheet:
        """See `Registry.sheet`."""
        answer = self._service.ask("GET", f"/possession-lists/{quote(subject, safe='')}")
        if answer.status == 404:
            raise RefusedError("there is no such possession list; choose one that was offered")
        if answer.status != 200:
            raise answer.unexpected()
        return answer.read(Sheet)

    def close(self) -> None:
        """Close its connections."""
        self._service.close()
