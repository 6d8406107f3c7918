"""People and cards: the same for the same seed, whole, and readable as the standard says."""

import re
from datetime import date

from contract.languages import latin
from edge_agent.documents import mrz as reader
from simulators import mrz
from simulators.people import RIGHTS, USES, Person, generate

CITY = generate(7, households=120)


def test_the_same_seed_makes_the_same_city() -> None:
    assert generate(7, households=120) == CITY
    assert generate(8, households=120) != CITY


def test_numbers_have_their_form_and_belong_to_one_person() -> None:
    people = list(CITY.persons.values())
    for field, form in {"personal_number": r"[1-9]\d{9}", "document_number": r"[1-9]\d{8}"}.items():
        values = [getattr(person, field) for person in people]
        assert len(set(values)) == len(values)
        assert all(re.fullmatch(form, value) for value in values)


def test_all_spellings_occur() -> None:
    surnames = {person.surname for person in CITY.persons.values()}
    assert any("ë" in name or "ç" in name or "Ç" in name for name in surnames)
    assert any("ć" in name for name in surnames)
    assert any("ћ" in name for name in surnames)


def test_everything_that_is_held_is_held_by_somebody_and_adds_up() -> None:
    for held in CITY.lists.values():
        assert {share.person for share in held.shares} <= CITY.persons.keys()
        parts = [share.share.split("/") for share in held.shares]
        assert sum(int(over) / int(under) for over, under in parts) == 1
        assert held.parcels
        for parcel in held.parcels:
            assert parcel.use in USES
            assert parcel.area_m2 > 0
            assert 7_400_000 < parcel.y_m < 7_600_000, "Y is the easting"
            assert 4_600_000 < parcel.x_m < 4_800_000, "X is the northing"
        for right in held.rights:
            assert right.kind in RIGHTS
            assert right.parcel in {parcel.number for parcel in held.parcels}


def test_the_first_households_are_what_demonstrations_need() -> None:
    man, woman, child, landless, *_ = CITY.persons.values()
    assert man.spouse == woman.person
    assert woman.spouse == man.person
    assert CITY.family(man.person) == {woman.person: "spouse", child.person: "child"}
    assert CITY.lists_of(child.person)
    assert not CITY.lists_of(landless.person)


def test_the_check_digit_is_that_of_the_standard() -> None:
    # ICAO Doc 9303, part 3, section 4.9: the worked examples.
    assert mrz.check_digit("520727") == "3"
    assert mrz.check_digit("AB2134<<<") == "5"


def test_a_card_reads_as_the_standard_says() -> None:
    person = Person(
        person="x",
        personal_number="1234567890",
        document_number="987654321",
        document_expires=date(2031, 2, 3),
        given_names="Љиљана Ана",
        surname="Ђорђевић-Thaçi",
        sex="F",
        date_of_birth=date(1990, 12, 31),
        address="",
    )
    first, second, third = mrz.td1(person)
    assert first == "IDRKS987654321" + mrz.check_digit("987654321") + "1234567890<<<<<"
    assert second[:18] == "901231" + mrz.check_digit("901231") + "F310203" + mrz.check_digit("310203") + "RKS"
    assert second[29] == mrz.check_digit(first[5:30] + second[0:7] + second[8:15] + second[18:29])
    assert third == "DORDEVIC<THACI<<LJILJANA<ANA<<"


def test_every_card_has_three_lines_of_thirty_allowed_characters() -> None:
    for person in CITY.persons.values():
        for line in mrz.td1(person):
            assert re.fullmatch(r"[A-Z0-9<]{30}", line), latin(person.name)


def test_a_kiosk_reads_from_every_card_what_the_registry_knows() -> None:
    today = date(2026, 11, 23)
    for person in CITY.persons.values():
        read = reader.identification(reader.parse("\r".join(mrz.td1(person)), today), today)
        assert (read.personal_number, read.document_number, read.date_of_birth) == (
            person.personal_number,
            person.document_number,
            person.date_of_birth.isoformat(),
        )
