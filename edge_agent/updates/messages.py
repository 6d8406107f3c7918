"""What the core of an update hears (events), what it asks for (effects), and what the journal holds.

Effects that take time carry a number `work`; their answers carry it back, so that an answer to a question
that was given up is told from the answer that is waited for.
"""

from dataclasses import dataclass

import msgspec

from contract.updates import ApplyUpdate, UpdateCode, UpdateNews
from edge_agent.updates.health import Health


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One update as the journal holds it.

    `told` is the highest revision that the outbox has taken. `verdict` is what was decided on a trial and
    may not be done yet: the event of the table, `commit` or `roll-back`. `image` and `sha256` are of the
    verified bytes on the disk.
    """

    order: ApplyUpdate
    state: str
    revision: int = 1
    told: int = 0
    attempt: int = 0
    code: UpdateCode = UpdateCode.NONE
    detail: str = ""
    verdict: str = ""
    image: str = ""
    sha256: str = ""

    @property
    def update(self) -> str:
        """The id."""
        return self.order.update


# Events


@dataclass(frozen=True)
class Started:
    """The agent has started; everything before may have been cut off anywhere."""


@dataclass(frozen=True)
class Ordered:
    """The cloud assigns a version."""

    order: ApplyUpdate


@dataclass(frozen=True)
class Cancelled:
    """The cloud takes an assignment back."""

    update: str


@dataclass(frozen=True)
class LinkUp:
    """The broker has accepted this device."""


@dataclass(frozen=True)
class LinkDown:
    """The link is down."""


@dataclass(frozen=True)
class Told:
    """The outbox has taken the news with this revision."""

    update: str
    revision: int


@dataclass(frozen=True)
class NotTold:
    """The outbox is full; the news is told later."""


@dataclass(frozen=True)
class NotSaved:
    """The disk did not take what was to be saved; nothing that came after it was done."""


@dataclass(frozen=True)
class Looked:
    """Which version runs."""

    work: int
    version: str


@dataclass(frozen=True)
class Fetched:
    """The bytes are on the disk, and are what the repository's keys have signed."""

    work: int
    image: str
    sha256: str


@dataclass(frozen=True)
class Staged:
    """The version lies on the side that does not run."""

    work: int


@dataclass(frozen=True)
class Lost:
    """The verified bytes are no longer there."""

    work: int


@dataclass(frozen=True)
class Reserved:
    """The device is free and takes nothing new; or why it is not free."""

    work: int
    busy: str = ""


@dataclass(frozen=True)
class Activated:
    """The trial has begun."""

    work: int


@dataclass(frozen=True)
class Probed:
    """How the version on trial is; `network` says whether the device has a network at all.

    `busy` says why the device may not be interrupted now; empty when it may.
    """

    work: int
    health: Health
    network: bool = True
    busy: str = ""


@dataclass(frozen=True)
class Committed:
    """It stays."""

    work: int


@dataclass(frozen=True)
class RolledBack:
    """The version before runs."""

    work: int


@dataclass(frozen=True)
class Failed:
    """What was asked for did not happen; `again` says that it may help to ask again."""

    work: int
    sentence: str
    again: bool
    code: UpdateCode = UpdateCode.UNAVAILABLE


@dataclass(frozen=True)
class TimePassed:
    """The deadline has come."""


Answered = Looked | Fetched | Staged | Lost | Reserved | Activated | Probed | Committed | RolledBack | Failed
Event = Started | Ordered | Cancelled | LinkUp | LinkDown | Told | NotTold | NotSaved | Answered | TimePassed


# Effects


@dataclass(frozen=True)
class Save:
    """Write the entry down durably; if that fails, nothing after it may be done."""

    entry: Entry


@dataclass(frozen=True)
class Answer:
    """Tell the job that it is done; with a sentence, that it is refused."""

    update: str
    refused: str = ""


@dataclass(frozen=True)
class Tell:
    """Keep the news for the cloud."""

    news: UpdateNews


@dataclass(frozen=True)
class Look:
    """Ask the target what runs."""

    work: int


@dataclass(frozen=True)
class Fetch:
    """Get the bytes from the repository."""

    work: int
    order: ApplyUpdate


@dataclass(frozen=True)
class Stage:
    """Put the bytes onto the side that does not run."""

    work: int
    entry: Entry


@dataclass(frozen=True)
class Reserve:
    """If the device is free, let it take nothing new."""

    work: int


@dataclass(frozen=True)
class Release:
    """Let the device take new work again."""


@dataclass(frozen=True)
class Activate:
    """Begin the trial."""

    work: int
    version: str


@dataclass(frozen=True)
class Probe:
    """Ask how the version on trial is."""

    work: int
    version: str


@dataclass(frozen=True)
class Commit:
    """Let it stay."""

    work: int
    version: str


@dataclass(frozen=True)
class RollBack:
    """Let the version before run again."""

    work: int
    version: str


@dataclass(frozen=True)
class GiveUp:
    """Stop whatever is under way; its answer counts no more."""


Work = Look | Fetch | Stage | Reserve | Activate | Probe | Commit | RollBack
Effect = Save | Answer | Tell | Release | GiveUp | Work
