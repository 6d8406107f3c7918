"""What a target says of a version that it was asked about."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Well:
    """The version runs, and its self-test holds."""


@dataclass(frozen=True)
class Unwell:
    """The version will not do: it is bad, or it was tried and another one runs again.

    The sentence (English, for staff) says what was found.
    """

    sentence: str


@dataclass(frozen=True)
class NotYet:
    """Nothing can be said now: it still starts, or it was never activated. Ask again."""

    sentence: str = ""


Health = Well | Unwell | NotYet
