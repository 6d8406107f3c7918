"""Remembers under which boots each device comes, and says when two machines use one identity."""

import logging
from collections.abc import Callable
from datetime import datetime

import msgspec
from sqlalchemy.orm import Session

from cloud.broker import Received
from cloud.database.models.link import Sighting
from cloud.link.identity import Coming, note
from contract.messages import Presence, read

log = logging.getLogger(__name__)


class Sightings:
    """The second handler of `presence`; `on_coming` is called after the commit each time a device comes."""

    def __init__(self, on_coming: Callable[[str], None]) -> None:
        self._on_coming = on_coming

    def take(self, message: Received) -> None:
        """Note, in the message's transaction, that a device came; a copy of what was noted changes nothing.

        Raises:
            MalformedError: the payload is no `contract.messages.Presence`.
        """
        said = read(message.payload, Presence)
        if said.online and note_coming(message.session, message.device, said, message.received_at):
            message.after_commit(lambda: self._on_coming(message.device))


def note_coming(session: Session, device: str, said: Presence, received_at: datetime) -> bool:
    """`device`, which is held, has said that it is there; whether that is news."""
    row = session.get(Sighting, device)
    if row is None:
        row = Sighting(device=device, seen=[], returns=0, returned_at=None)
        session.add(row)
    before = tuple(Coming(*known) for known in row.seen)
    number = 0 if said.connection is msgspec.UNSET else said.connection
    coming = Coming(said.boot, number, said.at, int(received_at.timestamp() * 1000))
    seen, back = note(before, coming)
    if back:
        row.returns += 1
        row.returned_at = received_at
        log.warning("identity_shared", extra={"device": device, "returns": row.returns})
    if seen == before:
        return False
    row.seen = [list(known) for known in seen]
    return True
