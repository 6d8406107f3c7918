"""Alphabets, money and dates as official papers need them; ids in order of time."""

import uuid
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.enrolment import device_id
from contract.errors import MalformedError
from contract.ids import RANDOM_BYTES, uuid7
from contract.languages import CATALOGUES, LANGUAGES, LOCALES, NAMES, euros, latin, official_date


@pytest.mark.parametrize(
    ("cyrillic", "expected"),
    [
        ("Љиљана Ђорђевић", "Ljiljana Đorđević"),
        ("ЊЕГОШ", "NJEGOŠ"),
        ("Џ", "Dž"),
        ("наџак", "nadžak"),
        ("Уверење о власништву", "Uverenje o vlasništvu"),
        ("КРАЉ", "KRALJ"),
        ("Prishtinë 3", "Prishtinë 3"),
    ],
)
def test_cyrillic_becomes_latin(cyrillic: str, expected: str) -> None:
    assert latin(cyrillic) == expected


def test_every_language_has_a_name_a_catalogue_and_a_locale() -> None:
    assert set(LANGUAGES) == set(NAMES) == set(CATALOGUES) == set(LOCALES)


def test_money_and_dates_on_papers() -> None:
    assert (euros(400), euros(5), euros(-250), euros(123456)) == ("4,00 €", "0,05 €", "-2,50 €", "1234,56 €")
    assert official_date(date(2026, 3, 1)) == "01.03.2026"


@given(st.integers(0, (1 << 48) - 1), st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES))
def test_ids_are_version_7_and_keep_their_time(now_ms: int, random: bytes) -> None:
    value = uuid.UUID(uuid7(now_ms, random))
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert value.int >> 80 == now_ms


@pytest.mark.parametrize("bad", ["", "Kiosk-1", "-a", "a-", "a" * 64, "a.b", "a/b", "kiosk_1", "ë"])
def test_a_device_id_is_a_dns_label(bad: str) -> None:
    with pytest.raises(MalformedError, match="no device id"):
        device_id(bad)
    assert device_id("kiosk-01") == "kiosk-01"
