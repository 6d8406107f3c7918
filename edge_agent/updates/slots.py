"""The two slots of the agent, and the small file that says which of them runs, is on trial, or was given up.

The file is read and written by the launcher, by its guard and by the agent, never two at once but for the
guard, which only reads. `choose` decides what is started; it is pure.
"""

from pathlib import Path
from typing import Literal

import msgspec

from edge_agent.errors import MalformedError, RefusedError
from edge_agent.files import write_durably
from edge_agent.updates import release

Slot = Literal["a", "b", "base"]
SLOTS: tuple[Slot, ...] = ("a", "b")
BASE: Literal["base"] = "base"
"""The installation that the launcher itself belongs to."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A version that has not proved itself: in which slot, and how often it was started.

    `hardware` names what answered before; only that must answer again.
    """

    slot: Slot
    version: str
    starts: int = 0
    hardware: tuple[str, ...] = ()


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """The last version that was given up, and why."""

    version: str
    sentence: str


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says. `running` is what was committed last, `before` what ran before that."""

    v: Literal[1] = 1
    running: Slot = BASE
    before: Slot = BASE
    trial: Trial | None = None
    undone: Undone | None = None

    @property
    def spare(self) -> Slot:
        """The slot that may be written."""
        return "b" if self.running == "a" else "a"


class Slots:
    """The folder of the slots."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, slot: Slot) -> Path:
        """Where a slot lies."""
        assert slot != BASE, "the base lies where it was installed"
        return self.folder / slot

    def site(self, slot: Slot) -> Path:
        """What Python imports from."""
        return self.path(slot) / release.SITE

    @property
    def beat(self) -> Path:
        """What an agent on trial writes again and again; the guard looks at it."""
        return self.folder / "beat"

    def load(self) -> State:
        """What was saved last; the base if nothing ever was.

        Raises:
            MalformedError: the file is damaged, or of a newer launcher.
        """
        try:
            return msgspec.json.decode((self.folder / "state.json").read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
            raise MalformedError(f"{self.folder / 'state.json'}: {error}") from error

    def save(self, state: State) -> None:
        """Durable when this returns; the old state or the new one, never half of it.

        Raises:
            UnavailableError: the disk does not take it.
        """
        write_durably(self.folder / "state.json", msgspec.json.encode(state))

    def version(self, slot: Slot) -> str:
        """The version of the release in a slot; empty where there is none that could be started."""
        if slot == BASE:
            return ""
        try:
            found = release.read(self.path(slot) / release.MANIFEST)
        except RefusedError:
            return ""
        return found.version if (self.site(slot) / "edge_agent" / "__main__.py").is_file() else ""


def choose(state: State, usable: frozenset[Slot], starts_max: int) -> tuple[Slot, State]:
    """What is started, and the state to save before: a trial, else what was committed, else the base.

    `usable` are the slots that have a release in them.
    """
    trial = state.trial
    if trial is not None and trial.slot in usable and trial.starts < starts_max:
        return trial.slot, msgspec.structs.replace(
            state, trial=msgspec.structs.replace(trial, starts=trial.starts + 1)
        )
    if trial is not None:
        why = (
            f"it was started {trial.starts} times and never proved itself"
            if trial.slot in usable
            else "its slot is empty"
        )
        state = give_up(state, why)
    for slot in (state.running, state.before):
        if slot == BASE or slot in usable:
            return slot, state if slot == state.running else msgspec.structs.replace(state, running=slot)
    return BASE, msgspec.structs.replace(state, running=BASE)


def give_up(state: State, sentence: str) -> State:
    """The trial is over; what ran before runs again."""
    assert state.trial is not None
    undone = Undone(version=state.trial.version, sentence=sentence)
    return msgspec.structs.replace(state, trial=None, undone=undone)
