"""The commands that replace the issuing authority: what they want, what they tell, what the audit keeps."""

import json
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from cloud.__main__ import EXIT_SETTINGS, main
from cloud.database.engine import connect
from cloud.database.models.operators import AuditEntry
from tests.cloud.test_enrol_list import SETTINGS

FIRST, SECOND, THIRD = "Civic Fleet Authority", "Civic Fleet Authority 2", "Civic Fleet Authority 3"


def test_whoever_has_the_roots_key_replaces_the_issuing_authority(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "cloud.toml"
    settings.write_text(SETTINGS.format(folder=tmp_path))

    def run(*words: str) -> int:
        capsys.readouterr()
        return main([words[0], "--settings", str(settings), *words[1:]])

    assert run("init") == 0
    safe = shutil.move(tmp_path / "data" / "pki" / "root", tmp_path / "safe")
    assert run("new-issuer") == EXIT_SETTINGS
    assert "root.key: No such file" in capsys.readouterr().err
    assert run("new-issuer", "--root-key", str(tmp_path / "data" / "pki" / "issuing.key")) == EXIT_SETTINGS
    assert "is not the key of the root" in capsys.readouterr().err
    key = ("--root-key", str(safe / "root.key"))
    assert run("new-issuer", *key) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["issuer"], told["distrusted"]) == (SECOND, [])
    assert "restart the broker" in told["next"]
    assert run("new-issuer", *key, "--distrust-old") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["issuer"], sorted(told["distrusted"])) == (THIRD, [FIRST, SECOND])
    assert run("distrust-issuers", *key) == 0
    assert json.loads(capsys.readouterr().out)["distrusted"] == []
    assert run("init") == 0
    engine = connect(f"sqlite:///{tmp_path / 'data' / 'fleet.db'}")
    with Session(engine) as session:
        entries = session.execute(sa.select(AuditEntry.action, AuditEntry.subject)).all()
    engine.dispose()
    assert sorted((row.action, row.subject) for row in entries) == [
        ("distrust-issuers", FIRST),
        ("distrust-issuers", SECOND),
        ("new-issuer", SECOND),
        ("new-issuer", THIRD),
    ]
