"""Carries out what `presence` and `incidents` decide: words as they come, data and silence by a sweep."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

import msgspec
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import Received
from cloud.database.engine import for_reading
from cloud.database.models.devices import Device
from cloud.database.writing import hold
from cloud.devices import incident_rows, incidents, off_hours, waits, words
from cloud.devices.hours import Off, Tolerance, expected_until
from cloud.devices.presence import OFFLINE, Cause, Ears, Limits, Said, TimePassed, handle
from cloud.devices.words import Standing
from cloud.errors import MalformedError
from contract.messages import SEQ_MAX, Presence, read

log = logging.getLogger(__name__)

AGENT_LENGTH_MAX = 64
BOOT_LENGTH_MAX = 64
SWEEP_EVERY_S = 2.0


@dataclass(frozen=True)
class Rules:
    """Every limit of presence, and the civil time in which hours are meant."""

    zone: tzinfo
    presence: Limits
    incidents: incidents.Limits
    tolerance: Tolerance


class Presences:
    """The handler of `presence`, and the sweep.

    `words_since` says since when the broker's subscription stands, None when it does not. After a commit
    `on_online` is called when a device has come, and `on_change` when it came or went.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        rules: Rules,
        *,
        clock: Callable[[], datetime],
        words_since: Callable[[], datetime | None],
        on_online: Callable[[str], None],
        on_change: Callable[[str], None],
    ) -> None:
        self._sessions = sessions
        self._reading = for_reading(sessions)
        self._rules = rules
        self._clock = clock
        self._words_since = words_since
        self._on_online = on_online
        self._on_change = on_change

    def take(self, message: Received) -> None:
        """Write down what a device, or its will, says.

        Raises:
            MalformedError: the payload is no `contract.messages.Presence`, or a value is out of range.
        """
        said = read(message.payload, Presence)
        connection = 0 if said.connection is msgspec.UNSET else said.connection
        if len(said.boot) > BOOT_LENGTH_MAX:
            raise MalformedError(f"a boot's id has at most {BOOT_LENGTH_MAX} characters")
        if not 0 <= connection <= SEQ_MAX:
            raise MalformedError(f"connection is {connection}: it counts from 1")
        now = message.received_at
        row = message.session.get_one(Device, message.device)
        known = words.load(message.session, row)
        ears = Ears(self._words_since() or now, words.data_since(message.session, now))
        after = handle(known, Said(said.online, said.boot, connection), now, ears, self._rules.presence)
        if said.online and (after.boot, after.connection) == (said.boot, connection):
            row.agent = said.agent[:AGENT_LENGTH_MAX]
            row.last_seen_at = now
        if after == known:
            return
        words.save(message.session, row, after)
        if after.came_at != known.came_at:
            message.after_commit(lambda: self._on_online(message.device))
        if after.state != known.state:
            log.info("presence_changed", extra=_told(message.device, after.state, after.cause))
            message.after_commit(lambda: self._on_change(message.device))

    def sweep(self) -> None:
        """Judge everybody by what was heard and what was not; then open, extend and close incidents."""
        now = self._clock()
        with self._reading() as session:
            ears = Ears(self._words_since(), words.data_since(session, now))
            fleet = words.everybody(session)
        moved = [each.device for each in fleet if self._moves(each, now, ears)]
        if moved:
            self._judge(moved, now, ears)
            with self._reading() as session:
                fleet = words.everybody(session)
        self._gather(fleet, now)

    def _moves(self, standing: Standing, now: datetime, ears: Ears) -> bool:
        after = handle(standing.known, TimePassed(), now, ears, self._rules.presence)
        return (after.state, after.cause) != (standing.known.state, standing.known.cause)

    def _judge(self, devices: Sequence[str], now: datetime, ears: Ears) -> None:
        """Judge `devices` again while nobody else changes them."""
        changed = []
        with self._sessions.begin() as session:
            hold(session, devices)
            for device in devices:
                row = session.get_one(Device, device)
                known = words.load(session, row)
                after = handle(known, TimePassed(), now, ears, self._rules.presence)
                if after != known:
                    words.save(session, row, after)
                if after.state != known.state:
                    changed.append((device, after))
        for device, after in changed:
            log.info("presence_changed", extra=_told(device, after.state, after.cause))
            self._on_change(device)

    def _gather(self, fleet: Sequence[Standing], now: datetime) -> None:
        """Hold the incidents against the fleet: who is off and should not be is in one, who is there is not.

        The state of the fleet says it, not its changes, so that nothing is missed by a restart in between.
        """
        with self._reading() as session:
            away = incident_rows.away(session)
            recovering = incident_rows.recovering(session)
            plans = off_hours.weeks(session)
            told = off_hours.waits(session, now)
        off = {each.device: each for each in fleet if each.known.state == OFFLINE}
        until = {
            device: self._until(each, plans, told, now) for device, each in off.items() if device not in away
        }
        gone = [
            incidents.Gone(device, off[device].site)
            for device, expected in until.items()
            if expected is None and off[device].known.cause is not Cause.NEVER
        ]
        back = [incidents.Back(device) for device in sorted(away) if device not in off]
        self._expect(fleet, until)
        if gone or back or recovering:
            self._write([*gone, *back, incidents.TimePassed()], now)

    def _until(
        self,
        standing: Standing,
        plans: Mapping[tuple[str, str], tuple[Off, ...]],
        told: Sequence[waits.Wait],
        now: datetime,
    ) -> datetime | None:
        """Until when an absence is as expected, by the hours or by what the device was told to wait."""
        known = standing.known
        gone_at = (known.ended_at if known.cause is Cause.ENDED else None) or known.since or now
        week = plans.get(("device", standing.device)) or plans.get(("site", standing.site), ())
        found = (
            expected_until(week, now, self._rules.zone, self._rules.tolerance),
            waits.expected_until(told, standing.site, gone_at, now),
        )
        return max((each for each in found if each is not None), default=None)

    def _expect(self, fleet: Sequence[Standing], until: Mapping[str, datetime | None]) -> None:
        changes = [
            (each.device, until.get(each.device))
            for each in fleet
            if each.expected_until != until.get(each.device)
        ]
        if changes:
            with self._sessions.begin() as session:
                hold(session, [device for device, _ in changes])
                words.expect(session, changes)

    def _write(self, events: Sequence[incidents.Event], now: datetime) -> None:
        with self._sessions.begin() as session:
            before = incident_rows.going_on(session)
            after = before
            for event in events:
                after = incidents.handle(after, event, now, self._rules.incidents)
            written = incident_rows.save(session, before, after)
        for each in written:
            log.info(
                "incident_changed",
                extra={"incident": each.number, "state": each.state, "devices": len(each.members)},
            )


def _told(device: str, state: str, cause: Cause) -> dict[str, object]:
    return {"device": device, "presence": state, "cause": cause.value}
