"""The catalogues as the kiosk reads them, beside Babel's reading of the same files."""

from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from contract.languages import LANGUAGES
from edge_agent.documents.languages import FOLDER, load, money, read
from edge_agent.errors import SettingsError


@pytest.mark.parametrize("name", ["sq", "sr_Cyrl"])
def test_a_catalogue_is_read_as_babel_reads_it(name: str) -> None:
    with (FOLDER / f"{name}.po").open("rb") as file:
        known = {message.id: message.string for message in read_po(file) if message.id}
    assert read(FOLDER / f"{name}.po") == known


def test_each_language_says_it_its_way() -> None:
    words = load()
    assert set(words) == set(LANGUAGES)
    assert [words[language]("Welcome") for language in LANGUAGES] == [
        "Mirë se vini",
        "Dobro došli",
        "Добро дошли",
        "Welcome",
    ]
    assert words["sq"]("never said") == "never said"


def test_texts_over_several_lines_comments_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / "x.po"
    path.write_text(
        '# comment\nmsgid ""\nmsgstr ""\n"Language: sq\\n"\n\n#: somewhere\nmsgid "one "\n"text"\n'
        'msgstr ""\n"me \\"thonjëza\\""\n" këtu"\n',
        encoding="utf-8",
    )
    assert read(path) == {"one text": 'me "thonjëza" këtu'}


@pytest.mark.parametrize(
    "text", ['msgid "a"\nmsgid_plural "b"\n', 'msgid a\nmsgstr "b"\n', 'msgid "a\n', '"lost"\n', "msgid 7\n"]
)
def test_what_is_not_understood_says_where(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.po"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"x\.po, line"):
        read(path)


def test_a_missing_catalogue_says_which(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"sq\.po"):
        load(tmp_path)


def test_money_on_screens() -> None:
    assert [money(language, 1205) for language in ("sq", "sr-Cyrl", "en")] == ["12,05 €", "12,05 €", "€12.05"]
