"""Machine-readable zones: ICAO's own specimens, each check digit, centuries, and what is no zone."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.documents import Identification
from edge_agent.documents.mrz import Zone, check_digit, identification, parse
from edge_agent.errors import MalformedError, RefusedError

TODAY = date(2026, 11, 23)
# Doc 9303 part 5, appendix B, and part 4, appendix B.
TD1 = "I<UTOD231458907<<<<<<<<<<<<<<<\r7408122F1204159UTO<<<<<<<<<<<6\rERIKSSON<<ANNA<MARIA<<<<<<<<<<\r"
TD3 = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\rL898902C36UTO7408122F1204159ZE184226B<<<<<10\r"


def td1(number: str, personal: str, born: str, expires: str) -> str:
    """A card, its check digits computed here."""
    first = f"I<RKS{number:<9}".replace(" ", "<") + str(check_digit(f"{number:<9}".replace(" ", "<")))
    first = (first + personal).ljust(30, "<")
    second = f"{born}{check_digit(born)}F{expires}{check_digit(expires)}RKS".ljust(29, "<")
    composite = first[5:30] + second[0:7] + second[8:15] + second[18:29]
    return "\r".join((first, second + str(check_digit(composite)), "KRASNIQI<<ARTA".ljust(30, "<"))) + "\r"


def test_the_specimens_of_icao_are_read() -> None:
    born, expires = date(1974, 8, 12), date(2012, 4, 15)
    assert parse(TD1, TODAY) == Zone("UTO", "D23145890", ("", ""), born, expires)
    assert parse(TD3, TODAY) == Zone("UTO", "L898902C3", ("ZE184226B",), born, expires)
    assert check_digit("520727") == 3  # part 3, 4.9, example 1
    assert check_digit("AB2134<<<") == 5  # example 2


def test_a_card_identifies_its_holder() -> None:
    zone = parse(td1("K1234567", "1001234567", "900314", "310101"), TODAY)
    assert identification(zone, TODAY) == Identification(
        personal_number="1001234567", document_number="K1234567", date_of_birth="1990-03-14"
    )


def test_lines_may_end_as_any_reader_ends_them() -> None:
    for end in ("\r\n", "\n"):
        assert parse(TD1.replace("\r", end), TODAY) == parse(TD1, TODAY)


@given(st.data())
def test_one_wrong_character_is_noticed(data: st.DataObject) -> None:
    """Only a change by a multiple of ten of the weighted sum hides; a digit for a digit never does."""
    lines = td1("K1234567", "1001234567", "900314", "310101").split("\r")
    line = data.draw(st.sampled_from([0, 1]))
    places = [i for i, letter in enumerate(lines[line]) if letter.isdigit()]
    place = data.draw(st.sampled_from(places))
    digit = data.draw(st.sampled_from([d for d in "0123456789" if d != lines[line][place]]))
    lines[line] = lines[line][:place] + digit + lines[line][place + 1 :]
    with pytest.raises(MalformedError):
        parse("\r".join(lines), TODAY)


def test_a_long_document_number_goes_on_in_the_optional_data() -> None:
    digit = check_digit("D23145890AB112")
    first = f"I<UTOD23145890<AB112{digit}<<<<<<<<<".ljust(30, "<")
    second = TD1.split("\r")[1][:29]
    composite = first[5:30] + second[0:7] + second[8:15] + second[18:29]
    text = "\r".join((first, second + str(check_digit(composite)), TD1.split("\r")[2]))
    assert parse(text, TODAY).document_number == "D23145890AB112"


@pytest.mark.parametrize(
    ("born", "year"), [("261123", 2026), ("261124", 1926), ("000229", 2000), ("990101", 1999)]
)
def test_nobody_is_born_tomorrow(born: str, year: int) -> None:
    assert parse(td1("K1", "1001234567", born, "310101"), TODAY).date_of_birth.year == year


def test_an_expired_card_is_refused_and_one_of_today_is_not() -> None:
    with pytest.raises(RefusedError, match="expired"):
        identification(parse(td1("K1", "1001234567", "900314", "261122"), TODAY), TODAY)
    identification(parse(td1("K1", "1001234567", "900314", "261123"), TODAY), TODAY)


def test_a_foreign_card_without_personal_number_identifies_nobody() -> None:
    with pytest.raises(MalformedError, match="personal number"):
        identification(parse(td1("K1", "12345", "900314", "310101"), TODAY), TODAY)


@given(st.text(max_size=600))
def test_whatever_a_reader_sends_is_a_zone_or_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        parse(text, TODAY)


@given(
    st.text(alphabet="ABC019<", min_size=30, max_size=30), st.text(alphabet="019<", min_size=30, max_size=30)
)
def test_noise_in_the_right_shape_is_malformed_too(first: str, second: str) -> None:
    try:
        parse("\r".join((first, second, first)), TODAY)
    except MalformedError:
        pass
