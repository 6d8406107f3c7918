"""What pages show of a twin: each setting as it is wanted and as it is."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from cloud.twin.core import STAMP, Twin
from contract.twin import BY_PATH, SETTINGS, Path, Section, Setting, find, leaves, same

OTHERS_MAX = 20
"""Names shown of what is desired and is none of our settings."""

Standing = Literal["own", "in-force", "waiting", "refused"]


@dataclass(frozen=True)
class Row:
    """One setting of one device; `at` is when it was last wanted, or told where nothing is wanted.

    `reason` is what the device says against it, a sentence of its own in English.
    """

    setting: Setting
    wanted: Any
    actual: Any
    standing: Standing
    reason: str
    at: datetime | None


def rows(twin: Twin) -> list[Row]:
    """Every setting."""
    return [_row(twin, setting) for setting in SETTINGS]


def others(twin: Twin) -> list[str]:
    """What is desired and is no setting of ours: somebody else's names, or mistakes."""
    paths = [path for path, _ in leaves(twin.desired) if path not in BY_PATH]
    return [".".join(path)[:64] for path in paths[:OTHERS_MAX]]


def wanted(twin: Twin) -> dict[str, Any]:
    """What is desired of each setting that something is desired of, by name."""
    found = {setting.name: find(twin.desired, setting.path) for setting in SETTINGS}
    return {name: value for name, value in found.items() if value is not None}


def _row(twin: Twin, setting: Setting) -> Row:
    desired, actual = find(twin.desired, setting.path), find(twin.reported, setting.path)
    reason = _reason(twin.reported, setting)
    standing: Standing = "waiting"
    if desired is None:
        standing = "own"
    elif same(desired, actual):
        standing = "in-force"
    elif reason:
        standing = "refused"
    at = _at(twin.desired_at, setting.path) or _at(twin.reported_at, setting.path)
    return Row(setting, desired, actual, standing, reason if standing == "refused" else "", at)


def _reason(reported: Section, setting: Setting) -> str:
    refused = reported.get("refused")
    found = refused.get(setting.name) if isinstance(refused, dict) else None
    return found if isinstance(found, str) else ""


def _at(stamps: Section, path: Path) -> datetime | None:
    seconds = find(stamps, (*path, STAMP))
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int) else None
