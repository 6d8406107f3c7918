"""Every file that is generated: dashboards and rules for each kind of store."""

from pathlib import Path
from typing import Final

from dashboards.dialects import DIALECTS
from dashboards.fleet import FLEET
from dashboards.grafana import dashboard, text
from dashboards.kiosk import KIOSK
from dashboards.panels import Board
from dashboards.rules import rule_group

FOLDER: Final = Path(__file__).with_name("generated")
BOARDS: Final[tuple[Board, ...]] = (FLEET, KIOSK)


def files() -> dict[str, str]:
    """Name and content of each."""
    found = {}
    for dialect in DIALECTS.values():
        for board in BOARDS:
            found[f"{board.name}-{dialect.name}.json"] = text(dashboard(board, dialect))
        found[f"rules-{dialect.name}.json"] = text(rule_group(dialect))
    return found


def write(folder: Path) -> list[str]:
    """Write those that differ, and drop JSON files that are none of them; the names of what was changed."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = files()
    changed = []
    for name, content in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")
            changed.append(name)
    for path in sorted(folder.glob("*.json")):
        if path.name not in wanted:
            path.unlink()
            changed.append(path.name)
    return changed
