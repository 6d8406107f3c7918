"""The text of receipts and slips: columns, letters, dates, money."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.documents import Kind
from contract.languages import LANGUAGES
from edge_agent.documents.languages import load
from edge_agent.documents.receipt import COLUMNS, Line, Receipt, receipt, slip
from edge_agent.documents.screen import Whom
from edge_agent.documents.words import bring, slip_title

AT = datetime(2026, 11, 3, 9, 5)  # noqa: DTZ001 local time, as printed
WORDS = load()


def said(**changes: object) -> Receipt:
    values: dict[str, object] = {
        "municipality": "Komuna e Prishtinës",
        "kind": "Certifikatë e pronësisë (fletë poseduese)",
        "serial": "PR-2026-000123",
        "amount_cents": 400,
        "at": AT,
        "verify_url": "https://dokumente.prishtina.example/sq/verify",
    }
    return Receipt(**(values | changes))  # type: ignore[arg-type] # by name


def test_a_receipt_as_it_is_printed() -> None:
    lines = receipt(said(), WORDS["sq"])
    assert [line.text for line in lines] == [
        "Komuna e Prishtinës",
        "",
        "Fletëpagesë",
        "",
        "Certifikatë e pronësisë (fletë poseduese)",
        "Numri                       PR-2026-000123",
        "Data                      03.11.2026 09:05",
        "-" * 42,
        "Paguar me kartë                     4,00 €",
        "-" * 42,
        "Kushdo mund ta verifikojë dokumentin te:",
        "https://dokumente.prishtina.example/sq/ver",
        "ify",
        "",
        "Faleminderit",
    ]
    assert lines[2] == Line("Fletëpagesë", centred=True, bold=True, large=True)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("whom", Whom)
@pytest.mark.parametrize("kind", Kind)
def test_every_slip_fits_and_is_in_latin_letters(language: str, whom: Whom, kind: str) -> None:
    say = WORDS[language]
    lines = slip("Општина Приштина", slip_title(kind, whom, say), bring(kind, whom, say), say)
    text = "\n".join(line.text for line in lines)
    assert all(len(line.text) <= COLUMNS for line in lines)
    assert text.replace("€", "").encode("cp852")
    assert "Opština Priština" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_receipt_can_be_printed_in_the_code_page(language: str) -> None:
    for line in receipt(said(municipality="Општина Приштина"), WORDS[language]):
        assert line.text.replace("€", "").encode("cp852") is not None
        assert len(line.text) <= (COLUMNS // 2 if line.large else COLUMNS)


@given(st.text(max_size=80), st.text(max_size=80), st.integers(0, 10**9), st.text(max_size=300))
def test_whatever_is_said_fits_the_paper(kind: str, serial: str, cents: int, url: str) -> None:
    for line in receipt(said(kind=kind, serial=serial, amount_cents=cents, verify_url=url), WORDS["sr-Cyrl"]):
        assert len(line.text) <= COLUMNS
        assert "\n" not in line.text


def test_no_address_is_no_line() -> None:
    assert not any("verifikojë" in line.text for line in receipt(said(verify_url=""), WORDS["sq"]))
