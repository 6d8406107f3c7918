"""The ports of documents without a network: what a reader needs to know of them in a minute."""

import msgspec

from cloud.documents.ports import Authorisation, Permission
from cloud.documents.possession_sheet import Sheet
from cloud.errors import RefusedError, UnavailableError
from contract.documents import Identification, Subject
from simulators.people import City
from simulators.services.cadastre import sheet_of


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

    def subjects(self, person: str) -> list[Subject]:
        self._answer("subjects")
        return [
            Subject(subject=held.number, label=f"{held.number} · {held.zone}")
            for held in self.people.lists.values()
            if self._holds(person, held.number)
        ]

    def may_request(self, requester: str, subject: str, kind: str) -> Permission:
        self._answer("may_request")
        if self.forbids or subject not in self.people.lists:
            return Permission(False, "unknown-subject")
        reason = self._holds(requester, subject)
        return Permission(bool(reason), reason or "not-related")

    def sheet(self, subject: str) -> Sheet:
        self._answer("sheet")
        if subject not in self.people.lists:
            raise RefusedError("there is no such possession list")
        return msgspec.convert(sheet_of(self.people, self.people.lists[subject]), Sheet)

    def _holds(self, person: str, subject: str) -> str | None:
        """Holders and their spouses may ask; the fake knows no children."""
        holders = {share.person for share in self.people.lists[subject].shares}
        if person in holders:
            return "holder"
        return "spouse" if self.people.persons[person].spouse in holders else None

    def _answer(self, question: str) -> None:
        self.asked.append(question)
        if self.down:
            raise UnavailableError("the cadastre does not answer")


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
