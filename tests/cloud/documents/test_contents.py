"""Contents are unreadable without the key, bound to their row, and gone after their day."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.documents import Document, DocumentContent
from cloud.documents.contents import KEY_BYTES, Contents, Part, load_key
from cloud.errors import RefusedError, SettingsError

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
KEY = bytes(range(KEY_BYTES))
SECRET = "Љиљана Ђорђевић".encode()


@pytest.fixture
def session(sessions: sessionmaker[Session]) -> Iterator[Session]:
    with sessions() as session:
        _fill(session)
        yield session


def _fill(session: Session) -> None:
    for name in ("one", "two"):
        session.add(
            Document(
                document=name,
                device="kiosk-01",
                visit="v",
                kind="possession-sheet",
                language="sq",
                state="requested",
                version=1,
                created_at=NOW,
                changed_at=NOW,
                payment="none",
            )
        )
    session.flush()


def test_what_was_put_comes_back_and_is_unreadable_in_between(session: Session) -> None:
    contents = Contents(KEY, timedelta(days=30))
    contents.put(session, "one", Part.RECORD, SECRET, NOW)
    session.flush()
    row = session.scalars(sa.select(DocumentContent)).one()
    assert SECRET not in row.ciphertext
    assert contents.get(session, "one", Part.RECORD) == SECRET
    assert contents.get(session, "one", Part.SEALED) is None


def test_the_last_put_stands(session: Session) -> None:
    contents = Contents(KEY, timedelta(days=30))
    contents.put(session, "one", Part.RECORD, b"first", NOW)
    contents.put(session, "one", Part.RECORD, b"second", NOW)
    assert contents.get(session, "one", Part.RECORD) == b"second"


def test_a_row_in_anothers_place_is_refused(session: Session) -> None:
    contents = Contents(KEY, timedelta(days=30))
    contents.put(session, "one", Part.RECORD, SECRET, NOW)
    session.flush()
    row = session.scalars(sa.select(DocumentContent)).one()
    session.add(
        DocumentContent(
            document="two", part="sheet", nonce=row.nonce, ciphertext=row.ciphertext, purge_at=NOW
        )
    )
    session.flush()
    with pytest.raises(RefusedError, match=r"contents\.key"):
        contents.get(session, "two", Part.RECORD)


def test_another_key_opens_nothing(session: Session) -> None:
    Contents(KEY, timedelta(days=30)).put(session, "one", Part.RECORD, SECRET, NOW)
    session.flush()
    with pytest.raises(RefusedError):
        Contents(bytes(KEY_BYTES), timedelta(days=30)).get(session, "one", Part.RECORD)


def test_contents_are_purged_on_their_day(session: Session) -> None:
    contents = Contents(KEY, timedelta(days=30))
    contents.put(session, "one", Part.RECORD, SECRET, NOW)
    contents.put(session, "two", Part.RECORD, SECRET, NOW + timedelta(days=1))
    session.flush()
    assert contents.purge(session, NOW + timedelta(days=30) - timedelta(seconds=1)) == 0
    assert contents.purge(session, NOW + timedelta(days=30)) == 1
    session.expire_all()
    assert contents.get(session, "one", Part.RECORD) is None
    assert contents.get(session, "two", Part.RECORD) == SECRET


def test_the_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    key = load_key(tmp_path)
    path = tmp_path / "contents.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_key(tmp_path) == key
    path.chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_key(tmp_path)


def test_a_broken_key_is_said(tmp_path: Path) -> None:
    (tmp_path / "contents.key").write_bytes(b"short")
    (tmp_path / "contents.key").chmod(0o600)
    with pytest.raises(SettingsError, match="5 bytes"):
        load_key(tmp_path)
