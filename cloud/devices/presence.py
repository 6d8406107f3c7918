"""Who is there: believed from what devices and their wills say."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from cloud.broker import Received
from cloud.database.models.devices import Device
from cloud.errors import MalformedError
from contract.messages import Presence, read

log = logging.getLogger(__name__)

AGENT_LENGTH_MAX = 64
BOOT_LENGTH_MAX = 64


@dataclass(frozen=True)
class Known:
    """What is believed of a device; `boot` is '' until it has come for the first time."""

    online: bool
    boot: str


def believe(known: Known, said: Presence) -> Known:
    """What to believe after `said`.

    A device that says it is there is believed. A will, or a good-bye, counts only while it names the boot
    under which the device is known: an older one comes late, and the device is there again already.
    """
    if said.online:
        return Known(True, said.boot)
    return Known(False, known.boot) if said.boot == known.boot else known


class Presences:
    """The handler of `presence`.

    After the commit `on_online` is called when a device has come, and `on_change` when it came or went.
    """

    def __init__(
        self, on_online: Callable[[str], None], on_change: Callable[[str], None] | None = None
    ) -> None:
        self._on_online = on_online
        self._on_change = on_change

    def take(self, message: Received) -> None:
        """Write down what changes.

        Raises:
            MalformedError: the payload is no `contract.messages.Presence`, or its boot is too long.
        """
        said = read(message.payload, Presence)
        if len(said.boot) > BOOT_LENGTH_MAX:
            raise MalformedError(f"a boot's id has at most {BOOT_LENGTH_MAX} characters")
        row = message.session.get_one(Device, message.device)
        known = Known(row.presence == "online", row.boot)
        now = believe(known, said)
        if said.online:
            row.agent = said.agent[:AGENT_LENGTH_MAX]
            row.last_seen_at = message.received_at
        if now == known:
            return
        row.presence = "online" if now.online else "offline"
        row.boot = now.boot
        row.presence_at = message.received_at
        log.info("presence_changed", extra={"device": message.device, "presence": row.presence})
        if now.online:
            message.after_commit(lambda: self._on_online(message.device))
        on_change = self._on_change
        if on_change is not None:
            message.after_commit(lambda: on_change(message.device))
