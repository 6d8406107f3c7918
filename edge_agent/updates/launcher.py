"""`python -m edge_agent.updates.launcher --settings FILE`: starts the agent of the slot that is to run.

This is what a service manager starts, and it always comes from the base installation. It writes down that a
version on trial is started before it starts it, goes back to the version before when that was too often, and
becomes the agent (exec). A trial is watched by a guard, a process of its own that ends an agent which gives
no sign of life; it goes when the trial is over.
"""

import argparse
import json
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from edge_agent.errors import AgentError, MalformedError, SettingsError
from edge_agent.settings import overlaid
from edge_agent.updates.slots import BASE, SLOTS, Slot, Slots, State, choose

SLOT_VARIABLE = "EDGE_AGENT_SLOT"
BASE_VARIABLE = "EDGE_AGENT_BASE"
STARTS_MAX = 3
SILENCE_S = 60.0
GUARD_LOOK_S = 1.0
_PACKAGES = Path(__file__).resolve().parents[2]


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The part of `[updates]` that the launcher needs; keys of newer agents do not trouble it."""

    slots_dir: str = ""
    trial_starts_max: Annotated[int, msgspec.Meta(ge=1)] = STARTS_MAX
    trial_silence_s: Annotated[float, msgspec.Meta(gt=0)] = SILENCE_S


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the settings that the launcher needs."""

    data_dir: Annotated[str, msgspec.Meta(min_length=1)]
    updates: Chosen = Chosen()

    @property
    def slots(self) -> Slots:
        """Where the slots are."""
        return Slots(Path(self.updates.slots_dir or Path(self.data_dir) / "slots"))


def main() -> int:
    """Becomes the agent, whose exit code counts then; 78 wrong settings, 69 the state cannot be written."""
    parser = argparse.ArgumentParser(prog="python -m edge_agent.updates.launcher", description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="the agent's TOML file")
    file = parser.parse_args().settings
    try:
        known = _known(file, os.environ)
        slot, state = _decide(known.slots, known.updates.trial_starts_max)
        if slot != BASE and state.trial is not None:
            _watch(known.slots, state, known.updates.trial_silence_s)
    except SettingsError as error:
        print(f"launcher: {error}", file=sys.stderr)
        return os.EX_CONFIG
    except AgentError as error:
        print(f"launcher: {error}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    words = [sys.executable, "-P", "-m", "edge_agent", "--settings", str(file)]
    os.execve(sys.executable, words, environ(known.slots, slot, os.environ))  # noqa: S606 - a list of words
    raise AssertionError("exec does not return")


def environ(slots: Slots, slot: Slot, outer: Mapping[str, str]) -> dict[str, str]:
    """The agent's environment: its packages first, also for its child processes, and nothing from the cwd."""
    path = [str(slots.site(slot))] if slot != BASE else []
    inherited = outer.get("PYTHONPATH", "")
    found = {key: value for key, value in outer.items() if key != "PYTHONPATH"}
    found |= {"PYTHONSAFEPATH": "1", SLOT_VARIABLE: slot, BASE_VARIABLE: str(_PACKAGES)}
    if path or inherited:
        found["PYTHONPATH"] = os.pathsep.join([*path, *([inherited] if inherited else [])])
    return found


def _known(file: Path, outer: Mapping[str, str]) -> Known:
    try:
        return msgspec.convert(overlaid(file, outer), Known, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"settings {file}: {error}") from error


def _decide(slots: Slots, starts_max: int) -> tuple[Slot, State]:
    try:
        before = slots.load()
    except MalformedError as error:
        _say("slots_damaged", "error", sentence=str(error), started=BASE)
        before = State()
        slots.save(before)
    usable: frozenset[Slot] = frozenset(slot for slot in SLOTS if slots.version(slot))
    slot, state = choose(before, usable, starts_max)
    if state != before:
        slots.save(state)
    if state.undone is not None and state.undone != before.undone:
        _say("trial_given_up", "warning", version=state.undone.version, sentence=state.undone.sentence)
    if state.trial is not None:
        _say("trial_started", "info", version=state.trial.version, starts=state.trial.starts, slot=slot)
    return slot, state


def _watch(slots: Slots, state: State, silence_s: float) -> None:
    """Begin a guard that watches this very process, whatever it becomes."""
    agent = os.getpid()
    handle = os.pidfd_open(agent)
    child = os.fork()
    if child:
        os.close(handle)
        os.waitpid(child, 0)
        return
    if os.fork():
        os._exit(0)  # the guard is nobody's child, so that the agent has nobody to wait for
    try:
        _guard(slots, state, handle, silence_s)
    finally:
        os._exit(0)


def _guard(slots: Slots, state: State, agent: int, silence_s: float) -> None:
    """Until the trial is over or the agent has ended; kill it when it has been silent for too long."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    poll = select.poll()
    poll.register(agent, select.POLLIN)
    heard, since = _beat(slots), time.monotonic()  # noqa: TID251 - the guard is a runner
    while not poll.poll(GUARD_LOOK_S * 1000):
        now = time.monotonic()  # noqa: TID251 - the same
        beat = _beat(slots)
        if beat != heard:
            heard, since = beat, now
        try:
            if slots.load().trial != state.trial:
                return
        except MalformedError:
            pass  # the launcher says so at the next start
        if now - since >= silence_s:
            assert state.trial is not None
            _say("trial_hangs", "error", version=state.trial.version, silent_s=round(now - since))
            signal.pidfd_send_signal(agent, signal.SIGKILL)
            return


def _beat(slots: Slots) -> bytes:
    try:
        return slots.beat.read_bytes()
    except OSError:
        return b""


def _say(event: str, level: str, **fields: object) -> None:
    """One line of JSON, as the agent's own log; the logging of an agent costs the start 20 ms."""
    print(
        json.dumps({"event": event, "level": level, "logger": __name__, **fields}),
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
