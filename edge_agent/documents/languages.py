"""The texts of the kiosk in four languages.

The msgid is the English text; `translations/sq.po` and `translations/sr_Cyrl.po` hold the others, and Serbian
Latin is generated. The files are read here and not by Babel, which a kiosk does not carry: 30 MB on its disk
for one file format.
"""

import ast
from collections.abc import Callable, Mapping
from pathlib import Path

from contract.languages import LANGUAGES, euros, latin
from edge_agent.errors import SettingsError

FOLDER = Path(__file__).parent / "translations"
Translate = Callable[[str], str]


def load(folder: Path = FOLDER) -> Mapping[str, Translate]:
    """A translator for each language of `contract.languages.LANGUAGES`; an unknown text stays as it is.

    Raises:
        SettingsError: a catalogue is missing or cannot be read.
    """
    albanian, cyrillic = (read(folder / f"{name}.po") for name in ("sq", "sr_Cyrl"))
    words = {
        "sq": albanian,
        "sr-Cyrl": cyrillic,
        "sr-Latn": {text: latin(said) for text, said in cyrillic.items()},
        "en": {},
    }
    assert set(words) == set(LANGUAGES)
    return {language: _translator(known) for language, known in words.items()}


def read(path: Path) -> dict[str, str]:
    """The entries of one catalogue: `msgid` and `msgstr`, each a string over one or more lines.

    Raises:
        SettingsError: the file cannot be read, or has a line that is not understood.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"catalogue {path}: {error}; install the agent again") from error
    found: dict[str, str] = {}
    parts = {"msgid": "", "msgstr": ""}
    field = ""
    for number, line in enumerate([*lines, 'msgid ""'], 1):
        word, _, rest = line.partition(" ")
        if not line.strip() or line.startswith("#"):
            continue
        if word in parts:
            if word == "msgid" and parts["msgid"]:
                found[parts["msgid"]] = parts["msgstr"]
            field, parts[word] = word, _string(rest, path, number)
        elif line.startswith('"') and field:
            parts[field] += _string(line, path, number)
        else:
            raise SettingsError(f"catalogue {path}, line {number}: only msgid and msgstr are understood")
    return found


def money(language: str, cents: int) -> str:
    """An amount for a screen, as CLDR's locales sq_XK, sr_*_XK and en_GB write it."""
    return f"€{cents // 100}.{cents % 100:02d}" if language == "en" else euros(cents)


def _translator(known: Mapping[str, str]) -> Translate:
    def translate(text: str) -> str:
        return known.get(text) or text

    return translate


def _string(quoted: str, path: Path, number: int) -> str:
    try:
        value = ast.literal_eval(quoted)
    except (SyntaxError, ValueError):
        value = None
    if not isinstance(value, str):
        raise SettingsError(f"catalogue {path}, line {number}: a text in double quotes is missing")
    return value
