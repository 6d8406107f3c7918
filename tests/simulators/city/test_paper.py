"""The code is read off a real sealed paper as a person reads it."""

import pytest

from cloud.documents import kinds
from cloud.documents.issue import spaced
from cloud.documents.possession_sheet import page
from cloud.documents.render_typst import TypstRenderer
from simulators.city.paper import code_on
from tests.cloud.documents.papers import CODE, SHEET, issue


@pytest.mark.parametrize("language", ["sq", "sr-Cyrl", "en"])
def test_the_code_is_read_off_a_paper(language: str) -> None:
    known = kinds.load()
    rules = known.by_name["possession-sheet"]
    pdf = TypstRenderer()("possession-sheet", page(SHEET, issue(language), rules, known))
    assert code_on(pdf) == spaced(CODE)


def test_another_pdf_has_none() -> None:
    with pytest.raises(LookupError, match="no code"):
        code_on(b"%PDF-1.7\nstream\nnothing\nendstream\n")
