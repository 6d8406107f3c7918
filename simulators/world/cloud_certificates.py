"""Certificates of the control plane: the real judgements over a plain table, and the list of the broker.

What is here beside `cloud.enrolment.core` is what `cloud.enrolment.members` does in its transactions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cloud.enrolment import core
from cloud.enrolment.causes import STATUS, Cause
from contract.enrolment import BACKDATED_S, CERTIFICATE
from edge_agent.link.certificate import Life
from simulators.world.clock import START, Action
from simulators.world.faults import Fault, Faults
from simulators.world.plants import Plant

SUPERSEDED_GRACE = timedelta(seconds=60)
EXPIRED_GRACE = timedelta(hours=1)
"""Longer than anything can go wrong in a world: nobody needs a new token."""
AGE_AT_LAST = timedelta(hours=6)
"""Once all has healed, staff let certificates live longer, so that the end of a world is quiet."""
PACE_MAX = 20
"""Certificates of one device within one life of them."""

Commit = Callable[..., None]
"""Lets changes happen together."""


@dataclass(frozen=True)
class Certificate:
    """What a device gets; `key` is that of its request. `taken` says whether the broker trusts its issuer."""

    serial: str
    key: str
    life: Life
    taken: bool = True


@dataclass(frozen=True)
class Row:
    """A certificate as it is committed; moments are those of `DeviceCertificate`."""

    device: str
    certificate: Certificate
    issued_at: datetime
    state: str = "issued"
    proven_at: datetime | None = None
    superseded_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str = ""

    @property
    def expires_at(self) -> datetime:
        """When it is over, whatever else becomes of it."""
        return datetime.fromtimestamp(self.certificate.life.not_after_s, START.tzinfo)


class CloudCertificates:
    """`rows` are those of the fleet, `published` the serials on the list of revoked ones.

    `on_revoked` is told of each certificate in the moment in which it is revoked.
    """

    def __init__(self, faults: Faults, plant: Plant, commit: Commit, now: Callable[[], datetime]) -> None:
        self.rows: dict[str, Row] = {}
        self.published: frozenset[str] = frozenset()
        self.age = self.pace = AGE_AT_LAST
        self.on_revoked: Callable[[Row], None] = lambda _row: None
        self._faults = faults
        self._plant = plant
        self._commit = commit
        self._now = now

    # --- what devices ask ---

    def enrolled(self, device: str, key: str) -> Certificate:
        """The certificate with which a device begins; nobody has seen it connect yet."""
        certificate = self._sign(device, key, taken=True)
        self.rows[certificate.serial] = Row(device, certificate, self._now())
        return certificate

    def renew(self, shown: Certificate, key: str) -> Certificate | Cause:
        """`simplereenroll`: a certificate for `key`, or why there is none."""
        now, row = self._now(), self.rows[shown.serial]
        cause = self._judge(row, core.Purpose.RENEWAL)
        if cause is not None:
            return cause
        changes = self._connected(row)
        held = [_held(each) for each in self.rows.values() if each.device == row.device]
        again = core.given_again(held, key, shown.serial, now)
        if again is not None:
            self._commit(*changes)
            return self.rows[again].certificate
        if sum(each.issued_at > now - self.pace for each in held) >= PACE_MAX:
            return Cause.TOO_OFTEN
        new = self._sign(row.device, key, taken=not self._faults.happens(Fault.WRONG_ISSUER))
        fresh = Row(row.device, new, now)
        changes.append(lambda: self.rows.__setitem__(new.serial, fresh))
        too_many = core.surplus([*held, _held(fresh)], {new.serial, shown.serial})
        changes += [self._end(self.rows[serial], "revoke", "unproven") for serial in too_many]
        if self._plant.ends_at_issue:
            changes.append(self._end(row, "supersede", "superseded"))
        self._commit(*changes)
        return new

    def prove(self, shown: Certificate) -> Cause | None:
        """The device says that a link has stood with `shown`; why that is not taken."""
        row = self.rows[shown.serial]
        cause = self._judge(row, core.Purpose.SERVICE)
        if cause is not None:
            return cause
        if row.state == "active":
            return None
        connects = CERTIFICATE.allows(row.state, "connect")
        state = CERTIFICATE.apply(row.state, "connect") if connects else row.state
        if not CERTIFICATE.allows(state, "prove"):
            return Cause.SUPERSEDED_CERTIFICATE
        proven = replace(row, state=CERTIFICATE.apply(state, "prove"), proven_at=self._now())
        others = [each for each in self.rows.values() if each.device == row.device and each is not row]
        self._commit(
            lambda: self.rows.__setitem__(shown.serial, proven),
            *(
                self._end(each, "supersede", "superseded")
                for each in others
                if CERTIFICATE.allows(each.state, "supersede")
            ),
        )
        return None

    def admits(self, shown: Certificate) -> bool:
        """Whether the broker lets in who shows this: by its dates, its issuer, and the list it has read."""
        life = shown.life
        now_s = self._now().timestamp()
        return shown.taken and life.not_before_s <= now_s < life.not_after_s and not self.is_revoked(shown)

    def is_revoked(self, shown: Certificate) -> bool:
        """Whether it stands on the list."""
        return shown.serial in self.published

    def usable(self, serial: str) -> bool:
        """Whether its device can still come to a certificate by it: it connects, or is good for a renewal."""
        return self._judge(self.rows[serial], core.Purpose.RENEWAL) is None

    # --- what passes by itself ---

    def sweep(self) -> None:
        """End what is over, and publish the list."""
        now, changes = self._now(), list[Action]()
        for row in self.rows.values():
            if row.state not in core.GOOD:
                continue
            superseded_at = row.superseded_at if row.state == "superseded" else None
            if superseded_at is not None and superseded_at <= now - SUPERSEDED_GRACE:
                changes.append(self._end(row, "revoke", "superseded"))
            elif row.expires_at <= now:
                changes.append(self._end(row, "expire", "expired"))
        if changes:
            self._commit(*changes)
        self.published = frozenset(serial for serial, row in self.rows.items() if row.state == "revoked")

    # --- the table ---

    def _sign(self, device: str, key: str, *, taken: bool) -> Certificate:
        issued_s, serial = self._now().timestamp(), f"{device} {len(self.rows) + 1}"
        life = Life(issued_s - BACKDATED_S, issued_s + self.age.total_seconds())
        return Certificate(serial, key, life, taken)

    def _judge(self, row: Row, purpose: core.Purpose) -> Cause | None:
        replaced = any(
            each.device == row.device
            and each is not row
            and each.proven_at is not None
            and each.issued_at >= row.issued_at
            for each in self.rows.values()
        )
        standing = core.Standing(
            state=row.state,
            valid_from=datetime.fromtimestamp(row.certificate.life.not_before_s, START.tzinfo),
            expires_at=row.expires_at,
            out_of_service=False,
            replaced=replaced,
        )
        return core.judge(standing, purpose, self._now(), EXPIRED_GRACE)

    def _connected(self, row: Row) -> list[Action]:
        if not CERTIFICATE.allows(row.state, "connect") or row.expires_at <= self._now():
            return []
        after = replace(row, state=CERTIFICATE.apply(row.state, "connect"))
        return [lambda: self.rows.__setitem__(row.certificate.serial, after)]

    def _end(self, row: Row, event: str, reason: str) -> Action:
        now = self._now()
        after = replace(row, state=CERTIFICATE.apply(row.state, event), ended_at=now, end_reason=reason)
        if event == "supersede":
            after = replace(after, superseded_at=now)

        def end() -> None:
            self.rows[row.certificate.serial] = after
            if event == "revoke":
                self.on_revoked(after)

        return end


def is_final(cause: Cause) -> bool:
    """Whether a device takes this for a no (`edge_agent.enrolment.est`), and not for a bad moment."""
    return STATUS[cause] != STATUS[Cause.TOO_OFTEN]


def _held(row: Row) -> core.Held:
    return core.Held(row.certificate.serial, row.state, row.certificate.key, row.issued_at, row.expires_at)
