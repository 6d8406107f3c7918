"""The registries over HTTP: the cadastre and the register of births behind one address."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any
from urllib.parse import quote

import msgspec

from cloud.documents.ports import Permission
from cloud.documents.records import Record, struct_of
from cloud.documents.service_http import TIMEOUT_S, JsonService
from cloud.errors import RefusedError
from contract.documents import Identification, Kind, Subject, Whom
from contract.languages import official_date

NAME = "the registry"
SUBJECTS_MAX = 500

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class _Person(msgspec.Struct):
    person: _Id


_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]


class _List(msgspec.Struct):
    number: _Text
    zone: _Text


class _Birth(msgspec.Struct):
    number: _Text
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    born_on: date


@dataclass(frozen=True)
class _Register:
    """Where the entries of one kind are found, and how a citizen tells them apart."""

    path: str
    listed: Any
    label: Callable[[Any], str]


_REGISTERS = {
    Kind.POSSESSION_SHEET: _Register(
        "possession-lists", list[_List], lambda each: f"{each.number} · {each.zone}"
    ),
    Kind.BIRTH_CERTIFICATE: _Register(
        "births", list[_Birth], lambda each: f"{each.name} · {official_date(each.born_on)}"
    ),
}


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

    def subjects(self, person: str, kind: str, whom: Whom | None) -> list[Subject]:
        """See `Registry.subjects`."""
        register = _REGISTERS[Kind(kind)]
        chosen = f"?whom={whom}" if whom is not None else ""
        answer = self._service.ask("GET", f"/persons/{quote(person, safe='')}/{register.path}{chosen}")
        if answer.status != 200:
            raise answer.unexpected()
        listed = answer.read(register.listed)[:SUBJECTS_MAX]
        return [Subject(subject=each.number, label=register.label(each)) for each in listed]

    def may_request(self, requester: str, subject: str, kind: str) -> Permission:
        """See `Registry.may_request`."""
        answer = self._service.ask(
            "POST", "/may-request", {"requester": requester, "subject": subject, "kind": kind}
        )
        if answer.status != 200:
            raise answer.unexpected()
        allowed = answer.read(_Allowed)
        return Permission(allowed.allowed, allowed.reason)

    def record(self, subject: str, kind: str) -> Record:
        """See `Registry.record`."""
        answer = self._service.ask("GET", f"/{_REGISTERS[Kind(kind)].path}/{quote(subject, safe='')}")
        if answer.status == 404:
            raise RefusedError("there is no such entry; choose one that was offered")
        if answer.status != 200:
            raise answer.unexpected()
        return answer.read(struct_of(kind))

    def close(self) -> None:
        """Close its connections."""
        self._service.close()
