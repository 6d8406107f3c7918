"""What is one incident: devices of one site that go off together are one, because one uplink is. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from contract.lifecycle import Machine

INCIDENT = Machine(
    "incident",
    "open",
    {
        "open": {"back": "recovering"},
        "recovering": {"gone": "open", "held": "closed"},
        "closed": {},
    },
)
"""`recovering`: everybody is back, but not yet for long; who goes again then continues the same incident."""


@dataclass(frozen=True)
class Limits:
    """`together_s` after an incident began its site's devices still join it; after `over_after_s` with
    everybody back it is closed. Both in seconds."""

    together_s: float = 120.0
    over_after_s: float = 300.0


@dataclass(frozen=True)
class Member:
    """One device of an incident; `times` says how often it went, `back_at` is None while it is away."""

    device: str
    gone_at: datetime
    back_at: datetime | None = None
    times: int = 1


@dataclass(frozen=True)
class Incident:
    """One incident; `number` is None before it is stored. `over_at` is when the last device came back."""

    site: str
    opened_at: datetime
    members: tuple[Member, ...]
    number: int | None = None
    state: str = INCIDENT.initial
    over_at: datetime | None = None
    closed_at: datetime | None = None

    @property
    def away(self) -> tuple[str, ...]:
        """The devices that are away now."""
        return tuple(member.device for member in self.members if member.back_at is None)


@dataclass(frozen=True)
class Gone:
    """A device is off that should not be."""

    device: str
    site: str


@dataclass(frozen=True)
class Back:
    """A device is there again, or is out of service."""

    device: str


@dataclass(frozen=True)
class TimePassed:
    """Perhaps everybody is back for long enough."""


Event = Gone | Back | TimePassed


def handle(known: Sequence[Incident], event: Event, now: datetime, limits: Limits) -> list[Incident]:
    """The incidents that are not closed, after `event`, with those that it closes or opens."""
    match event:
        case Gone(device, site):
            return _gone(known, device, site, now, limits)
        case Back(device):
            return [_back(each, device, now) if device in each.away else each for each in known]
        case TimePassed():
            return [_held(each, now, limits) for each in known]
        case _:
            assert_never(event)


def _gone(known: Sequence[Incident], device: str, site: str, now: datetime, limits: Limits) -> list[Incident]:
    """Into the incident that has the device already, else the site's newest, else one of its own."""
    mine = next((each for each in known if any(member.device == device for member in each.members)), None)
    if mine is None:
        young = [
            each
            for each in known
            if each.site == site and (now - each.opened_at).total_seconds() <= limits.together_s
        ]
        mine = max(young, key=lambda each: each.opened_at, default=None)
    if mine is None:
        return [*known, Incident(site, now, (Member(device, now),))]
    if device in mine.away:
        return list(known)
    return [_with(each, device, now) if each is mine else each for each in known]


def _with(incident: Incident, device: str, now: datetime) -> Incident:
    again = next((member for member in incident.members if member.device == device), None)
    if again is None:
        members = (*incident.members, Member(device, now))
    else:
        gone = replace(again, back_at=None, times=again.times + 1)
        members = tuple(gone if member is again else member for member in incident.members)
    state = (
        INCIDENT.apply(incident.state, "gone") if INCIDENT.allows(incident.state, "gone") else incident.state
    )
    return replace(incident, members=members, state=state, over_at=None)


def _back(incident: Incident, device: str, now: datetime) -> Incident:
    members = tuple(
        replace(member, back_at=now) if member.device == device else member for member in incident.members
    )
    incident = replace(incident, members=members)
    if incident.away:
        return incident
    return replace(incident, state=INCIDENT.apply(incident.state, "back"), over_at=now)


def _held(incident: Incident, now: datetime, limits: Limits) -> Incident:
    if incident.over_at is None or (now - incident.over_at).total_seconds() < limits.over_after_s:
        return incident
    return replace(incident, state=INCIDENT.apply(incident.state, "held"), closed_at=now)
