"""What the start page needs of the city: who and what there is, and the few things that it can do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Action(StrEnum):
    """What a button of the start page does."""

    PRESENT_DOCUMENT = "present-document"
    PAY = "pay"
    DECLINE = "decline"
    PAPER_OUT = "paper-out"
    PAPER_IN = "paper-in"
    UNPLUG_MICROPHONE = "unplug-microphone"
    PLUG_MICROPHONE = "plug-microphone"
    REGISTRY_DOWN = "registry-down"
    REGISTRY_UP = "registry-up"
    KILL_CONTROL_PLANE = "kill-control-plane"
    STOP_BROKER = "stop-broker"


@dataclass(frozen=True)
class Citizen:
    """Somebody whose identity card lies on the desk; `sheets` counts what the person can ask for."""

    person: str
    name: str
    born: str
    sheets: int


@dataclass(frozen=True)
class Lamp:
    """How one part stands, in a word of the page: `up`, `down` or `broken`."""

    name: str
    state: str


class RefusedError(Exception):
    """The city cannot do that now."""


class Desk(Protocol):
    """The running city as the start page sees it."""

    @property
    def pages_url(self) -> str:
        """Where the control plane's pages are."""

    @property
    def kiosks(self) -> Mapping[str, str]:
        """The touch page of each kiosk, by device."""

    @property
    def halls(self) -> Sequence[str]:
        """The recorders."""

    @property
    def citizens(self) -> Sequence[Citizen]:
        """Some of the people."""

    @property
    def one_time_password(self) -> str | None:
        """The administrator's, as long as nobody has changed it for all the city knows."""

    def lamps(self) -> Sequence[Lamp]:
        """How everything stands now."""

    async def do(self, action: Action, device: str, person: str) -> None:
        """Do it.

        Raises:
            RefusedError: there is no such device or person, or it cannot be done now.
        """
