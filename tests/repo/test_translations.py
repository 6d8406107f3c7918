"""Every text that people see is translated, and no catalogue holds what nobody says any more.

A way's words are in its own `translations/{sq,sr_Cyrl}.po`, or in those of `cloud/web` for the words that
all pages share. Serbian Latin is generated, English is the msgid.
"""

import functools
import re
from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.pofile import read_po

ROOT = Path(__file__).parents[2]
SHARED = ROOT / "cloud" / "web"
LANGUAGES = ("sq", "sr_Cyrl")
JINJA_OPTIONS = {"trimmed": "true", "newstyle_gettext": "true"}
KEYWORDS = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2)}
PLACE = re.compile(r"%\((\w+)\)|\{(\w*)\}")

UNITS = {"dBFS"}
"""Signs that are the same in every language."""

Text = str | tuple[str, ...]


def ways() -> list[Path]:
    """Every folder of a program that says something to people."""
    folders = [path for side in ("cloud", "edge_agent") for path in (ROOT / side).iterdir() if path.is_dir()]
    return sorted(path for path in folders if said_in(path) or (path / "translations").is_dir())


@functools.cache
def said_in(way: Path) -> frozenset[Text]:
    """The texts that are marked for translation in a way's Python and templates."""
    found: set[Text] = set()
    for path in way.rglob("*"):
        method = {".py": "python", ".html": "jinja2.ext:babel_extract"}.get(path.suffix)
        if method is not None:
            options = JINJA_OPTIONS if path.suffix == ".html" else {}
            for _line, message, _comments, _context in extract(
                method, BytesIO(path.read_bytes()), KEYWORDS, options=options
            ):
                found.add(message if isinstance(message, str) else tuple(message))
    return frozenset(found)


@functools.cache
def catalogue(way: Path, language: str) -> dict[Text, Message]:
    path = way / "translations" / f"{language}.po"
    if not path.exists():
        return {}
    with path.open("rb") as file:
        read: Catalog = read_po(file, locale=language, abort_invalid=True)
    return {
        tuple(message.id) if isinstance(message.id, list | tuple) else message.id: message
        for message in read
        if message.id
    }


def forms(message: Message) -> list[str]:
    return [message.string] if isinstance(message.string, str) else list(message.string)


def places(text: str) -> set[str]:
    """What is filled into a text."""
    return {one or other for one, other in PLACE.findall(text)}


def name(way: Path) -> str:
    return str(way.relative_to(ROOT))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("way", ways(), ids=name)
def test_every_text_is_translated(way: Path, language: str) -> None:
    known = (catalogue(SHARED, language) if way.parent.name == "cloud" else {}) | catalogue(way, language)
    assert sorted(str(text) for text in said_in(way) - set(known)) == [], f"missing in {name(way)}"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("way", ways(), ids=name)
def test_a_catalogue_is_whole(way: Path, language: str) -> None:
    for text, message in catalogue(way, language).items():
        assert not message.fuzzy, text
        wanted = places(text if isinstance(text, str) else text[-1])
        for form in forms(message):
            assert form.strip(), f"{text!r} is empty"
            one_form_may_drop = {"num", "count"} if not isinstance(text, str) else set()
            assert places(form) <= wanted, text
            assert wanted - places(form) <= one_form_may_drop, text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("way", ways(), ids=name)
def test_nothing_is_translated_that_nobody_says(way: Path, language: str) -> None:
    """A shared word is said by the frame itself, or by two ways at least."""
    said = said_in(way)
    if way == SHARED:
        count = Counter(text for other in ways() if other.parent == way.parent for text in said_in(other))
        said |= {text for text in count if count[text] > 1}
    assert sorted(str(text) for text in set(catalogue(way, language)) - said) == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("way", [way for way in ways() if way != SHARED], ids=name)
def test_shared_words_are_said_one_way_only(way: Path, language: str) -> None:
    shared = catalogue(SHARED, language) if way.parent.name == "cloud" else {}
    twice = set(shared) & set(catalogue(way, language))
    assert sorted(str(text) for text in twice) == [], "leave it to cloud/web/translations"


def said_differently(folders: list[Path], language: str) -> dict[Text, dict[str, list[str]]]:
    """Texts of which catalogues say different things: each saying with the files that have it."""
    found: dict[Text, dict[str, list[str]]] = {}
    for way in folders:
        for text, message in catalogue(way, language).items():
            saying = " | ".join(forms(message))
            file = str(way / "translations" / f"{language}.po")
            found.setdefault(text, {}).setdefault(saying, []).append(file)
    return {text: sayings for text, sayings in found.items() if len(sayings) > 1}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("side", ["cloud", "edge_agent"])
def test_a_text_is_said_one_way_in_all_catalogues(side: str, language: str) -> None:
    """Otherwise the control plane does not start, and says so of one file only."""
    assert said_differently([way for way in ways() if way.parent.name == side], language) == {}


def test_two_sayings_of_one_text_are_named_with_both_files(tmp_path: Path) -> None:
    head = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n"Language: sq\\n"\n\n'
    files = []
    for way, saying in {"jobs": "Ndrysho", "devices": "Ndryshimi", "updates": "Ndrysho"}.items():
        file = tmp_path / way / "translations" / "sq.po"
        file.parent.mkdir(parents=True)
        file.write_text(f'{head}msgid "Change"\nmsgstr "{saying}"\n', encoding="utf-8")
        files.append(str(file))
    jobs, devices, updates = files
    found = said_differently([tmp_path / way for way in ("jobs", "devices", "updates")], "sq")
    assert found == {"Change": {"Ndrysho": [jobs, updates], "Ndryshimi": [devices]}}


def test_serbian_is_written_in_cyrillic() -> None:
    """Latin letters stay only where they stay in every alphabet: abbreviations, names of things, codes."""
    allowed = re.compile(
        r"%\(\w+\)[sd]|\{\w*\}|<[^>]*>|&\w+;|https?://\S+|[A-Z]{2,}\d*|QR|PDF|svc-|Civic Fleet"
    )
    for way in ways():
        for text, message in catalogue(way, "sr_Cyrl").items():
            for form in forms(message):
                left = re.findall(r"[A-Za-zčćžšđČĆŽŠĐ]{2,}", allowed.sub("", form))
                assert not left, f"{name(way)}: {text!r}: {left}"


def templates() -> list[Path]:
    return sorted(
        path for side in ("cloud", "edge_agent") for path in (ROOT / side).rglob("templates/**/*.html")
    )


@pytest.mark.parametrize("path", templates(), ids=name)
def test_no_template_speaks_english_by_itself(path: Path) -> None:
    """Words between tags, and those that screen readers say, go through `_()`."""
    source = re.sub(r"\{% block body_class %\}.*?\{% endblock %\}", "", path.read_text())
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<!--.*?-->", "", source, flags=re.DOTALL)
    said = re.findall(r'\b(?:aria-label|title|placeholder|alt)="([^"]*)"', text)
    between = re.sub(r"<[^>]*>|&\w+;", " ", text)
    words = re.findall(r"[A-Za-z]{3,}", " ".join([between, *said]))
    assert [word for word in words if word not in UNITS] == []
