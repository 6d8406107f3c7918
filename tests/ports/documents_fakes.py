"""The ports of documents without a network: what a reader needs to know of them in a minute."""

import msgspec

from cloud.documents.ports import Authorisation, Permission
from cloud.documents.records import Record, struct_of
from cloud.errors import RefusedError, UnavailableError
from contract.documents import Identification, Kind, Subject, Whom
from contract.languages import official_date
from simulators.people import City
from simulators.services.registries import birth_of, sheet_of

WANTED: dict[Whom | None, tuple[str, ...]] = {
    None: ("holder", "self", "spouse", "minor-child"),
    Whom.MYSELF: ("holder", "self"),
    Whom.SPOUSE: ("spouse",),
    Whom.CHILD: ("minor-child",),
}


class FakeRegistry:
    """The port `Registry` over generated people; `down` and `forbids` are its faults."""

    def __init__(self, people: City) -> None:
        self.people = people
        self.down = False
        self.forbids = False
        self.asked: list[str] = []
        self.audits: list[str] = []

    def identify(self, identification: Identification, *, purpose: str, audit: str) -> str | None:
        self._answer("identify")
        assert purpose
        self.audits.append(audit)
        for person in self.people.persons.values():
            known = (person.personal_number, person.document_number, person.date_of_birth.isoformat())
            if known == msgspec.structs.astuple(identification):
                return person.person
        return None

    def subjects(self, person: str, kind: str, whom: Whom | None) -> list[Subject]:
        self._answer("subjects")
        wanted = WANTED[whom]
        if kind == Kind.BIRTH_CERTIFICATE:
            return [
                Subject(subject=birth.number, label=f"{born.name} · {official_date(born.date_of_birth)}")
                for birth in self.people.births.values()
                if self._bore(person, birth.number) in wanted
                for born in (self.people.persons[birth.person],)
            ]
        return [
            Subject(subject=held.number, label=f"{held.number} · {held.zone}")
            for held in self.people.lists.values()
            if self._holds(person, held.number) in wanted
        ]

    def may_request(self, requester: str, subject: str, kind: str) -> Permission:
        self._answer("may_request")
        entries = self.people.births if kind == Kind.BIRTH_CERTIFICATE else self.people.lists
        if self.forbids or subject not in entries:
            return Permission(False, "unknown-subject")
        relation = self._bore if kind == Kind.BIRTH_CERTIFICATE else self._holds
        reason = relation(requester, subject)
        return Permission(bool(reason), reason or "not-related")

    def record(self, subject: str, kind: str) -> Record:
        self._answer("record")
        if kind == Kind.BIRTH_CERTIFICATE and subject in self.people.births:
            return msgspec.convert(birth_of(self.people, self.people.births[subject]), struct_of(kind))
        if kind == Kind.POSSESSION_SHEET and subject in self.people.lists:
            return msgspec.convert(sheet_of(self.people, self.people.lists[subject]), struct_of(kind))
        raise RefusedError("there is no such entry")

    def _bore(self, person: str, subject: str) -> str | None:
        """The person and the parents may ask; in the fake's city every child is a minor."""
        born = self.people.births[subject].person
        if person == born:
            return "self"
        return "minor-child" if person in self.people.persons[born].parents else None

    def _holds(self, person: str, subject: str) -> str | None:
        """Holders, their spouses and their parents may ask; in the fake's city every child is a minor."""
        holders = {share.person for share in self.people.lists[subject].shares}
        if person in holders:
            return "holder"
        if self.people.persons[person].spouse in holders:
            return "spouse"
        parents = {parent for holder in holders for parent in self.people.persons[holder].parents}
        return "minor-child" if person in parents else None

    def _answer(self, question: str) -> None:
        self.asked.append(question)
        if self.down:
            raise UnavailableError("the registry does not answer")


class FakePayments:
    """The port `Payments` with one dictionary; `down` and `refuses` are its faults."""

    def __init__(self) -> None:
        self.held: dict[str, Authorisation] = {}
        self.down = False
        self.refuses = False

    def authorise(self, authorisation: str, reference: str, amount_cents: int) -> None:
        """What a terminal does."""
        self.held[authorisation] = Authorisation(authorisation, reference, amount_cents, "authorised")

    def state(self, authorisation: str) -> str:
        return self.held[authorisation].state

    def authorisation(self, authorisation: str) -> Authorisation | None:
        self._answer()
        return self.held.get(authorisation)

    def last_for(self, reference: str) -> Authorisation | None:
        self._answer()
        return next((each for each in reversed(self.held.values()) if each.reference == reference), None)

    def capture(self, authorisation: str, key: str) -> None:
        self._settle(authorisation, "captured")

    def void(self, authorisation: str, key: str) -> None:
        self._settle(authorisation, "voided")

    def _settle(self, authorisation: str, state: str) -> None:
        self._answer()
        found = self.held.get(authorisation)
        if self.refuses or found is None or found.state not in ("authorised", state):
            raise RefusedError("this authorisation is void, captured or unknown")
        self.held[authorisation] = Authorisation(authorisation, found.reference, found.amount_cents, state)

    def _answer(self) -> None:
        if self.down:
            raise UnavailableError("the payment service does not answer")
