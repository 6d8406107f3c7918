"""The board on its line: driven by smpmgr and smpclient, which nobody here wrote, and broken in every way."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smpclient import SMPClient
from smpclient.generics import success
from smpclient.requests.image_management import ImageStatesRead, ImageStatesWrite
from smpclient.requests.os_management import EchoWrite, OSApplicationInfoRead, ResetWrite
from smpclient.transport.serial import SMPSerialTransport

from contract.firmware import parse
from firmware_tools.program import Program
from simulators.devices.board.board import Board
from simulators.devices.board.bootloader import Bootloader
from simulators.devices.board.flash import Flash
from simulators.devices.board.framing import Deframer, encode
from simulators.devices.board.server import HEADER, Server
from simulators.devices.leash import Leashed
from tests.firmware_tools.images import HARDWARE, board_with, firmware, public_pem

DEADLINE_S = 30.0
SMPMGR = str(Path(sys.executable).with_name("smpmgr"))
OLD = firmware("1.2.3")
NEW = firmware("1.3.0", size_bytes=24 * 1024)


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    made = board_with(tmp_path, OLD)
    yield made
    made.close()


def smpmgr(board: Board, *words: str) -> str:
    run = subprocess.run(
        [SMPMGR, "--port", str(board.port), *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def talk(port: Path, story: Callable[[SMPClient], Awaitable[Any]], timeout_s: float = 5.0) -> Any:
    async def run() -> Any:
        async with asyncio.timeout(DEADLINE_S):
            async with SMPClient(SMPSerialTransport(), str(port), timeout_s) as client:
                return await story(client)

    return asyncio.run(run())


async def upload(client: SMPClient) -> int:
    """The first offset that the board names: where it goes on."""
    offsets = [offset async for offset in client.upload(NEW)]
    assert offsets[-1] == len(NEW)
    return offsets[0]


async def states(client: SMPClient) -> list[tuple[int, str, bool, bool]]:
    answer = await client.request(ImageStatesRead())
    assert success(answer)
    return [(each.slot, each.version, bool(each.active), bool(each.confirmed)) for each in answer.images]


def test_smpmgr_flashes_it(board: Board, tmp_path: Path) -> None:
    (tmp_path / "new.bin").write_bytes(NEW)
    smpmgr(board, "image", "upload", str(tmp_path / "new.bin"))
    smpmgr(board, "image", "state-write", parse(NEW).sha256.hex())
    smpmgr(board, "os", "reset")
    board.wait_for(lambda: board.boots == 2 and board.ready, DEADLINE_S)
    assert board.running is not None
    assert board.running.image.version == "1.3.0+0"
    assert talk(board.port, states) == [(0, "1.3.0", True, False), (1, "1.2.3", False, True)]
    assert "version='1.3.0'" in smpmgr(board, "image", "state-read")


def test_it_says_who_it_is(board: Board) -> None:
    async def story(client: SMPClient) -> None:
        echo = await client.request(EchoWrite(d="Tungjatjeta"))
        assert success(echo)
        assert echo.r == "Tungjatjeta"
        info = await client.request(OSApplicationInfoRead(format="rni"))
        assert success(info)
        assert info.output == "io-0001 1.2.3+0 io-board@2"
        refused = await client.request(ImageStatesWrite(hash=bytes(32)))
        assert not success(refused)
        assert refused.err.rc.name == "HASH_NOT_FOUND"

    talk(board.port, story)


def test_a_pulled_cable_ends_nothing_and_the_upload_goes_on(board: Board) -> None:
    board.faults.unplug_at = 10_000
    with pytest.raises(Exception):  # noqa: B017 - whatever the client makes of it
        talk(board.port, upload)
    assert not board.plugged
    board.plug()
    assert talk(board.port, upload) >= 9_000
    assert board.boots == 1


def test_a_silent_line_ends_nothing_and_the_upload_goes_on(board: Board) -> None:
    board.faults.mute_at = 10_000
    with pytest.raises(TimeoutError):
        talk(board.port, upload, timeout_s=0.5)
    board.faults.muted = False
    assert talk(board.port, upload) >= 9_000


def test_a_firmware_that_hangs_is_taken_back_by_the_watchdog(tmp_path: Path) -> None:
    board = board_with(tmp_path, OLD)
    hangs = firmware("1.3.0", boots=False)

    async def story(client: SMPClient) -> None:
        assert [offset async for offset in client.upload(hangs)][-1] == len(hangs)
        await client.request(ImageStatesWrite(hash=parse(hangs).sha256))
        await client.request(ResetWrite())

    talk(board.port, story)
    board.wait_for(lambda: board.boots == 3 and board.ready, DEADLINE_S)
    assert talk(board.port, states)[0] == (0, "1.2.3", True, True)
    board.close()


def test_noise_between_the_answers_disturbs_no_client(board: Board) -> None:
    board.faults.noise_every = 2
    assert talk(board.port, upload) > 0


def test_noise_on_the_line_disturbs_no_board(board: Board) -> None:
    chance = random.Random(7)
    with board.port.open("wb", buffering=0) as line:
        for _ in range(40):
            line.write(chance.choice((b"", b"\x06\x09", b"\x04\x14")) + chance.randbytes(90) + b"\n")
    assert talk(board.port, states) == [(0, "1.2.3", True, True)]
    assert board.boots == 1


def test_a_slow_line_is_as_slow_as_it_says(board: Board) -> None:
    """115,200 baud carry 11,520 bytes a second, and base64 makes four of three."""
    board.faults.baud = 115_200
    begun = time.monotonic()
    talk(board.port, upload)
    assert time.monotonic() - begun > len(NEW) * 4 / 3 / 11_520


def run(folder: Path, *words: str) -> Leashed:
    """The board as a program; it answers when this returns."""
    (folder / "key.pem").write_bytes(public_pem())
    (folder / "old.bin").write_bytes(OLD)
    link = folder / "io-board"
    link.unlink(missing_ok=True)
    board = Leashed(
        [
            *(sys.executable, "-m", "simulators.devices.board", "--flash", str(folder / "flash")),
            *("--key", str(folder / "key.pem"), "--link", str(link)),
            *("--factory", str(folder / "old.bin"), *words),
        ],
        pid_file=folder / "pid",
        stdout=subprocess.PIPE,
    )
    assert board.process.stdout is not None
    assert json.loads(board.process.stdout.readline())["event"].startswith("booted")
    return board


def test_it_survives_its_own_kill_with_its_flash(tmp_path: Path) -> None:
    board = run(tmp_path)
    port = tmp_path / "io-board"

    async def half(client: SMPClient) -> None:
        async for offset in client.upload(NEW):
            if offset > len(NEW) // 2:
                board.signal(signal.SIGKILL)
                return

    talk(port, half)
    assert board.ended(DEADLINE_S)
    board.kill()
    board = run(tmp_path)
    try:
        assert talk(port, states) == [(0, "1.2.3", True, True)]
        talk(port, upload)
        assert talk(port, states) == [(0, "1.2.3", True, True), (1, "1.3.0", False, False)]
        board.signal(signal.SIGTERM)
        assert board.ended(DEADLINE_S)
        assert board.process.returncode == 0
    finally:
        board.kill()
    assert not os.path.lexists(port)


def test_as_a_program_its_power_can_be_cut(tmp_path: Path) -> None:
    board = run(tmp_path, "--cut-power-after", "12000")
    try:
        with pytest.raises(Exception):  # noqa: B017 - whatever the client makes of it
            talk(tmp_path / "io-board", upload)
        assert board.ended(DEADLINE_S)
        assert board.process.returncode == 9
    finally:
        board.kill()
    board = run(tmp_path)
    try:
        assert talk(tmp_path / "io-board", states) == [(0, "1.2.3", True, True)]
    finally:
        board.kill()


# --- whatever comes ---

FRAMES = st.binary(max_size=600)


@settings(deadline=None, derandomize=True, max_examples=300, database=None)
@given(noise=st.lists(st.one_of(FRAMES, st.just(b"\n"), st.just(b"\x06\x09"), st.just(b"\x04\x14"))))
def test_no_bytes_stop_the_line(noise: list[bytes]) -> None:
    """Whatever came before, a frame that is whole is heard after the next end of a line."""
    deframer = Deframer(1024)
    for piece in noise:
        for frame in deframer.feed(piece):
            assert len(frame) <= 1024
    list(deframer.feed(b"\n"))
    assert list(deframer.feed(b"".join(encode(b"whole" * 100)))) == [b"whole" * 100]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    flash = Flash(tmp_path_factory.mktemp("server") / "flash", HARDWARE.layout)
    loader = Bootloader(flash, HARDWARE.key, HARDWARE.board, HARDWARE.revision)
    loader.provision(OLD)
    found = loader.boot()
    assert found is not None
    yield Server(loader, found, Program(name="fuzz"), session=1, serial="s", buffer=1024, tested=lambda: True)
    flash.close()


@settings(deadline=None, derandomize=True, max_examples=400, database=None)
@given(
    head=st.tuples(st.integers(0, 255), st.integers(0, 3), st.integers(0, 9)),
    body=st.one_of(
        st.binary(max_size=200),
        st.dictionaries(
            st.sampled_from(
                [
                    "off",
                    "data",
                    "len",
                    "sha",
                    "image",
                    "hash",
                    "confirm",
                    "slot",
                    "d",
                    "name",
                    "format",
                    "query",
                ]
            ),
            st.one_of(st.integers(), st.binary(max_size=80), st.text(), st.booleans(), st.none()),
        ),
    ),
)
def test_no_request_stops_the_firmware(server: Server, head: tuple[int, int, int], body: Any) -> None:
    data = body if isinstance(body, bytes) else cbor2.dumps(body)
    first, group, command = head
    answer = server.answer(HEADER.pack(first, 0, len(data), group, 5, command) + data)
    if answer is not None:
        assert HEADER.unpack_from(answer)[3:] == (group, 5, command)
        assert isinstance(cbor2.loads(answer[HEADER.size :]), dict)
