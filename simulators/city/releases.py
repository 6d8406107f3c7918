"""The people who make and sign what devices are updated with: keys, releases of the agent, the repository.

In a real municipality the keys lie with several people and never on one machine; a city on a laptop has them
all in one folder.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from firmware_tools import release
from firmware_tools.repository import Published, Repository, make_keys
from firmware_tools.wheels import build_wheels

TREE = Path(__file__).resolve().parents[2]
PRINTER = "edge_agent/documents/printer_ipp.py"
_STATUS = '        """Its state now."""\n'
_DEAF = '        raise UnavailableError("this release has forgotten how to ask the printer")\n'


class Releases:
    """The repository in `repository` with the keys in `keys`; both are made where they are not."""

    def __init__(self, repository: Path, keys: Path) -> None:
        self.repository = repository
        self.keys = keys
        self._one_at_a_time = asyncio.Lock()

    @property
    def root(self) -> Path:
        """What every device is shipped with."""
        return self.repository / "metadata" / "1.root.json"

    @property
    def timestamp_key(self) -> Path:
        """The one key that the control plane has."""
        return self.keys / "timestamp-1.pem"

    def prepare(self) -> None:
        """Keys and an empty repository."""
        opened = self._open()
        if not opened.exists:
            shutil.rmtree(self.keys, ignore_errors=True)
            make_keys(self.keys)
            opened.create()
            opened.publish()

    async def publish(
        self, path: str, file: Path, version: str, *, leave_out: Sequence[str] = ()
    ) -> Published:
        """Sign `file` as the target `path` and publish it; keys in `leave_out` do not sign."""

        def signed() -> Published:
            opened = self._open()
            opened.load()
            found = opened.add(path, file, version)
            opened.publish(leave_out)
            return found

        async with self._one_at_a_time:
            return await asyncio.to_thread(signed)

    async def sign_again(self, role: str) -> None:
        """Sign a role anew with all of its keys."""

        def signed() -> None:
            opened = self._open()
            opened.load()
            opened.renew(role)
            opened.publish()

        async with self._one_at_a_time:
            await asyncio.to_thread(signed)

    async def publish_agent(
        self,
        version: str,
        *,
        change: Callable[[Path], None] = lambda _tree: None,
        leave_out: Sequence[str] = (),
    ) -> str:
        """Build this tree's agent as `version`, changed by `change`, and publish it; its path there."""
        path = f"agent/agent-{version}.zip"
        with tempfile.TemporaryDirectory() as folder:
            built = Path(folder) / "release.zip"

            def build() -> None:
                release.build(build_wheels(TREE, Path(folder) / "wheels", version, change=change), built)

            await asyncio.to_thread(build)
            await self.publish(path, built, version, leave_out=leave_out)
        return path

    def _open(self) -> Repository:
        return Repository(self.repository, self.keys, datetime.now(UTC))


def deaf_to_the_printer(tree: Path) -> None:
    """A mistake that a release may have: the agent starts, connects, and cannot reach its printer."""
    replace(tree / PRINTER, _STATUS, _STATUS + _DEAF)


def replace(file: Path, old: str, new: str) -> None:
    """Put a mistake into a file of a tree that is about to be built."""
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{file.name} has changed: {old!r}"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
