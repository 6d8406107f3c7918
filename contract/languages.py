"""The languages and alphabets of every page, and how official papers write money and dates."""

from datetime import date

LANGUAGES = ("sq", "sr-Latn", "sr-Cyrl", "en")
"""As they stand in addresses and in `lang` attributes (BCP 47); Albanian comes first."""
NAMES = {"sq": "Shqip", "sr-Latn": "Srpski", "sr-Cyrl": "Српски", "en": "English"}
CATALOGUES = {"sq": "sq", "sr-Latn": "sr_Latn", "sr-Cyrl": "sr_Cyrl", "en": "en"}
"""Catalogue of each language; `sr_Latn` is generated from `sr_Cyrl` by `latin`."""
LOCALES = {"sq": "sq_XK", "sr-Latn": "sr_Latn_XK", "sr-Cyrl": "sr_Cyrl_XK", "en": "en_GB"}
"""CLDR locales for screens; official papers use `euros` and `official_date` instead."""

_DIGRAPHS = {"Љ": "Lj", "Њ": "Nj", "Џ": "Dž"}
_LATIN = str.maketrans(
    {
        **dict(zip("абвгдђежзијклмнопрстћуфхцчш", "abvgdđežzijklmnoprstćufhcčš", strict=True)),
        **dict(zip("АБВГДЂЕЖЗИЈКЛМНОПРСТЋУФХЦЧШ", "ABVGDĐEŽZIJKLMNOPRSTĆUFHCČŠ", strict=True)),
        "љ": "lj",
        "њ": "nj",
        "џ": "dž",
    }
)


def latin(text: str) -> str:
    """Serbian Cyrillic as Serbian Latin; other characters stay. The way back does not exist (nj, lj, dž)."""
    out = []
    for i, letter in enumerate(text):
        digraph = _DIGRAPHS.get(letter)
        if digraph is None:
            out.append(letter)
            continue
        around = text[i - 1 : i] if i + 1 == len(text) or not text[i + 1].isalpha() else text[i + 1]
        out.append(digraph.upper() if around.isupper() else digraph)
    return "".join(out).translate(_LATIN)


def euros(cents: int) -> str:
    """An amount as official papers and receipts write it: `4,00 €`."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100},{abs(cents) % 100:02d} €"


def official_date(day: date) -> str:
    """A date as official papers write it: `dd.mm.yyyy`."""
    return f"{day.day:02d}.{day.month:02d}.{day.year:04d}"
