"""A signed artifact on its way to one device: assigned, downloaded, tried, and committed or rolled back.

The order comes as a job and succeeds as soon as the device has written it down, because an update may wait
for hours for a citizen and jobs run one at a time. How it goes on is told on `updates`, lane `events`.
"""

import re
from enum import StrEnum
from typing import Literal

import msgspec

from contract.errors import MalformedError
from contract.lifecycle import Machine

DETAIL_LENGTH_MAX = 300
"""Characters of what a device adds to a code."""
PATH_LENGTH_MAX = 120
"""Characters of a target's path in the TUF repository."""
VERSION_LENGTH_MAX = 32

_PATH = re.compile(r"(agent|firmware)/[A-Za-z0-9][A-Za-z0-9._+-]{0,79}")
_VERSION = re.compile(r"\d{1,6}(\.\d{1,6}){1,3}(\+\d{1,9})?")


class Component(StrEnum):
    """What of a device is updated; it is also the first part of the target's path."""

    AGENT = "agent"
    FIRMWARE = "firmware"


UPDATE = Machine(
    "update",
    "assigned",
    {
        "assigned": {"download": "downloading", "commit": "committed", "fail": "failed"},
        "downloading": {"verify": "verified", "fail": "failed"},
        "verified": {"stage": "staged", "download": "downloading", "fail": "failed"},
        "staged": {"wait": "waiting", "activate": "activating", "fail": "failed"},
        "waiting": {"activate": "activating", "fail": "failed"},
        "activating": {"try": "trial", "roll-back": "rolled_back"},
        "trial": {"commit": "committed", "roll-back": "rolled_back"},
        "committed": {},
        "rolled_back": {},
        "failed": {},
    },
)
"""Up to `waiting` nothing that runs has changed; from `activating` on the only ends are the two versions."""

BEFORE_ACTIVATION = frozenset({"assigned", "downloading", "verified", "staged", "waiting"})
"""States in which an update can still be cancelled or superseded."""


class UpdateCode(StrEnum):
    """Why an update is where it is; every page has a sentence for each in the reader's language."""

    NONE = ""
    ALREADY_RUNNING = "already-running"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    DOWNGRADE = "downgrade"
    NO_SUCH_COMPONENT = "no-such-component"
    NOT_SET_UP = "not-set-up"
    UNREACHABLE = "unreachable"
    UNKNOWN_TARGET = "unknown-target"
    METADATA_EXPIRED = "metadata-expired"
    METADATA_ROLLED_BACK = "metadata-rolled-back"
    METADATA_UNDER_SIGNED = "metadata-under-signed"
    METADATA_BROKEN = "metadata-broken"
    TARGET_TAMPERED = "target-tampered"
    TARGET_TOO_LARGE = "target-too-large"
    IMAGE_REFUSED = "image-refused"
    DEVICE_BUSY = "device-busy"
    UNAVAILABLE = "unavailable"
    SELF_TEST_FAILED = "self-test-failed"
    NO_ANSWER = "no-answer"
    NO_LINK = "no-link"
    TOO_MANY_ATTEMPTS = "too-many-attempts"
    LOST_TRACK = "lost-track"
    NOT_TAKEN = "not-taken"


class ApplyUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """The job document that assigns a version; `update` is the same for all devices of one roll-out.

    `path` names the target in the repository. An older version than the running one is taken only with
    `downgrade`. The running version again is committed at once; a newer assignment supersedes one of the
    same component that has not been activated.
    """

    operation: Literal["apply-update"] = "apply-update"
    update: str
    component: Component
    path: str
    version: str
    downgrade: bool = False


class CancelUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """The job document that takes an assignment back; rejected once it has been activated."""

    operation: Literal["cancel-update"] = "cancel-update"
    update: str


class UpdateNews(msgspec.Struct, frozen=True, kw_only=True):
    """Body of `updates`: where an update stands on a device.

    `revision` only grows within an update; the highest counts, however late the others come. `attempt` says
    how often it was begun (downloads before the activation, activations from then on). `detail` is one
    sentence in English for staff, without personal data.
    """

    update: str
    component: Component
    version: str
    revision: int
    state: str
    attempt: int = 0
    code: str = ""
    detail: str = ""


def target_path(path: str) -> Component:
    """The component that a target's path belongs to.

    Raises:
        MalformedError: it is no path of an agent's release or of a firmware image.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise MalformedError(f"{path!r:.80} is no target: give agent/NAME or firmware/NAME")
    return Component(match[1])


def version_key(version: str) -> tuple[int, ...]:
    """What orders versions: `1.3.0+7` is above `1.3.0` and below `1.3.1`.

    Raises:
        MalformedError: it is no version.
    """
    if len(version) > VERSION_LENGTH_MAX or not _VERSION.fullmatch(version):
        raise MalformedError(f"{version!r:.40} is no version: give numbers like 1.4.2 or 1.4.2+7")
    numbers, _, build = version.partition("+")
    parts = [int(number) for number in numbers.split(".")]
    return (*parts, *[0] * (4 - len(parts)), int(build or 0))


def check(order: ApplyUpdate) -> None:
    """Hold an assignment to the contract.

    Raises:
        MalformedError: its path is no target of its component, or its version is none.
    """
    if target_path(order.path) is not order.component:
        raise MalformedError(f"{order.path!r:.80} is no target for the component {order.component}")
    version_key(order.version)
