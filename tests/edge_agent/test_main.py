"""How the agent ends: in order, or at once when an invariant is broken; and what its logs say of it."""

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent import logs, main
from edge_agent.errors import RefusedError, UnavailableError

SETTINGS = """
device = "kiosk-001"
kind = "kiosk"
site = "center"
data_dir = "{data}"
[broker]
host = "localhost"
[cloud]
bootstrap_url = "https://localhost:1"
device_url = "https://localhost:1"
ca_file = "ca.pem"
"""


@pytest.fixture
def root_logger() -> Iterator[None]:
    """The root logger as it was, once the test has ended."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(SETTINGS.format(data=tmp_path / "data"))
    monkeypatch.setattr(sys, "argv", ["edge_agent", "--settings", str(file)])


@pytest.mark.usefixtures("root_logger")
def test_a_broken_invariant_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def live(*_: object) -> int:
        async with asyncio.TaskGroup() as group:
            group.create_task(broken())
        return 0

    async def broken() -> None:
        raise AssertionError("two and two are five")

    program(tmp_path, monkeypatch)
    monkeypatch.setattr(main, "_live", live)
    monkeypatch.setattr(logs.configure, "__defaults__", (sys.stderr, logging.INFO))
    assert main.main() == 1
    said = json.loads(capsys.readouterr().err)
    assert (said["event"], said["level"], said["error"]) == ("agent_failed", "critical", "AssertionError")
    assert said["error_text"] == "two and two are five"


@pytest.mark.usefixtures("root_logger")
def test_a_full_disk_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def live(*_: object) -> int:
        raise UnavailableError("link.db: the disk is full; free some space")

    program(tmp_path, monkeypatch)
    monkeypatch.setattr(main, "_live", live)
    assert main.main() == 69
    assert capsys.readouterr().err == "edge_agent: link.db: the disk is full; free some space\n"


async def test_what_was_to_run_for_ever_may_not_end() -> None:
    async def short() -> None:
        return

    with pytest.raises(AssertionError, match="telemetry has ended by itself"):
        await main._for_ever("telemetry", short)


def formatted(error: BaseException | None, **extra: object) -> dict[str, object]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    logger = logging.Logger("edge_agent.test")  # noqa: LOG001 one that nobody else has
    logger.addHandler(handler)
    logger.warning("paper_ran_out", extra=extra, exc_info=error)
    found: dict[str, object] = json.loads(stream.getvalue())
    return found


def test_a_log_is_one_line_of_json_with_its_ids() -> None:
    line = formatted(None, document="d-1", sheets=2, path=Path("x"), nothing=None)
    assert line["event"] == "paper_ran_out"
    assert line["level"] == "warning"
    assert (line["document"], line["sheets"], line["path"], line["nothing"]) == ("d-1", 2, "x", None)


def test_a_strangers_message_is_not_written_and_ours_is() -> None:
    strange = formatted(ValueError("Arta Krasniqi 1234567890"))
    assert "Krasniqi" not in json.dumps(strange)
    assert strange["error"] == "ValueError"
    assert formatted(RefusedError("no token"))["error_text"] == "no token"


def test_a_long_field_is_cut() -> None:
    assert len(str(formatted(None, text="x" * 10_000)["text"])) == logs.TEXT_LENGTH_MAX


def test_the_level_of_the_log_changes_while_the_agent_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = logging.getLogger("edge_agent")
    monkeypatch.setattr(ours, "level", ours.level)
    for name, number in logs.LEVELS.items():
        logs.set_level(name)
        assert (logs.level(), ours.isEnabledFor(number), ours.isEnabledFor(number - 1)) == (name, True, False)
