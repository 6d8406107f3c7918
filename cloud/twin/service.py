"""Twins for the rest of the control plane: read one, change what is desired, tell devices of differences."""

from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import for_reading
from cloud.database.models.devices import Device
from cloud.database.writing import hold
from cloud.errors import MalformedError, RefusedError
from cloud.operators.actors import Actor, audit
from cloud.twin import core, shapes, store
from cloud.twin.core import Changed, Refusal, Twin
from contract.messages import encode
from contract.twin import BY_PATH, DeleteAnswer, ErrorCode, Section, State, Update, leaves, wrong

Publish = Callable[[str, dict[str, str], bytes], None]
"""Takes a topic's name, its ids and a payload; `cloud.broker.Broker.publish` is the real one."""


class ConflictError(RefusedError):
    """The twin has another version than the caller has seen."""


class Twins:
    """The twins of the fleet; one per process.

    A message to a device can be lost. It is repeated when the device comes online and when the broker comes
    back, as long as something differs; and a device asks by itself now and then.
    """

    def __init__(
        self, *, sessions: sessionmaker[Session], publish: Publish, clock: Callable[[], datetime]
    ) -> None:
        self._sessions = sessions
        self._reading = for_reading(sessions)
        self._publish = publish
        self._clock = clock

    def get(self, device: str) -> Twin:
        """The twin of `device` as it is now."""
        with self._reading() as session:
            return store.load(session, device)

    def desire(self, device: str, changes: Section, operator: Actor, version: int | None = None) -> Twin:
        """Change what is desired of `device`, null removes; with `version` only of a twin that has it.

        Raises:
            MalformedError: a setting that there is not, or a value that it does not take.
            ConflictError: the twin has another version.
            RefusedError: the device is not registered, or there would be too much.
        """
        _check(changes)
        wish = Update(state=State(desired=changes), version=version)
        now = self._clock()
        with self._sessions.begin() as session:
            hold(session, [device])
            _registered(session, device)
            outcome = core.update(store.load(session, device), wish, "", shapes.seconds(now))
            if isinstance(outcome, Refusal):
                raise _error(outcome)
            assert isinstance(outcome, Changed), "without a token nothing is a repetition"
            store.save(session, device, outcome.after, now)
            audit(
                session,
                operator,
                "change-settings",
                device,
                {"version": outcome.after.version, "changes": sorted(_named(changes))},
            )
        self.tell(device, outcome, shapes.seconds(now))
        return outcome.after

    def delete(self, device: str, operator: Actor, version: int | None = None) -> None:
        """Forget what is desired and reported; the device reports anew.

        Raises:
            ConflictError: the twin has another version.
            RefusedError: there is none.
        """
        now = self._clock()
        with self._sessions.begin() as session:
            hold(session, [device])
            _registered(session, device)
            before = store.load(session, device)
            if version not in (None, before.version):
                raise ConflictError(f"the twin of {device} has version {before.version}; look again")
            after = core.delete(before, "", "")
            if isinstance(after, Refusal):
                raise RefusedError(f"{device} has no twin")
            assert isinstance(after, Twin), "without a token nothing is a repetition"
            store.save(session, device, after, now)
            audit(session, operator, "delete-twin", device, {"version": after.version})
        answer = DeleteAnswer(version=after.version, timestamp=shapes.seconds(now))
        self._publish("twin-delete-accepted", {"device": device}, encode(answer))

    def tell(self, device: str, changed: Changed, at_s: int) -> None:
        """Publish what follows from a change that is committed: the documents, and what still differs."""
        self._publish("twin-documents", {"device": device}, encode(shapes.documents(changed, at_s)))
        delta = shapes.delta(changed.after, at_s, changed.wish.client_token)
        if delta is not None:
            self._publish("twin-delta", {"device": device}, encode(delta))

    def announce(self, device: str) -> None:
        """Tell `device` what is desired that it does not report, if anything is."""
        delta = shapes.delta(self.get(device), shapes.seconds(self._clock()))
        if delta is not None:
            self._publish("twin-delta", {"device": device}, encode(delta))

    def announce_all(self) -> None:
        """Tell every device that is there and differs; after the broker came back."""
        with self._reading() as session:
            devices = store.differing(session)
        for device in devices:
            self.announce(device)


def _check(changes: Section) -> None:
    """What staff may desire: known settings, with values that they take; anything may be removed."""
    sentence = core.wrong_section("desired", changes)
    if sentence:
        raise MalformedError(sentence)
    for path, value in leaves(changes):
        name = ".".join(path)
        if value is None:
            continue
        setting = BY_PATH.get(path)
        if setting is None:
            known = ", ".join(each.name for each in BY_PATH.values())
            raise MalformedError(f"there is no setting {name!r:.80}; there are {known}")
        sentence = wrong(setting, value)
        if sentence:
            raise MalformedError(sentence)
    if not changes:
        raise MalformedError("name a setting to change")


def _named(changes: Section) -> list[str]:
    """The names that an audit entry may show: those of known settings, and how many others."""
    paths = [path for path, _ in leaves(changes)]
    known = [BY_PATH[path].name for path in paths if path in BY_PATH]
    others = len(paths) - len(known)
    return [*known, *([f"{others} others"] if others else [])]


def _registered(session: Session, device: str) -> None:
    found = sa.select(Device.device).where(Device.device == device, Device.decommissioned_at.is_(None))
    if session.scalar(found) is None:
        raise RefusedError(f"{device:.63} is not a registered device; see the list of devices")


def _error(refusal: Refusal) -> RefusedError:
    kind = ConflictError if refusal.code is ErrorCode.CONFLICT else RefusedError
    return kind(refusal.message)
