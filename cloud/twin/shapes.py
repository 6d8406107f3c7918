"""The twin in the shapes that go over the wire."""

from datetime import datetime

from msgspec import UNSET

from cloud.twin.core import Changed, Refusal, Twin, stamps_of
from contract.twin import Answer, Delta, Documents, Metadata, Rejection, Section, Snapshot, State, Update


def seconds(moment: datetime) -> int:
    """AWS's clock: whole seconds since 1970 UTC."""
    return int(moment.timestamp())


def whole(twin: Twin, at_s: int, token: str) -> Answer:
    """`get/accepted`; sections that hold nothing are left out."""
    delta = twin.delta
    return Answer(
        state=State(
            desired=twin.desired or UNSET, reported=twin.reported or UNSET, delta=delta if delta else UNSET
        ),
        metadata=Metadata(
            desired=twin.desired_at or UNSET,
            reported=twin.reported_at or UNSET,
            delta=stamps_of(twin.desired_at, delta) if delta else UNSET,
        ),
        version=twin.version,
        timestamp=at_s,
        client_token=token,
    )


def accepted(wish: Update, twin: Twin, at_s: int) -> Answer:
    """`update/accepted`: what was asked for, with the times of what stands now."""
    return Answer(
        state=wish.state,
        metadata=Metadata(
            desired=stamps_of(twin.desired_at, wish.state.desired) if wish.state.desired else UNSET,
            reported=stamps_of(twin.reported_at, wish.state.reported) if wish.state.reported else UNSET,
        ),
        version=twin.version,
        timestamp=at_s,
        client_token=wish.client_token,
    )


def delta(twin: Twin, at_s: int, token: str = "") -> Delta | None:
    """`update/delta`; None where everything is as desired."""
    found: Section = twin.delta
    if not found:
        return None
    return Delta(
        state=found,
        metadata=stamps_of(twin.desired_at, found),
        version=twin.version,
        timestamp=at_s,
        client_token=token,
    )


def documents(changed: Changed, at_s: int) -> Documents:
    """`update/documents`."""
    return Documents(
        previous=_snapshot(changed.before),
        current=_snapshot(changed.after),
        timestamp=at_s,
        client_token=changed.wish.client_token,
    )


def rejection(refusal: Refusal, at_s: int) -> Rejection:
    """Any `/rejected`."""
    return Rejection(code=refusal.code, message=refusal.message, timestamp=at_s, client_token=refusal.token)


def _snapshot(twin: Twin) -> Snapshot:
    return Snapshot(
        state=State(desired=twin.desired or UNSET, reported=twin.reported or UNSET),
        metadata=Metadata(desired=twin.desired_at or UNSET, reported=twin.reported_at or UNSET),
        version=twin.version,
    )
