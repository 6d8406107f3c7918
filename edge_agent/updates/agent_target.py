"""The agent itself as a target: staged into the spare slot; the launcher starts it when this process ends."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from edge_agent.errors import MalformedError, RefusedError, UnavailableError
from edge_agent.ports import SelfTest
from edge_agent.updates import release
from edge_agent.updates.slots import BASE, Slots, State, Trial, give_up
from edge_agent.updates.target import Health, NotYet, Unwell, Well

NO_LAUNCHER = "the agent was not started by its launcher; start it with python -m edge_agent.updates.launcher"


class AgentTarget:
    """The slots of this device, seen by the agent that runs.

    `running` is the version of this process, `launched` whether the launcher started it. `base` is the folder
    of the base's packages, whose lock tells which dependencies are there. `end` asks the process to end and
    to be started again.
    """

    def __init__(
        self,
        slots: Slots,
        *,
        running: str,
        launched: bool,
        kind: str,
        base: Path,
        self_test: SelfTest,
        end: Callable[[], None],
    ) -> None:
        self._slots = slots
        self._running = running
        self._launched = launched
        self._kind = kind
        self._base = base
        self._self_test = self_test
        self._end = end
        self._beats = 0
        self._staging = threading.Lock()

    async def version(self) -> str:
        """That of this process."""
        return self._running

    async def stage(self, image: Path, version: str) -> None:
        """Unpack the release into the spare slot; one that lies there already is unpacked anew."""
        if not self._launched:
            raise RefusedError(NO_LAUNCHER)
        await asyncio.to_thread(self._install, image, version)

    async def activate(self, version: str) -> None:
        """Let the launcher start the spare slot; does not return."""
        if not self._launched:
            raise RefusedError(NO_LAUNCHER)
        state = self._load()
        if self._slots.version(state.spare) != version:
            raise RefusedError(f"version {version} does not lie in the spare slot; assign it again")
        answers = await self._answers()
        hardware = tuple(name for name, trouble in answers.items() if not trouble)
        trial = Trial(slot=state.spare, version=version, hardware=hardware)
        await self._save(msgspec.structs.replace(state, trial=trial, undone=None))
        await self._end_for_good()

    async def probe(self, version: str) -> Health:
        """Whether this process is `version`, and all hardware answers that answered before the activation."""
        state = self._load()
        if state.undone is not None and state.undone.version == version and state.trial is None:
            return Unwell(state.undone.sentence)
        if self._running != version:
            if state.trial is None:
                return NotYet("it was not activated")
            return Unwell(f"version {self._running} was started in its place")
        self._beat()
        answers = await self._answers()
        needed = state.trial.hardware if state.trial is not None else ()
        troubles = [answers.get(name, f"{name} is no longer known to the agent") for name in needed]
        found = "; ".join(trouble for trouble in troubles if trouble)
        return NotYet(found) if found else Well()

    async def commit(self, version: str) -> None:
        """The trial's slot is what runs from now on.

        Without a trial only what was committed before counts as done: the launcher may have given the trial
        up since it was decided, and what was given up is not told as committed.

        Raises:
            RefusedError: another version runs or is on trial.
        """
        state = self._load()
        trial = state.trial
        undone = state.undone.sentence if state.undone and state.undone.version == version else ""
        if trial is None:
            if self._running != version or undone:
                why = f": {undone}" if undone else ""
                raise RefusedError(f"version {self._running} runs, not {version}{why}")
            return
        if trial.version != version or self._running != version:
            raise RefusedError(f"version {trial.version} is on trial, not {version}")
        await self._save(State(running=trial.slot, before=state.running))

    async def roll_back(self, version: str) -> None:
        """End the trial, or a commitment of `version`; the process ends if it is that version."""
        state = self._load()
        if state.trial is not None and state.trial.version == version:
            after = give_up(state, "its self-test did not hold")
        elif state.trial is None and state.running != BASE and self._slots.version(state.running) == version:
            after = State(running=state.before)
        else:
            return
        await self._save(after)
        if self._running == version:
            await self._end_for_good()

    def _install(self, image: Path, version: str) -> None:
        with self._staging:  # a staging that was given up goes on in its thread
            spare = self._slots.path(self._load().spare)
            lock = release.lock_digest(self._base, self._kind)
            release.install(image, spare, version=version, kind=self._kind, lock=lock)

    def _load(self) -> State:
        try:
            return self._slots.load()
        except MalformedError as error:
            raise UnavailableError(str(error)) from error

    async def _save(self, state: State) -> None:
        await asyncio.to_thread(self._slots.save, state)

    async def _answers(self) -> dict[str, str]:
        return {name: await check() for name, check in self._self_test.items()}

    def _beat(self) -> None:
        """A sign of life for the guard; a disk that does not take it is no reason to be killed at once."""
        self._beats += 1
        try:
            self._slots.beat.write_text(str(self._beats))
        except OSError as error:
            raise UnavailableError(f"{self._slots.beat}: {error.strerror}") from error

    async def _end_for_good(self) -> None:
        self._end()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody answers this future; the process ends first")
