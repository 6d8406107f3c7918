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

    `serial` is in lower-case hexadecimal. `by` says what it was issued for: `token` or `renewal`.
    """

    __tablename__ = "device_certificates"

    serial: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    device: Mapped[str] = mapped_column(sa.ForeignKey("devices.device"), index=True)
    state: Mapped[str] = mapped_column(sa.String(16), index=True)
    by: Mapped[str] = mapped_column(sa.String(16))
    fingerprint_sha256: Mapped[str] = mapped_column(sa.String(64))
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    connected_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str] = mapped_column(sa.String(32), default="")


class EnrolmentRefusal(Base):
    """How often something was refused for one cause; who asked is not kept, it could be anybody."""

    __tablename__ = "enrolment_refusals"

    cause: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    count: Mapped[int]
    last_at: Mapped[datetime]
