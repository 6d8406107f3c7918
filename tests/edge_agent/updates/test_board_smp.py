"""What is the board's own in its adapter: uploads go on, the line has one user, nothing is left behind."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from contract.firmware import Refusal, parse
from edge_agent.errors import RefusedError, UnavailableError
from edge_agent.updates import flashing
from edge_agent.updates.board_line import BoardLine, Boot, Identity, plain_version
from edge_agent.updates.board_smp import BoardTarget
from simulators.devices.board.board import Board
from tests.firmware_tools.images import board_with, firmware

DEADLINE_S = 150.0
OLD = firmware("1.2.3")
NEW = firmware("1.3.0", size_bytes=24 * 1024)
IO_BOARD = Identity("io-board", 2, "io-0001")


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    made = board_with(tmp_path, OLD)
    yield made
    made.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "new.bin"
    path.write_bytes(NEW)
    return path


def test_a_board_that_is_unplugged_in_mid_flash_is_flashed_later(board: Board, image: Path) -> None:
    target = BoardTarget(board.port)

    async def story() -> None:
        board.faults.unplug_at = 12_000
        with pytest.raises(UnavailableError, match="see to the cable"):
            await target.stage(image, "1.3.0")
        assert 11_000 < target.progress[0] < len(NEW)
        board.plug()
        begun: list[int] = []
        async with BoardLine(board.port) as line:
            await flashing.stage(line, NEW, lambda sent, _: begun.append(sent))
        assert begun[0] >= 11_000, "it began anew"
        await target.activate("1.3.0")
        await target.commit("1.3.0")
        assert (await target.version(), target.known) == ("1.3.0", "1.3.0")

    asyncio.run(asyncio.wait_for(story(), DEADLINE_S))
    assert board.boots == 2


def test_the_line_has_one_user(board: Board) -> None:
    target = BoardTarget(board.port)

    async def story() -> None:
        async with BoardLine(board.port):
            with pytest.raises(UnavailableError, match="somebody else uses it"):
                await target.version()
        assert await asyncio.gather(target.version(), target.version()) == ["1.2.3", "1.2.3"]

    asyncio.run(asyncio.wait_for(story(), DEADLINE_S))


def test_a_call_that_is_cancelled_leaves_no_process(board: Board, image: Path) -> None:
    board.faults.baud = 9_600
    target = BoardTarget(board.port)
    before = set(psutil.Process().children())

    async def story() -> None:
        call = asyncio.create_task(target.stage(image, "1.3.0"))
        async with asyncio.timeout(DEADLINE_S):
            while target.progress[0] == 0:
                await asyncio.sleep(0.02)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(asyncio.wait_for(story(), DEADLINE_S))
    assert set(psutil.Process().children()) - before == set()


def test_a_child_does_not_outlive_its_agent(board: Board, image: Path) -> None:
    board.faults.baud = 9_600
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "edge_agent.updates.board_child", "stage"),
            *("--port", str(board.port), "--version", "1.3.0", "--image", str(image)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert b"sent" in child.stdout.readline()
    child.stdin.close()
    assert child.wait(DEADLINE_S) == 0
    assert b"ok" not in child.stdout.read()
    child.stdout.close()


def test_an_agent_without_a_board_imports_nothing_of_it() -> None:
    program = (
        "import sys, edge_agent.main, edge_agent.updates.board_smp;"
        "assert not {'smpclient', 'smp', 'pydantic', 'cbor2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("image", "boot", "sentence"),
    [
        (firmware("1.3.0", board="coin-board"), 0, "for the board coin-board, this one is a io-board"),
        (
            firmware("1.3.0", revisions=(3, 3)),
            0,
            "hardware revisions 3 to 3 of io-board, this one has revision 2",
        ),
        (firmware("1.3.0", counter=5), 6, "its security counter is 5, the board takes 6 or more"),
    ],
)
def test_an_image_is_held_to_the_board_before_it_is_sent(image: bytes, boot: int, sentence: str) -> None:
    with pytest.raises(RefusedError, match=sentence):
        flashing.check(parse(image), IO_BOARD, Boot(1, boot, Refusal.NONE))


def test_a_board_that_is_silent_is_unavailable(board: Board, caplog: pytest.LogCaptureFixture) -> None:
    board.faults.muted = True

    async def story() -> None:
        async with BoardLine(board.port) as line:
            await line.slots()

    with caplog.at_level(logging.WARNING), pytest.raises(UnavailableError, match="no answer within"):
        asyncio.run(asyncio.wait_for(story(), DEADLINE_S))
    assert caplog.records == [], "smpclient logs whole frames"


@pytest.mark.parametrize(("told", "plain"), [("1.3.0", "1.3.0"), ("1.3.0.7", "1.3.0+7"), ("0.0.0", "0.0.0")])
def test_zephyrs_versions_are_read(told: str, plain: str) -> None:
    assert plain_version(told) == plain


@pytest.mark.parametrize("told", ["", "<???>", "1.3.0.7.1.1", "1.-3"])
def test_what_is_no_version_is_not_read(told: str) -> None:
    with pytest.raises(UnavailableError):
        plain_version(told)
