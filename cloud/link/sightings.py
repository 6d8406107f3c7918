"""Remembers under which boots each device comes, and says when two machines use one identity."""

import logging
from datetime import datetime

from sqlalchemy.orm import Session

from cloud.broker import Received
from cloud.database.models.link import Sighting
from cloud.link.identity import Coming, note
from contract.messages import Presence, read

log = logging.getLogger(__name__)


def take_presence(message: Received) -> None:
    """Note, in the message's transaction, that a device came; after the handler that believes presences.

    Raises:
        MalformedError: the payload is no `contract.messages.Presence`.
    """
    said = read(message.payload, Presence)
    if said.online:
        note_coming(message.session, message.device, said, message.received_at)


def note_coming(session: Session, device: str, said: Presence, received_at: datetime) -> None:
    """`device`, which is held, has said that it is there."""
    row = session.get(Sighting, device)
    if row is None:
        row = Sighting(device=device, seen=[], returns=0, returned_at=None)
        session.add(row)
    before = tuple(Coming(*known) for known in row.seen)
    seen, back = note(before, Coming(said.boot, said.at, int(received_at.timestamp() * 1000)))
    if seen != before:
        row.seen = [list(known) for known in seen]
    if back:
        row.returns += 1
        row.returned_at = received_at
        log.warning("identity_shared", extra={"device": device, "returns": row.returns})
