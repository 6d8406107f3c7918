"""The card of a speech model: for each language how wrong it was, when and on what, or nothing."""

import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import msgspec

from cloud.errors import SettingsError

FILE = Path(__file__).with_name("cards.toml")


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Word error (0.08 is 8 %) on `material`, a key of `cloud.recordings.wording.MATERIALS`."""

    word_error: float
    measured_on: date
    material: str


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model; a language that is not in `languages` was not measured."""

    title: str
    licence: str
    languages: Mapping[str, Measured]


def card(model: str, path: Path = FILE) -> Card:
    """The card of `model`.

    Raises:
        SettingsError: there is none, or the file is not what it should be.
    """
    try:
        cards = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), dict[str, Card])
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(f"{path}: {error}") from error
    if model not in cards:
        raise SettingsError(f"[transcription] model {model!r:.80}: {path.name} has {', '.join(cards)}")
    return cards[model]
