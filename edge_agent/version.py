"""The version of the agent that runs: that of the release whose files these are."""

import tomllib
from pathlib import Path

_PACKAGE = Path(__file__).parent
_INSTALLED = "fleet_edge_agent-*.dist-info"


def installed(package: Path = _PACKAGE) -> str:
    """From what the wheel's installation left beside the package, or from the source tree's own file.

    `importlib.metadata` would tell it too, but costs an agent a megabyte and looks at the first one found.
    """
    for found in package.parent.glob(_INSTALLED):
        return found.name.removesuffix(".dist-info").partition("-")[2]
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


VERSION = installed()
