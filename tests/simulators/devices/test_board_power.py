"""The board's boot loader against power cuts: at every place of a flash a bootable board is left."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import cbor2
import pytest

from contract.firmware import Refusal, parse
from firmware_tools.program import Program
from simulators.devices.board.bootloader import Bootloader, Found, Swap
from simulators.devices.board.flash import Flash, Layout, PowerCutError
from simulators.devices.board.server import HEADER, Server
from tests.firmware_tools.images import HARDWARE, firmware

LAYOUT = Layout(sector=256, slot=4096)
STRIDE = 17
"""A prime, so that cuts fall on every place within a record; the long form cuts at every byte."""
OLD = firmware("1.2.3", size_bytes=512)
NEW = firmware("1.3.0", size_bytes=1024)


class Bench:
    """One flash file that is powered again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.flash = Flash(path, LAYOUT)
        self.power()

    def power(self) -> None:
        """A new start: nothing is known but what the flash says."""
        self.loader = Bootloader(self.flash, HARDWARE.key, HARDWARE.board, HARDWARE.revision)

    def begin(self) -> None:
        self.flash.cut_after = None
        self.power()
        self.loader.provision(OLD)

    def boot(self) -> Found:
        found = self.loader.boot()
        assert found is not None, "the board is dead"
        return found

    def flash_new(self) -> None:
        """Upload, test, reset, confirm, reset."""
        talk = Talk(self.loader, self.boot())
        talk.upload(NEW)
        talk.ask(1, 0, {"hash": parse(NEW).sha256})
        found = self.boot()
        assert found.image.version == "1.3.0+0"
        Talk(self.loader, found).ask(1, 0, {"confirm": True})
        self.boot()


class Talk:
    """Requests to a running firmware without a line."""

    def __init__(self, loader: Bootloader, found: Found) -> None:
        program = Program(name="bench")
        self.server = Server(loader, found, program, session=1, serial="b", buffer=512, tested=lambda: True)

    def ask(self, group: int, command: int, body: object) -> dict[str, object]:
        data = cbor2.dumps(body)
        answer = self.server.answer(HEADER.pack(2 | 1 << 3, 0, len(data), group, 7, command) + data)
        assert answer is not None
        found: dict[str, object] = cbor2.loads(answer[HEADER.size :])
        return found

    def upload(self, image: bytes, piece: int = 300) -> None:
        there = 0
        while there < len(image):
            body = {"off": there, "data": image[there : there + piece]}
            if there == 0:
                body |= {"len": len(image), "sha": hashlib.sha256(image).digest()}
            answer = self.ask(1, 1, body)
            assert "off" in answer, answer
            assert isinstance(answer["off"], int)
            there = answer["off"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "flash")
    yield made
    made.flash.close()


def worn(bench: Bench) -> int:
    """Bytes that a whole flash erases and writes."""
    bench.begin()
    before = bench.flash.worn
    bench.flash_new()
    return bench.flash.worn - before


def cut_everywhere(bench: Bench, stride: int, again: int | None) -> dict[str, int]:
    """Cut at each place, and once more `again` bytes into the start after it; what ran then, counted."""
    ran: dict[str, int] = {}
    for cut in range(0, worn(bench), stride):
        bench.begin()
        bench.flash.cut_after = cut
        with pytest.raises(PowerCutError):
            bench.flash_new()
        bench.power()
        bench.flash.cut_after = again
        try:
            found = bench.boot()
        except PowerCutError:
            bench.power()
            found = bench.boot()
        bench.flash.cut_after = None
        ran[found.image.version] = ran.get(found.image.version, 0) + 1
        bench.boot()  # whatever it is, one more reset leaves something that runs
        assert bench.loader.next_swap() is Swap.NONE
    return ran


@pytest.mark.parametrize("again", [None, 700])
def test_a_cut_at_any_place_leaves_a_board_that_starts(bench: Bench, again: int | None) -> None:
    ran = cut_everywhere(bench, STRIDE, again)
    assert set(ran) == {"1.2.3+0", "1.3.0+0"}
    assert min(ran.values()) > 10


@pytest.mark.long
def test_a_cut_at_every_byte_leaves_a_board_that_starts(bench: Bench) -> None:
    assert set(cut_everywhere(bench, 1, None)) == {"1.2.3+0", "1.3.0+0"}


def test_after_a_cut_the_new_firmware_can_still_be_flashed(bench: Bench) -> None:
    for cut in range(0, worn(bench), STRIDE * 11):
        bench.begin()
        bench.flash.cut_after = cut
        with pytest.raises(PowerCutError):
            bench.flash_new()
        bench.power()
        while bench.boot() and bench.loader.next_swap() is not Swap.NONE:
            pass  # a trial that the cut interrupted takes itself back
        if bench.boot().image.version == "1.2.3+0":
            bench.flash_new()
        assert bench.boot().image.version == "1.3.0+0"
        assert bench.loader.counter == parse(NEW).security_counter


def test_the_planted_bug_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A boot loader that forgets interrupted swaps kills boards: the cuts above would see it."""
    monkeypatch.setattr(Bootloader, "_interrupted", lambda _: None)
    with pytest.raises(AssertionError, match="the board is dead"):
        cut_everywhere(bench, STRIDE, None)


def test_a_trial_that_is_not_confirmed_is_taken_back(bench: Bench) -> None:
    bench.begin()
    talk = Talk(bench.loader, bench.boot())
    talk.upload(NEW)
    talk.ask(1, 0, {"hash": parse(NEW).sha256})
    assert bench.loader.next_swap() is Swap.TEST
    assert bench.boot().image.version == "1.3.0+0"
    assert bench.loader.next_swap() is Swap.REVERT
    assert bench.boot().image.version == "1.2.3+0"
    assert bench.loader.refusal is Refusal.DID_NOT_STAY
    assert bench.loader.next_swap() is Swap.NONE


@pytest.mark.parametrize(
    ("bad", "refusal"),
    [
        (firmware("1.3.0", size_bytes=512, ours=False), Refusal.NOT_OURS),
        (firmware("1.3.0", size_bytes=512, board="coin-board"), Refusal.OTHER_BOARD),
        (firmware("1.3.0", size_bytes=512, revisions=(3, 4)), Refusal.OTHER_BOARD),
        (firmware("1.1.0", size_bytes=512), Refusal.DOWNGRADE),
        (firmware("1.3.0", size_bytes=512, counter=1), Refusal.DOWNGRADE),
    ],
)
def test_the_boot_loader_refuses(bench: Bench, bad: bytes, refusal: Refusal) -> None:
    bench.begin()
    talk = Talk(bench.loader, bench.boot())
    talk.upload(bad)
    talk.ask(1, 0, {"hash": parse(bad).sha256})
    assert bench.boot().image.version == "1.2.3+0"
    assert bench.loader.refusal is refusal
    assert bench.loader.image(1) is None
    assert bench.loader.next_swap() is Swap.NONE


def test_a_damaged_image_is_refused(bench: Bench) -> None:
    """Whole by its own hash, and not what was signed."""
    bench.begin()
    talk = Talk(bench.loader, bench.boot())
    signature = parse(NEW).signature
    assert signature is not None
    bad = NEW.replace(signature, bytes(64))
    talk.upload(bad)
    talk.ask(1, 0, {"hash": parse(bad).sha256})
    assert bench.boot().image.version == "1.2.3+0"
    assert bench.loader.refusal is Refusal.NOT_OURS


def test_the_way_back_is_not_overwritten(bench: Bench) -> None:
    """While something is on trial, neither upload nor erase touch what the board would go back to."""
    bench.begin()
    talk = Talk(bench.loader, bench.boot())
    talk.upload(NEW)
    talk.ask(1, 0, {"hash": parse(NEW).sha256})
    no_free_slot = {"err": {"group": 1, "rc": 9}}
    first = {"off": 0, "len": len(OLD), "data": OLD[:300], "sha": bytes(32)}
    assert talk.ask(1, 5, {}) == talk.ask(1, 1, first) == no_free_slot
    trial = Talk(bench.loader, bench.boot())
    assert trial.ask(1, 5, {}) == trial.ask(1, 1, first) == no_free_slot
    assert trial.ask(1, 0, {"hash": parse(OLD).sha256}) == no_free_slot
    assert bench.boot().image.version == "1.2.3+0"


def test_flash_is_not_programmed_twice(bench: Bench) -> None:
    bench.flash.erase(0)
    bench.flash.program(0, b"abc")
    with pytest.raises(AssertionError, match="programmed twice"):
        bench.flash.program(2, b"d")
