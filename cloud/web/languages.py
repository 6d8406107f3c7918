"""The catalogues of all ways as one, and how each language writes dates, numbers and money on screens.

Each way keeps `translations/sq.po` and `translations/sr_Cyrl.po`; the msgid is the English text. Serbian
Latin is generated from Cyrillic, because the way back does not exist.
"""

import gettext
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError, dates, numbers
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

from cloud.errors import SettingsError
from contract.languages import CATALOGUES, LANGUAGES, LOCALES, NAMES, latin

ZONE = ZoneInfo("Europe/Belgrade")
"""Kosovo's civil time; the time zone database has no name of its own for it."""
ACCEPT_LENGTH_MAX = 256
"""Characters of an Accept-Language header that are looked at."""
_SOURCES = {"sq": "sq", "sr-Latn": "sr_Cyrl", "sr-Cyrl": "sr_Cyrl"}


def N_(text: str) -> str:  # noqa: N802 - the name that gettext's tools look for
    """Mark `text` for translation where it stands; it is translated where it is shown."""
    return text


@dataclass(frozen=True)
class Language:
    """One language: its words and its habits. `code` is one of `contract.languages.LANGUAGES`."""

    code: str
    name: str
    locale: Locale
    translations: gettext.NullTranslations

    def gettext(self, text: str) -> str:
        """`text` in this language."""
        return self.translations.gettext(text)

    def ngettext(self, one: str, many: str, count: int) -> str:
        """The form of the text that goes with `count`."""
        return self.translations.ngettext(one, many, count)

    def date(self, moment: datetime) -> str:
        """The civil date of a moment, such as `23 nën 2026`."""
        return dates.format_date(moment.astimezone(ZONE), "medium", locale=self.locale)

    def time(self, moment: datetime) -> str:
        """The civil time of a moment, 24 hours with seconds."""
        return dates.format_time(moment.astimezone(ZONE), "HH:mm:ss", locale=self.locale)

    def moment(self, moment: datetime) -> str:
        """Date and time."""
        return f"{self.date(moment)} {self.time(moment)}"

    def number(self, value: float | Decimal, digits: int = 0) -> str:
        """A number with its grouping, and `digits` after the decimal sign; a zero has no sign."""
        pattern = "#,##0" + ("." + "0" * digits if digits else "")
        shown = value if round(value, digits) else 0
        return numbers.format_decimal(shown, pattern, locale=self.locale)

    def money(self, cents: int) -> str:
        """An amount in euros for a screen; papers use `contract.languages.euros`."""
        return numbers.format_currency(Decimal(cents) / 100, "EUR", locale=self.locale)


def load(folders: Iterable[Path]) -> Mapping[str, Language]:
    """Every language, with the catalogues found in `folders` merged.

    Raises:
        SettingsError: a catalogue cannot be read, or two of them translate a text differently.
    """
    files = list(folders)
    return {code: _language(code, files) for code in LANGUAGES}


def way_folders(package: Path) -> list[Path]:
    """The `translations` folders of the ways in `package`, in a fixed order."""
    return sorted(path for path in package.glob("*/translations") if path.is_dir())


def negotiate(accept: str) -> str:
    """The language that an Accept-Language header asks for; Albanian where it asks for none of ours.

    A bare `sr` is Cyrillic, as in CLDR's likely subtags.
    """
    wishes: list[tuple[float, int, str]] = []
    for position, part in enumerate(accept[:ACCEPT_LENGTH_MAX].split(",")):
        tag, _, parameter = part.strip().partition(";")
        quality = parameter.strip().removeprefix("q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            continue
        code = _code(tag.lower())
        if code is not None and weight > 0:
            wishes.append((-weight, position, code))
    return min(wishes)[2] if wishes else LANGUAGES[0]


def _code(tag: str) -> str | None:
    if tag.startswith("sr-latn"):
        return "sr-Latn"
    return {"sq": "sq", "sr": "sr-Cyrl", "en": "en"}.get(tag.split("-")[0])


def _language(code: str, folders: list[Path]) -> Language:
    source = _SOURCES.get(code)
    merged = Catalog(locale=CATALOGUES[code])
    if source is not None:
        for folder in folders:
            _merge(merged, folder / f"{source}.po", source, to_latin=code == "sr-Latn")
    compiled = io.BytesIO()
    write_mo(compiled, merged)
    compiled.seek(0)
    return Language(code, NAMES[code], _locale(code), Translations(compiled))


def _locale(code: str) -> Locale:
    """CLDR's locale for Kosovo, or the language alone where this copy of CLDR does not have it."""
    try:
        return Locale.parse(LOCALES[code])
    except UnknownLocaleError:
        return Locale.parse(code, sep="-")


def _merge(into: Catalog, path: Path, source: str, *, to_latin: bool) -> None:
    if not path.is_file():
        return
    with path.open("rb") as file:
        found = read_po(file, locale=source, abort_invalid=True)
    for message in found:
        if message.id and message.string and not message.fuzzy:
            string = _in_latin(message) if to_latin else message.string
            known = into.get(message.id, message.context)
            if known is not None and known.string != string:
                raise SettingsError(f"{path}: {message.id!r} is translated differently elsewhere")
            into.add(message.id, string, context=message.context)


def _in_latin(message: Message) -> str | tuple[str, ...]:
    if isinstance(message.string, str):
        return latin(message.string)
    return tuple(latin(form) for form in message.string or ())
