"""Puts the updates of one device together: which components it has, and what each is made of."""

from collections.abc import Callable, Mapping
from pathlib import Path

from contract.updates import Component
from edge_agent.errors import MalformedError
from edge_agent.ports import Link, Occupancy, Operation, SelfTest
from edge_agent.settings import Settings
from edge_agent.updates.agent_target import AgentTarget
from edge_agent.updates.core import Chance, Limits
from edge_agent.updates.fetch_process import FetchProcess
from edge_agent.updates.journal import SqliteJournal
from edge_agent.updates.launcher import BASE_VARIABLE, SLOT_VARIABLE
from edge_agent.updates.network import plugged
from edge_agent.updates.operations import ApplyUpdateOperation, CancelUpdateOperation
from edge_agent.updates.run import Updates
from edge_agent.updates.slots import Slots
from edge_agent.updates.target import Target
from edge_agent.version import VERSION


def updates_of(
    settings: Settings,
    file: Path,
    *,
    link: Link,
    occupancy: Occupancy,
    self_test: SelfTest,
    board: Target | None,
    end: Callable[[], None],
    chance: Chance,
    environ: Mapping[str, str],
) -> Updates | None:
    """The updates of the device of `settings`, which stand in `file`; None where it trusts no repository.

    `board` is its I/O board, if it has one.

    `end` asks the process to end and to be started again; `environ` tells what the launcher has started.

    Raises:
        SettingsError: the journal cannot be opened.
    """
    chosen = settings.updates
    if chosen.root_file is None:
        return None
    targets: dict[Component, Target] = {
        Component.AGENT: AgentTarget(
            slots_of(settings),
            running=VERSION,
            launched=SLOT_VARIABLE in environ,
            kind=settings.kind,
            base=Path(environ.get(BASE_VARIABLE, "")),
            self_test=self_test,
            end=end,
        ),
    }
    if board is not None:
        targets[Component.FIRMWARE] = board
    return Updates(
        link=link,
        journal=SqliteJournal(settings.data_dir / "updates.db"),
        targets=targets,
        repository=FetchProcess(file),
        occupancy=occupancy,
        network=lambda: plugged(settings.broker.host),
        chance=chance,
        limits=Limits(chosen.self_test_s, chosen.link_s, chosen.trial_s),
    )


def is_on_trial(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Whether the version that runs, which the launcher has started, may still be taken back."""
    if SLOT_VARIABLE not in environ:
        return False
    try:
        return slots_of(settings).load().trial is not None
    except MalformedError:
        return False  # the launcher says so at the next start, and starts the base


def slots_of(settings: Settings) -> Slots:
    """Where the launcher finds releases."""
    return Slots(Path(settings.updates.slots_dir or settings.data_dir / "slots"))


def update_operations(updates: Updates) -> dict[str, Operation]:
    """The jobs that a device with updates can do."""
    return {
        "apply-update": ApplyUpdateOperation(updates),
        "cancel-update": CancelUpdateOperation(updates),
    }
