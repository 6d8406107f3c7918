"""Many devices are registered at once by a list; a list that is wrong changes nothing."""

import json
from pathlib import Path

import pytest

from cloud.__main__ import EXIT_DATA, main

SETTINGS = """data_dir = "{folder}/data"
public_url = "http://127.0.0.1:1"
[pages]
port = 1
[bootstrap]
port = 2
[device]
port = 3
[broker]
host = "localhost"
[documents]
registry_url = "http://127.0.0.1:4"
payments_url = "http://127.0.0.1:5"
"""


def test_a_list_gives_a_token_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tmp_path / "cloud.toml"
    settings.write_text(SETTINGS.format(folder=tmp_path))
    assert main(["init", "--settings", str(settings)]) == 0
    capsys.readouterr()
    listed = tmp_path / "new.csv"

    def enrol(text: str) -> int:
        listed.write_text(text)
        return main(["enrol-token", "--settings", str(settings), "--list", str(listed)])

    assert enrol('kiosk-01,kiosk,"Mati 1, Prishtinë"\nhall-01,recorder,Kuvendi\n') == 0
    told = json.loads(capsys.readouterr().out)["tokens"]
    assert [each["device"] for each in told] == ["kiosk-01", "hall-01"]
    assert len({each["token"] for each in told}) == 2
    for wrong in ("kiosk-02,kiosk\n", "", "kiosk-02,kiosk,x\nkiosk-03,robot,x\n"):
        assert enrol(wrong) == EXIT_DATA
    assert capsys.readouterr().out == ""
    words = ["enrol-token", "--settings", str(settings), "--device", "kiosk-02"]
    assert main(words) == EXIT_DATA
    assert "--list FILE" in capsys.readouterr().err
    assert main([*words, "--kind", "kiosk", "--site", "x"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"device", "token"}
