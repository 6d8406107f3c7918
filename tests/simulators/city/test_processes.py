"""Children are watched, started again, and never outlive the city."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from simulators.city.folder import Folder, FolderTakenError
from simulators.city.processes import Child, Command, adopt_orphans, descendants, mosquitto

SAY = "import json; print(json.dumps({'event': 'ready'}), flush=True); "
WAIT = "import threading; threading.Event().wait()"


def _python(name: str, code: str, *, again: bool = True) -> Command:
    return Command(name, [sys.executable, "-c", code], again)


async def _heard(child: Child, count: int = 1) -> None:
    async with asyncio.timeout(20):
        await child.log.wait("ready", count)


def test_a_child_is_heard_and_stopped(tmp_path: Path) -> None:
    async def story() -> None:
        child = Child(_python("c", SAY + WAIT), tmp_path)
        await child.start()
        await _heard(child)
        pid = child.pid
        await child.stop()
        assert not psutil.pid_exists(pid)
        assert child.exits == [-signal.SIGTERM]

    asyncio.run(story())
    assert '"event": "ready"' in (tmp_path / "c.log").read_text()


def test_a_child_that_falls_is_started_again(tmp_path: Path) -> None:
    async def story() -> None:
        child = Child(_python("c", SAY + WAIT), tmp_path)
        await child.start()
        await _heard(child)
        child.kill()
        await _heard(child, 2)
        assert child.starts == 2
        await child.stop()

    asyncio.run(story())


def test_a_held_child_stays_down_until_it_is_released(tmp_path: Path) -> None:
    async def story() -> None:
        child = Child(_python("c", SAY + "raise SystemExit(75)"), tmp_path)
        child.hold()
        await child.start()
        child.hold()
        await _heard(child)
        while child.running:
            await asyncio.sleep(0.01)
        assert child.starts == 1
        child.release()
        await _heard(child, 2)
        await child.stop()

    asyncio.run(story())


def test_a_single_run_gives_its_exit_status(tmp_path: Path) -> None:
    async def story() -> None:
        child = Child(_python("c", "raise SystemExit(3)", again=False), tmp_path)
        await child.start()
        assert await child.ended() == 3

    asyncio.run(story())


def test_one_that_will_not_go_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulators.city.processes.TERM_S", 0.2)

    async def story() -> None:
        deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        child = Child(_python("c", deaf + SAY + WAIT), tmp_path)
        await child.start()
        await _heard(child)
        await child.stop()
        assert child.exits == [-signal.SIGKILL]

    asyncio.run(story())


@pytest.mark.parametrize("how", ["terminate", "stop"])
def test_a_broker_that_forgets_to_end_is_told_again(how: str, tmp_path: Path) -> None:
    """As mosquitto 2.0.11 does with a SIGTERM that comes before its main loop."""
    forgets = "import os, signal\nleft = [1, 2]\n"
    forgets += "signal.signal(signal.SIGTERM, lambda *_: left.pop() and not left and os._exit(0))\n"
    (tmp_path / "forgetful").write_text(f"#!{sys.executable}\n{forgets}{SAY}\nwhile True: signal.pause()\n")
    (tmp_path / "forgetful").chmod(0o700)

    async def story() -> None:
        child = Child(mosquitto(str(tmp_path / "forgetful"), again=False), tmp_path)
        await child.start()
        await _heard(child)
        if how == "terminate":
            child.terminate()
            async with asyncio.timeout(20):
                await child.ended()
        await child.stop()
        assert child.exits == [0]

    asyncio.run(story())


def test_what_a_child_started_goes_with_it(tmp_path: Path) -> None:
    adopt_orphans()
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {WAIT!r}]); " + SAY + WAIT

    async def story() -> None:
        child = Child(_python("c", code), tmp_path)
        await child.start()
        await _heard(child)
        group = child.pid
        assert len([each for each in descendants() if each.pid == group or each.ppid() == group]) == 2
        child.hold()
        child.kill()
        await child.stop()
        assert [each for each in descendants() if each.is_running() and _group(each) == group] == []

    asyncio.run(story())


def _group(process: psutil.Process) -> int:
    try:
        return os.getpgid(process.pid)
    except ProcessLookupError:
        return 0


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    async def story() -> None:
        with pytest.raises(FileNotFoundError):
            await Child(Command("c", [str(tmp_path / "nothing")]), tmp_path).start()

    asyncio.run(story())


def test_two_cities_do_not_share_a_folder(tmp_path: Path) -> None:
    with Folder(tmp_path), pytest.raises(FolderTakenError, match="another city"), Folder(tmp_path):
        pass
    with Folder(tmp_path):
        pass


def test_the_next_city_ends_what_a_killed_one_left(tmp_path: Path) -> None:
    left = psutil.Popen([sys.executable, "-c", WAIT])
    with Folder(tmp_path) as folder:
        folder.note_processes([left.pid, 2**22 + 1])
    with Folder(tmp_path):
        assert not left.is_running()


def test_a_process_with_a_reused_id_is_left_alone(tmp_path: Path) -> None:
    other = psutil.Popen([sys.executable, "-c", WAIT])
    (tmp_path / "processes.json").write_text(f"[[{other.pid}, 1.0]]")
    try:
        with Folder(tmp_path):
            assert other.is_running()
    finally:
        other.kill()
        other.wait()
