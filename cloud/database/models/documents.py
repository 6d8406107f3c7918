"""Document requests: their states, and apart from them, encrypted and to be purged, what they say."""

from datetime import date, datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from cloud.database.models.base import Base

_ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


class Document(Base):
    """One document request; nothing here says who asked or what the paper says.

    `version` grows with each change. `deadline` is when the present state is left without anybody's doing;
    None where only a person or late evidence leaves it. `payment` is one of `cloud.documents.core.Hold`,
    `authorisation` the payment service's id. `reason` says why it ended badly, `attention` what a person
    has to look at. `code` stands in the QR code, `serial` on the paper; both are given once, before the
    paper is rendered. `sha256` and `size` are of the sealed PDF.
    """

    __tablename__ = "documents"

    document: Mapped[str] = mapped_column(sa.String(36), primary_key=True)
    device: Mapped[str] = mapped_column(sa.String(63), index=True)
    visit: Mapped[str] = mapped_column(sa.String(64))
    kind: Mapped[str] = mapped_column(sa.String(32))
    language: Mapped[str] = mapped_column(sa.String(8))
    state: Mapped[str] = mapped_column(sa.String(16), index=True)
    version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(index=True)
    changed_at: Mapped[datetime]
    deadline: Mapped[datetime | None] = mapped_column(index=True)
    tries: Mapped[int] = mapped_column(default=0)
    price_cents: Mapped[int | None]
    payment: Mapped[str] = mapped_column(sa.String(16))
    authorisation: Mapped[str | None] = mapped_column(sa.String(64))
    offered: Mapped[bool] = mapped_column(default=False)
    print_ended: Mapped[str | None] = mapped_column(sa.String(16))
    reason: Mapped[str | None] = mapped_column(sa.String(32))
    attention: Mapped[str | None] = mapped_column(sa.String(32), index=True)
    serial: Mapped[str | None] = mapped_column(sa.String(32), unique=True)
    code: Mapped[str | None] = mapped_column(sa.String(32), unique=True)
    issued_at: Mapped[datetime | None]
    valid_until: Mapped[date | None]
    sha256: Mapped[str | None] = mapped_column(sa.String(64))
    size: Mapped[int | None]


class DocumentChange(Base):
    """One transition of one document; `at` is the server's time."""

    __tablename__ = "document_changes"

    document: Mapped[str] = mapped_column(sa.ForeignKey("documents.document"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    event: Mapped[str] = mapped_column(sa.String(16))
    state: Mapped[str] = mapped_column(sa.String(16))
    at: Mapped[datetime]


class DocumentContent(Base):
    """One encrypted part of what a document says: AES-256-GCM, bound to document and part.

    `part` is one of `cloud.documents.contents.Part`. Rows are deleted once `purge_at` has passed.
    """

    __tablename__ = "document_contents"

    document: Mapped[str] = mapped_column(sa.ForeignKey("documents.document"), primary_key=True)
    part: Mapped[str] = mapped_column(sa.String(16), primary_key=True)
    nonce: Mapped[bytes]
    ciphertext: Mapped[bytes]
    purge_at: Mapped[datetime] = mapped_column(index=True)


class DocumentEvidence(Base):
    """What a kiosk said of one document's paper, in the order in which it arrived."""

    __tablename__ = "document_evidence"

    id: Mapped[int] = mapped_column(_ROW_ID, primary_key=True, autoincrement=True)
    document: Mapped[str] = mapped_column(sa.ForeignKey("documents.document"), index=True)
    outcome: Mapped[str] = mapped_column(sa.String(16))
    ipp_job_id: Mapped[int | None]
    ipp_job_state: Mapped[int | None]
    reasons: Mapped[list[str]] = mapped_column(sa.JSON)
    sheets: Mapped[int | None]
    at: Mapped[datetime]
    received_at: Mapped[datetime]


class DocumentLookup(Base):
    """One look into the registry and why; without any personal data.

    `outcome` is `asking` until the registry has answered, then `found`, `unknown`, `unavailable` or
    `locked` (the registry was not asked). The limits on failed identifications count these rows.
    """

    __tablename__ = "document_lookups"
    __table_args__ = (sa.Index("ix_document_lookups_visit", "device", "visit", "outcome"),)

    id: Mapped[int] = mapped_column(_ROW_ID, primary_key=True, autoincrement=True)
    document: Mapped[str] = mapped_column(sa.String(36), index=True)
    device: Mapped[str] = mapped_column(sa.String(63))
    visit: Mapped[str] = mapped_column(sa.String(64))
    kind: Mapped[str] = mapped_column(sa.String(32))
    purpose: Mapped[str] = mapped_column(sa.String(64))
    outcome: Mapped[str] = mapped_column(sa.String(16))
    at: Mapped[datetime] = mapped_column(index=True)


class DocumentSerial(Base):
    """The last serial number given in a year; numbers are never given twice, and gaps are possible."""

    __tablename__ = "document_serials"

    year: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last: Mapped[int]
