"""Catalogues, negotiation, and how each language writes numbers and dates."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from cloud.errors import SettingsError
from cloud.web import languages
from cloud.web.languages import negotiate
from contract.languages import LANGUAGES, LOCALES

HEAD = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n"Language: {0}\\n"\n'
SERBIAN = HEAD.format("sr_Cyrl") + (
    '"Plural-Forms: nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && '
    '(n%100<10 || n%100>=20) ? 1 : 2);\\n"\n'
    '\nmsgid "Verify"\nmsgstr "Провери љубазно"\n'
    '\nmsgid "%(num)s device"\nmsgid_plural "%(num)s devices"\n'
    'msgstr[0] "%(num)s уређај"\nmsgstr[1] "%(num)s уређаја"\nmsgstr[2] "%(num)s уређаја!"\n'
)
ALBANIAN = HEAD.format("sq") + '\nmsgid "Verify"\nmsgstr "Verifiko"\n'


@pytest.fixture
def loaded(tmp_path):
    (tmp_path / "sr_Cyrl.po").write_text(SERBIAN)
    (tmp_path / "sq.po").write_text(ALBANIAN)
    return languages.load([tmp_path])


def test_serbian_latin_is_made_from_cyrillic(loaded):
    said = {code: language.gettext("Verify") for code, language in loaded.items()}
    assert said == {
        "sq": "Verifiko",
        "sr-Cyrl": "Провери љубазно",
        "sr-Latn": "Proveri ljubazno",
        "en": "Verify",
    }


def test_plural_forms_follow_the_language(loaded):
    def say(code, count):
        return loaded[code].ngettext("%(num)s device", "%(num)s devices", count)

    forms = ["%(num)s uređaj", "%(num)s uređaja", "%(num)s uređaja!", "%(num)s uređaj"]
    assert [say("sr-Latn", count) for count in (1, 3, 5, 21)] == forms
    assert [say("en", count) for count in (1, 2)] == ["%(num)s device", "%(num)s devices"]


def test_two_ways_may_not_translate_one_text_differently(tmp_path):
    for name, word in (("a", "Verifiko"), ("b", "Kontrollo")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sq.po").write_text(ALBANIAN.replace("Verifiko", word))
    with pytest.raises(SettingsError, match="Verify"):
        languages.load([tmp_path / "a", tmp_path / "b"])


@pytest.mark.parametrize(
    ("accept", "code"),
    [
        ("", "sq"),
        ("de", "sq"),
        ("en-GB,en;q=0.9", "en"),
        ("sr", "sr-Cyrl"),
        ("sr-Latn-RS", "sr-Latn"),
        ("sr-Cyrl-XK,sq;q=0.5", "sr-Cyrl"),
        ("de,en;q=0.3,sq;q=0.8", "sq"),
        ("en;q=0,sr-Latn;q=0.1", "sr-Latn"),
        ("en;q=oops,*", "sq"),
        ("x" * 10_000, "sq"),
    ],
)
def test_the_browser_is_asked(accept, code):
    assert negotiate(accept) == code


def test_every_language_has_kosovos_own_habits(loaded):
    assert {code: str(loaded[code].locale) for code in LANGUAGES} == LOCALES
    moment = datetime(2026, 11, 23, 22, 59, 5, tzinfo=UTC)
    assert loaded["en"].moment(moment) == "23 Nov 2026 23:59:05"
    assert loaded["en"].money(400) == "€4.00"
    assert loaded["sr-Cyrl"].number(12345.678, 2) == "12.345,68"
    assert loaded["sr-Latn"].date(moment) == "23. 11. 2026."
    assert loaded["sq"].number(1234) == "1\u00a0234"
    assert loaded["en"].number(-0.04, 1) == loaded["en"].number(Decimal("-0.04"), 1) == "0.0"
    assert "4,00" in loaded["sq"].money(400)
