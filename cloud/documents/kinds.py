"""What each type of document is, costs and says: data from `kinds.toml`, none of it in code."""

import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec

from cloud.errors import SettingsError
from contract.documents import Kind
from contract.languages import latin

FILE = Path(__file__).parent / "kinds.toml"


class Text(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One text in every language; `sr` is Cyrillic."""

    sq: str
    sr: str
    en: str

    def __getitem__(self, language: str) -> str:
        """The text in one of `contract.languages.LANGUAGES`."""
        match language:
            case "sq":
                return self.sq
            case "sr-Cyrl":
                return self.sr
            case "sr-Latn":
                return latin(self.sr)
            case "en":
                return self.en
        raise KeyError(language)


class Fee(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a kind costs from a day on; `basis` is its legal basis, `confirmed` whether counsel said so."""

    kind: str
    since: date
    cents: int
    basis: str
    confirmed: bool


class KindRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One type of document. `purpose` is what look-ups for it are audited with; its column has 64 letters."""

    kind: Kind
    medium: str
    valid_days: int
    purpose: Annotated[str, msgspec.Meta(max_length=64)]
    basis_confirmed: bool
    title: Text
    subtitle: Text
    office: Text
    statement: Text
    basis: Text


class Municipality(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who issues; every serial number begins with `serial_prefix`."""

    serial_prefix: str
    name: Text
    republic: Text


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    municipality: Municipality
    fees: list[Fee]
    kinds: list[KindRules]
    words: dict[str, Text]
    uses: dict[str, Text]
    rights: dict[str, Text]


@dataclass(frozen=True)
class Kinds:
    """All rules at one moment."""

    municipality: Municipality
    words: dict[str, Text]
    uses: dict[str, Text]
    rights: dict[str, Text]
    by_name: dict[str, KindRules]
    fees: tuple[Fee, ...]

    def get(self, kind: str) -> KindRules | None:
        """The rules of `kind`; None where there is no such type."""
        return self.by_name.get(kind)

    def fee(self, kind: str, day: date) -> Fee:
        """What `kind` costs on `day`.

        Raises:
            SettingsError: the table says nothing of that day.
        """
        known = [fee for fee in self.fees if fee.kind == kind and fee.since <= day]
        if not known:
            raise SettingsError(f"{FILE.name}: no fee for {kind!r} on {day}; add one to [[fees]]")
        return max(known, key=lambda fee: fee.since)


def load(path: Path = FILE) -> Kinds:
    """Read the rules.

    Raises:
        SettingsError: a table is missing, unknown or of another form.
    """
    try:
        read = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"{path.name}: {error}") from error
    kinds = Kinds(
        municipality=read.municipality,
        words=read.words,
        uses=read.uses,
        rights=read.rights,
        by_name={rules.kind: rules for rules in read.kinds},
        fees=tuple(read.fees),
    )
    if any(fee.cents < 0 for fee in kinds.fees):
        raise SettingsError(f"{path.name}: a fee is below zero")
    return kinds
