"""What staff do about devices' certificates: each thing in one transaction with its entry in the audit."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session, sessionmaker

from cloud.enrolment import registry, tokens
from cloud.enrolment.ends import End
from cloud.enrolment.issuers import Issuers
from cloud.operators.actors import Actor, audit


@dataclass(frozen=True)
class Office:
    """`publish` signs the lists of revoked certificates, `cancel_jobs` ends what a device still has to do.

    `issuers` tells which authorities there are, `ends` what ends when; both raise SettingsError.
    """

    sessions: sessionmaker[Session]
    publish: Callable[[datetime], object]
    cancel_jobs: Callable[[Session, str], object]
    issuers: Callable[[], Issuers]
    ends: Callable[[], tuple[End, ...]]

    def token(self, actor: Actor, device: str, kind: str, site: str) -> str:
        """A one-time token for a device, which is registered with it if it is new.

        Raises:
            MalformedError, RefusedError: as `registry.register`.
        """
        random = secrets.token_bytes(tokens.TOKEN_BYTES)
        with self.sessions.begin() as session:
            registry.register(session, device, kind, site, actor.at)
            token = tokens.issue(session, device, kind, actor.at, random)
            audit(session, actor, "issue-enrolment-token", device, {"kind": kind})
        return token

    def revoke(self, actor: Actor, device: str, reason: str = "operator") -> int:
        """Shut a device out now, by all its certificates; how many that were.

        Raises:
            RefusedError: there is no such device.
        """
        with self.sessions.begin() as session:
            ended = registry.shut_out(session, device, reason, actor.at)
            audit(session, actor, "revoke-device", device, {"reason": reason})
        self.publish(actor.at)
        return ended

    def take_out(self, actor: Actor, device: str) -> None:
        """Take a device out of service: nothing of it is good any more, and nothing waits for it.

        Raises:
            RefusedError: there is no such device.
        """
        with self.sessions.begin() as session:
            if registry.take_out(session, device, actor.at):
                self.cancel_jobs(session, device)
                audit(session, actor, "decommission-device", device, {})
        self.publish(actor.at)

    def take_back(self, actor: Actor, device: str) -> None:
        """Let a device that was out of service enrol again.

        Raises:
            RefusedError: there is no such device.
        """
        with self.sessions.begin() as session:
            if registry.take_back(session, device, actor.at):
                audit(session, actor, "readmit-device", device, {})
