"""What an update is put onto: the slots of the agent, or the I/O board."""

from pathlib import Path
from typing import Protocol

from edge_agent.updates.health import Health, NotYet, Unwell, Well

__all__ = ["Health", "NotYet", "Target", "Unwell", "Well"]


class Target(Protocol):
    """One component of this device. Every call may come again after a power cut, and must be safe then.

    Each raises RefusedError where trying again would change nothing (wrong image, signature or board), and
    UnavailableError where it would (the board does not answer, the disk is full).
    """

    async def version(self) -> str:
        """What runs now, as `contract.updates.version_key` takes it."""

    async def stage(self, image: Path, version: str) -> None:
        """Put the verified bytes of `image` onto the side that does not run; goes on where it was cut off."""

    async def activate(self, version: str) -> None:
        """Begin the trial: the staged version runs next, but does not stay by itself.

        For the agent this ends the process, and does not return; the launcher goes on.
        """

    async def probe(self, version: str) -> Health:
        """Whether `version` runs on trial and is well. Bounded to some seconds by the target itself."""

    async def commit(self, version: str) -> None:
        """Make the running `version` the one that stays; nothing is restarted.

        Refused where another version runs, also where `version` was on trial and was given up.
        """

    async def roll_back(self, version: str) -> None:
        """Let the version before `version` run again; does nothing where it runs already.

        For the agent this ends the process if `version` is what runs.
        """
