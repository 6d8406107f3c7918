"""The recorder's memory on the disk: a small file, replaced as a whole."""

from pathlib import Path

import msgspec

from contract.captions import SITTING
from edge_agent.captions.memory import Memory
from edge_agent.errors import MalformedError
from edge_agent.files import write_durably


class SittingFile:
    """The file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Memory:
        """What was saved last; an empty memory if nothing ever was.

        Raises:
            MalformedError: the file is damaged; the agent must not guess whether a sitting is open.
        """
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return Memory()
        try:
            memory = msgspec.json.decode(content, type=Memory)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedError(f"{self._path}: {error}") from error
        if any(sitting.told.state not in SITTING.states for sitting in memory.sittings):
            raise MalformedError(f"{self._path}: a sitting is in a state that this agent does not know")
        return memory

    def save(self, memory: Memory) -> None:
        """Durable when this returns; the old memory or the new one, never half of it.

        Raises:
            UnavailableError: the disk does not take it.
        """
        write_durably(self._path, msgspec.json.encode(memory))

    def set_aside(self) -> Path:
        """Keep a damaged file for a person to look at, out of the way."""
        aside = self._path.with_suffix(".damaged")
        self._path.replace(aside)
        return aside
