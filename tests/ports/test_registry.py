"""One suite for the fake registry and for the adapter on the simulated cadastre."""

from collections.abc import Iterator
from datetime import date

import httpx
import pytest

from cloud.documents.birth_certificate import Birth
from cloud.documents.ports import Registry
from cloud.documents.possession_sheet import Sheet
from cloud.documents.registry_http import RegistryHttp
from cloud.errors import RefusedError, UnavailableError
from contract.documents import Identification, Kind, Whom
from contract.languages import official_date
from simulators.people import Person, generate
from simulators.services.registries import registries_app
from tests.ports.documents_fakes import FakeRegistry
from tests.ports.serving import served

CITY = generate(3)
MAN, WOMAN, CHILD, LANDLESS = list(CITY.persons.values())[:4]
STRANGER = list(CITY.persons.values())[4]
KIND = "possession-sheet"
BIRTH = Kind.BIRTH_CERTIFICATE.value
TODAY = date(2026, 11, 23)


@pytest.fixture(scope="module")
def cadastre() -> Iterator[str]:
    with served(registries_app(CITY, today=lambda: TODAY)) as url:
        yield url


@pytest.fixture(params=["fake", "http"])
def registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    if request.param == "fake":
        yield FakeRegistry(CITY)
        return
    adapter = RegistryHttp(request.getfixturevalue("cadastre"))
    yield adapter
    adapter.close()


def of(person: Person, **other: str) -> Identification:
    values = {
        "personal_number": person.personal_number,
        "document_number": person.document_number,
        "date_of_birth": person.date_of_birth.isoformat(),
    }
    return Identification(**values | other)


def ask(registry: Registry, identification: Identification) -> str | None:
    return registry.identify(identification, purpose="test", audit="1")


def test_three_values_that_belong_together_identify(registry: Registry) -> None:
    assert ask(registry, of(MAN)) == MAN.person


@pytest.mark.parametrize(
    "wrong",
    [
        of(MAN, personal_number="1000000000"),
        of(MAN, document_number="100000000"),
        of(MAN, date_of_birth="1900-01-01"),
        of(MAN, document_number=WOMAN.document_number),
        of(MAN, document_number="", date_of_birth=""),
        Identification(personal_number="", document_number="", date_of_birth=""),
    ],
)
def test_whatever_does_not_belong_together_is_nobody(registry: Registry, wrong: Identification) -> None:
    assert ask(registry, wrong) is None


def test_subjects_are_what_a_person_may_ask_about(registry: Registry) -> None:
    subjects = {each.subject: each.label for each in registry.subjects(MAN.person, KIND, None)}
    for held in (*CITY.lists_of(MAN.person), *CITY.lists_of(WOMAN.person)):
        assert subjects[held.number] == f"{held.number} · {held.zone}"
        assert registry.may_request(MAN.person, held.number, KIND).allowed
    assert registry.subjects(LANDLESS.person, KIND, None) == []


def test_strangers_may_not_ask_and_hear_why(registry: Registry) -> None:
    (held, *_) = CITY.lists_of(STRANGER.person)
    permission = registry.may_request(MAN.person, held.number, KIND)
    assert (permission.allowed, permission.reason) == (False, "not-related")
    assert not registry.may_request(MAN.person, "UL-0-0", KIND).allowed


def test_the_sheet_says_what_is_written(registry: Registry) -> None:
    (held, *_) = CITY.lists_of(MAN.person)
    sheet = registry.record(held.number, KIND)
    assert isinstance(sheet, Sheet)
    assert (sheet.number, sheet.zone, sheet.changed_on) == (held.number, held.zone, held.changed_on)
    assert [holder.name for holder in sheet.holders] == [MAN.name, WOMAN.name]
    assert [parcel.area_m2 for parcel in sheet.parcels] == [parcel.area_m2 for parcel in held.parcels]
    assert [right.kind for right in sheet.rights] == [right.kind for right in held.rights]


@pytest.mark.parametrize("kind", [KIND, BIRTH])
def test_who_it_is_for_narrows_what_is_offered(registry: Registry, kind: str) -> None:
    everything = registry.subjects(MAN.person, kind, None)
    parts = [registry.subjects(MAN.person, kind, whom) for whom in Whom]
    assert sorted(each.subject for part in parts for each in part) == sorted(
        each.subject for each in everything
    )
    mine, childs, spouses = (registry.subjects(MAN.person, kind, whom) for whom in Whom)
    assert mine
    assert childs
    assert bool(spouses) is (kind == KIND), "a spouse's birth is the spouse's own to ask for"


def test_births_are_ones_own_and_those_of_minor_children(registry: Registry) -> None:
    own, childs = CITY.birth_of(MAN.person), CITY.birth_of(CHILD.person)
    offered = {each.subject: each.label for each in registry.subjects(MAN.person, BIRTH, None)}
    assert offered == {
        birth.number: f"{who.name} · {official_date(who.date_of_birth)}"
        for birth, who in ((own, MAN), (childs, CHILD))
    }
    assert registry.may_request(MAN.person, childs.number, BIRTH).reason == "minor-child"
    assert registry.may_request(MAN.person, own.number, BIRTH).reason == "self"
    for other in (WOMAN, STRANGER):
        permission = registry.may_request(MAN.person, CITY.birth_of(other.person).number, BIRTH)
        assert (permission.allowed, permission.reason) == (False, "not-related")


def test_a_number_of_another_register_is_refused(registry: Registry) -> None:
    (held, *_) = CITY.lists_of(MAN.person)
    birth = CITY.birth_of(MAN.person)
    assert not registry.may_request(MAN.person, held.number, BIRTH).allowed
    assert not registry.may_request(MAN.person, birth.number, KIND).allowed
    with pytest.raises(RefusedError):
        registry.record(held.number, BIRTH)


def test_the_birth_says_what_is_written(registry: Registry) -> None:
    entry = CITY.birth_of(CHILD.person)
    birth = registry.record(entry.number, BIRTH)
    assert isinstance(birth, Birth)
    assert (birth.given_names, birth.surname) == (CHILD.given_names, CHILD.surname)
    assert (birth.born_on, birth.personal_number) == (CHILD.date_of_birth, CHILD.personal_number)
    assert birth.father is not None
    assert birth.mother is not None
    assert (birth.father.name, birth.mother.name) == (MAN.name, WOMAN.name)
    assert birth.registered_on > birth.born_on


def test_a_sheet_that_is_not_there_is_refused(registry: Registry) -> None:
    with pytest.raises(RefusedError):
        registry.record("UL-0-0", KIND)


def test_a_parent_may_ask_for_a_minor_child_only(cadastre: str) -> None:
    (held, *_) = CITY.lists_of(CHILD.person)
    adapter = RegistryHttp(cadastre)
    assert adapter.may_request(MAN.person, held.number, KIND).reason == "minor-child"
    adapter.close()
    grown = date(CHILD.date_of_birth.year + 18, CHILD.date_of_birth.month, CHILD.date_of_birth.day)
    with served(registries_app(CITY, today=lambda: grown)) as url:
        later = RegistryHttp(url)
        assert not later.may_request(MAN.person, held.number, KIND).allowed
        assert not later.subjects(MAN.person, BIRTH, Whom.CHILD)
        later.close()


def test_faults_are_unavailable_and_end(cadastre: str) -> None:
    adapter = RegistryHttp(cadastre, timeout_s=0.2)
    for fault in ({"mode": "down"}, {"mode": "slow", "seconds": 5}):
        httpx.post(f"{cadastre}/fault", json=fault)
        with pytest.raises(UnavailableError):
            ask(adapter, of(MAN))
    httpx.post(f"{cadastre}/fault", json={"mode": "ok"})
    adapter.close()
    again = RegistryHttp(cadastre)
    assert ask(again, of(MAN)) == MAN.person
    again.close()


async def _nonsense(scope, receive, send) -> None:  # type: ignore[no-untyped-def] # test scaffolding
    body = {"/huge": b"x" * 2_000_000, "/broken": b"{"}.get(
        "/" + scope["path"].split("/")[-1], b'{"person": 7}'
    )
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def test_nonsense_and_too_much_are_unavailable() -> None:
    with served(_nonsense) as url:
        adapter = RegistryHttp(url)
        with pytest.raises(UnavailableError, match="unexpected"):
            ask(adapter, of(MAN))
        with pytest.raises(UnavailableError, match="no JSON"):
            adapter.record("broken", KIND)
        with pytest.raises(UnavailableError, match="more than"):
            adapter.record("huge", BIRTH)
        adapter.close()


def test_nobody_there_is_unavailable() -> None:
    adapter = RegistryHttp("http://127.0.0.1:9")
    with pytest.raises(UnavailableError, match="does not answer"):
        adapter.subjects("x", KIND, None)
    adapter.close()
