"""What the commands' lines have in common: how numbers are written, and how things are shown."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = object


def number(text: str) -> int:
    """`4096` or `0x1000`.

    Raises:
        ValueError: neither; argparse says so.
    """
    return int(text, 0)


def revisions(text: str) -> tuple[int, int]:
    """`2`, or `1-3`.

    Raises:
        ValueError: neither; argparse says so.
    """
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def table(shown: Mapping[str, object]) -> str:
    """Lines of two columns."""
    return "\n".join(f"{key.replace('_', ' '):17} {_plain(value)}" for key, value in shown.items())


def _plain(value: object) -> str:
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)
