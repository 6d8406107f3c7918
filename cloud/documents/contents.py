"""What documents say, encrypted, apart from what becomes of them, and only until a day.

AES-256-GCM (NIST SP 800-38D) with one key in a file of mode 0600 and a random nonce of 96 bits for each
row. Document and part are authenticated with it, so that a row cannot be put in another's place.
"""

import os
import stat
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy.orm import Session

from cloud.database.models.documents import DocumentContent
from cloud.errors import RefusedError, SettingsError

KEY_BYTES = 32
NONCE_BYTES = 12
"""Random nonces are safe for 2^32 rows under one key (SP 800-38D, section 8.3)."""
KEY_FILE = "contents.key"


class Part(StrEnum):
    """The parts that are kept of one document."""

    REQUEST = "request"
    """Who asks, as the registry's opaque id, and what can be chosen."""
    RECORD = "sheet"
    """What the paper says; the first kind of paper gave the part its name in the database."""
    RENDERED = "rendered"
    SEALED = "sealed"


class Contents:
    """Keeps parts of documents in the caller's transaction."""

    def __init__(self, key: bytes, keep: timedelta) -> None:
        assert len(key) == KEY_BYTES, "the key has 256 bits"
        self._cipher = AESGCM(key)
        self._keep = keep

    def put(self, session: Session, document: str, part: Part, plain: bytes, now: datetime) -> None:
        """Keep `plain`, in place of what was there before."""
        nonce = os.urandom(NONCE_BYTES)
        session.merge(
            DocumentContent(
                document=document,
                part=part.value,
                nonce=nonce,
                ciphertext=self._cipher.encrypt(nonce, plain, _bound_to(document, part)),
                purge_at=now + self._keep,
            )
        )

    def get(self, session: Session, document: str, part: Part) -> bytes | None:
        """What was kept; None where nothing is, or it has been purged.

        Raises:
            RefusedError: it cannot be decrypted: the key is another, or the row was changed.
        """
        row = session.get(DocumentContent, (document, part.value))
        if row is None:
            return None
        try:
            return self._cipher.decrypt(row.nonce, row.ciphertext, _bound_to(document, part))
        except InvalidTag:
            raise RefusedError(
                f"document {document}: its {part} cannot be decrypted; is {KEY_FILE} the right one?"
            ) from None

    def drop(self, session: Session, document: str, *parts: Part) -> None:
        """Forget these parts."""
        names = [part.value for part in parts]
        session.execute(
            sa.delete(DocumentContent).where(
                DocumentContent.document == document, DocumentContent.part.in_(names)
            )
        )

    def purge(self, session: Session, now: datetime) -> int:
        """Delete everything whose day has come, and say how many rows that were."""
        done = session.execute(sa.delete(DocumentContent).where(DocumentContent.purge_at <= now))
        return int(done.rowcount)  # type: ignore[attr-defined] # a DELETE's result has it


def load_key(folder: Path) -> bytes:
    """The key in `folder`, made there when there is none yet.

    Raises:
        SettingsError: the file is readable for others, or holds no key.
    """
    path = folder / KEY_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_key(path)
    with os.fdopen(descriptor, "wb") as file:
        key = os.urandom(KEY_BYTES)
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return key


def _read_key(path: Path) -> bytes:
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise SettingsError(f"{path} can be read by others; run `chmod 600 {path}`")
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise SettingsError(f"{path} holds {len(key)} bytes, a key has {KEY_BYTES}; restore it from a copy")
    return key


def _bound_to(document: str, part: Part) -> bytes:
    return f"{document}/{part}".encode()
