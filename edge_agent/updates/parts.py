"""Puts the updates of one device together: which components it has, and what each is made of."""

from collections.abc import Callable, Mapping
from pathlib import Path

from contract.updates import Component
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
    end: Callable[[], None],
    chance: Chance,
    environ: Mapping[str, str],
) -> Updates | None:
    """The updates of the device of `settings`, which stand in `file`; None where it trusts no repository.

    `end` asks the process to end and to be started again; `environ` tells what the launcher has started.

    Raises:
        SettingsError: the journal cannot be opened.
    """
    chosen = settings.updates
    if chosen.root_file is None:
        return None
    targets = {
        Component.AGENT: AgentTarget(
            Slots(Path(chosen.slots_dir or settings.data_dir / "slots")),
            running=VERSION,
            launched=SLOT_VARIABLE in environ,
            kind=settings.kind,
            base=Path(environ.get(BASE_VARIABLE, "")),
            self_test=self_test,
            end=end,
        ),
        **_boards(settings),
    }
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


def update_operations(updates: Updates) -> dict[str, Operation]:
    """The jobs that a device with updates can do."""
    return {
        "apply-update": ApplyUpdateOperation(updates),
        "cancel-update": CancelUpdateOperation(updates),
    }


def _boards(_settings: Settings) -> dict[Component, Target]:
    """The I/O board of this device, if it has one."""
    return {}
