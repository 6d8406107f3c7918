"""Tokens, certificates and refusals of enrolment."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from cloud.database.models.base import Base


class EnrolmentToken(Base):
    """A right to enrol one device with one key; the token itself is nowhere but with the technician."""

    __tablename__ = "enrolment_tokens"

    token_sha256: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    device: Mapped[str] = mapped_column(sa.ForeignKey("devices.device"), index=True)
    kind: Mapped[str] = mapped_column(sa.String(32))
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]
    key_sha256: Mapped[str | None] = mapped_column(sa.String(64))


class DeviceCertificate(Base):
    """One certificate of a device; `state` moves by `contract.enrolment.CERTIFICATE` only.

    `serial` is in lower-case hexadecimal. `by` says what it was issued for: `token` or `renewal`. The digest
    of its public key and the `certificate` itself (DER) are kept so that an answer that was lost can be given
    again. `connected_at` is when its device first came with it, `proven_at` when it said that a link stood.
    """

    __tablename__ = "device_certificates"

    serial: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    device: Mapped[str] = mapped_column(sa.ForeignKey("devices.device"), index=True)
    state: Mapped[str] = mapped_column(sa.String(16), index=True)
    by: Mapped[str] = mapped_column(sa.String(16))
    fingerprint_sha256: Mapped[str] = mapped_column(sa.String(64))
    key_sha256: Mapped[str | None] = mapped_column(sa.String(64))
    certificate: Mapped[bytes | None]
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    connected_at: Mapped[datetime | None]
    proven_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str] = mapped_column(sa.String(32), default="")


class ConnectionDrop(Base):
    """A live connection to the broker that is to end, because its device has no good certificate any more.

    `forget` says that what the broker keeps of the device goes too. It is open until `done_at`; `trouble` is
    one of `cloud.enrolment.drops.Trouble`, why it is not done yet.
    """

    __tablename__ = "connection_drops"

    device: Mapped[str] = mapped_column(sa.ForeignKey("devices.device"), primary_key=True)
    asked_at: Mapped[datetime]
    forget: Mapped[bool]
    tries: Mapped[int]
    next_at: Mapped[datetime] = mapped_column(index=True)
    trouble: Mapped[str] = mapped_column(sa.String(32), default="")
    done_at: Mapped[datetime | None]


class EnrolmentRefusal(Base):
    """How often something was refused for one cause; who asked is not kept, it could be anybody."""

    __tablename__ = "enrolment_refusals"

    cause: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    count: Mapped[int]
    last_at: Mapped[datetime]
