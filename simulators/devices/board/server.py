"""What the board's firmware answers over SMP: Zephyr's groups os, image and statistics, versions 1 and 2.

Bodies and error numbers are those of Zephyr's "SMP groups" pages (OS management, image management, statistics
management). Whatever comes, the answer is a frame or silence, never an end.
"""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import cbor2

from contract.firmware import SelfTest
from firmware_tools.program import Program
from simulators.devices.board.bootloader import Bootloader, Found, Swap

HEADER: Final = struct.Struct("!BBHHBB")
"""op and version, flags, bytes of the body, group, sequence, command."""
READ, WRITE = 0, 2
OS, IMAGE, STATISTICS = 0, 1, 2
ECHO_LENGTH_MAX: Final = 512


class Generic(IntEnum):
    """mgmt_defines.h, `mcumgr_err_t`; the only numbers that version 1 knows."""

    UNKNOWN = 1
    INVALID = 3
    NOT_THERE = 5
    BAD_STATE = 6
    NOT_SUPPORTED = 8


class ImageError(IntEnum):
    """img_mgmt.h, `img_mgmt_err_code_t`."""

    HASH_NOT_FOUND = 8
    NO_FREE_SLOT = 9
    INVALID_SLOT = 14
    INVALID_OFFSET = 20
    INVALID_LENGTH = 21
    BAD_MAGIC = 23
    TOO_LARGE = 30


AS_GENERIC: Final = {
    ImageError.NO_FREE_SLOT: Generic.BAD_STATE,
    ImageError.HASH_NOT_FOUND: Generic.INVALID,
    ImageError.INVALID_SLOT: Generic.INVALID,
    ImageError.INVALID_OFFSET: Generic.INVALID,
    ImageError.INVALID_LENGTH: Generic.INVALID,
    ImageError.BAD_MAGIC: Generic.INVALID,
    ImageError.TOO_LARGE: Generic.INVALID,
}


class SmpError(Exception):
    """A request that gets an error for an answer; `group` None is a generic one."""

    def __init__(self, code: IntEnum, group: int | None = None) -> None:
        super().__init__(code.name)
        self.code = code
        self.group = group


@dataclass
class Upload:
    """One that has begun; it is forgotten at a reset, as Zephyr forgets it."""

    length: int
    sha: bytes | None
    got: int = 0


Body = dict[str, Any]


class Server:
    """The management half of a running firmware; a new one at each boot.

    `session` is another number after each boot, `serial` the board's own number; `buffer` is the size of its
    receive buffer in bytes; `tested` says whether its self-test is over.
    """

    def __init__(
        self,
        loader: Bootloader,
        running: Found,
        program: Program,
        *,
        session: int,
        serial: str,
        buffer: int,
        tested: Callable[[], bool],
    ) -> None:
        self.upload: Upload | None = None
        self.reset_asked = False
        self._loader = loader
        self._running = running
        self._program = program
        self._session = session
        self._serial = serial
        self._buffer = buffer
        self._tested = tested
        self._commands: dict[tuple[int, int], Callable[[bool, Body], Body]] = {
            (OS, 0): self._echo,
            (OS, 5): self._reset,
            (OS, 6): self._parameters,
            (OS, 7): self._info,
            (OS, 8): self._bootloader,
            (IMAGE, 0): self._state,
            (IMAGE, 1): self._upload,
            (IMAGE, 5): self._erase,
            (STATISTICS, 0): self._statistics,
            (STATISTICS, 1): self._groups,
        }

    def answer(self, frame: bytes) -> bytes | None:
        """The answer to one frame; None to what is none.

        Raises:
            PowerCutError: the power went away while it wrote flash.
        """
        if len(frame) < HEADER.size:
            return None
        first, _, length, group, sequence, command = HEADER.unpack_from(frame)
        op, version = first & 7, first >> 3 & 3
        if op not in (READ, WRITE) or version > 1 or length != len(frame) - HEADER.size:
            return None
        try:
            body = self._perform(group, command, op == WRITE, frame[HEADER.size :])
        except SmpError as error:
            body = _wrong(error, version)
        data = cbor2.dumps(body)
        return HEADER.pack(op + 1 | version << 3, 0, len(data), group, sequence, command) + data

    def _perform(self, group: int, command: int, write: bool, data: bytes) -> Body:
        perform = self._commands.get((group, command))
        if perform is None:
            raise SmpError(Generic.NOT_SUPPORTED)
        try:
            body = cbor2.loads(data)
        except (cbor2.CBORDecodeError, ValueError, RecursionError, MemoryError, OverflowError) as error:
            raise SmpError(Generic.INVALID) from error
        if not isinstance(body, dict):
            raise SmpError(Generic.INVALID)
        return perform(write, body)

    # --- os ---

    def _echo(self, write: bool, body: Body) -> Body:  # noqa: ARG002
        return {"r": _typed(body, "d", str)[:ECHO_LENGTH_MAX]}

    def _reset(self, write: bool, body: Body) -> Body:  # noqa: ARG002
        self.reset_asked = True
        return {}

    def _parameters(self, write: bool, body: Body) -> Body:  # noqa: ARG002
        return {"buf_size": self._buffer, "buf_count": 1}

    def _info(self, write: bool, body: Body) -> Body:  # noqa: ARG002
        """uname's letters; `i` is board@revision as Zephyr names boards."""
        loader = self._loader
        known = {
            "s": "Zephyr",
            "n": self._serial,
            "r": self._running.image.version,
            "v": self._running.image.version,
            "m": "simulated",
            "p": "python",
            "i": f"{loader.board}@{loader.revision}",
            "o": "Zephyr",
        }
        wanted = body.get("format", "s")
        if not isinstance(wanted, str) or set(wanted) - set(known) - {"a"}:
            raise SmpError(Generic.INVALID)
        return {"output": " ".join(known[letter] for letter in known if letter in wanted or "a" in wanted)}

    def _bootloader(self, write: bool, body: Body) -> Body:  # noqa: ARG002
        if body.get("query") == "mode":
            return {"mode": 1, "no-downgrade": True}  # swap through a scratch sector
        return {"bootloader": "MCUboot"}

    # --- statistics ---

    def _groups(self, write: bool, body: Body) -> Body:  # noqa: ARG002
        return {"stat_list": ["boot", "health"]}

    def _statistics(self, write: bool, body: Body) -> Body:  # noqa: ARG002
        groups = {
            "boot": {
                "session": self._session,
                "security_counter": self._loader.counter,
                "refusal": int(self._loader.refusal),
            },
            "health": {"self_test": int(self._self_test())},
        }
        name = _typed(body, "name", str)
        if name not in groups:
            raise SmpError(Generic.NOT_THERE)
        return {"name": name, "fields": groups[name]}

    def _self_test(self) -> SelfTest:
        if not self._tested():
            return SelfTest.RUNS
        return SelfTest.HELD if self._program.well else SelfTest.FAILED

    # --- image ---

    def _state(self, write: bool, body: Body) -> Body:
        if write:
            confirm, digest = bool(body.get("confirm", False)), body.get("hash")
            self._set_state(digest if isinstance(digest, bytes) else None, confirm=confirm)
        loader = self._loader
        swap = loader.next_swap()
        shown = []
        for slot in (0, 1):
            image = loader.image(slot)
            if image is not None:
                shown.append(
                    {
                        "slot": slot,
                        "version": image.version.removesuffix("+0").replace("+", "."),
                        "hash": image.sha256,
                        "bootable": "not bootable" not in image.flags,
                        "pending": slot == 1 and swap in (Swap.TEST, Swap.PERM),
                        "confirmed": (slot == 1) == (swap is Swap.REVERT),
                        "active": slot == 0,
                        "permanent": slot == 1 and swap is Swap.PERM,
                    }
                )
        return {"images": shown, "splitStatus": 0}

    def _set_state(self, digest: bytes | None, *, confirm: bool) -> None:
        loader = self._loader
        if digest is None or digest == self._running.image.sha256:
            if not confirm:
                raise SmpError(ImageError.HASH_NOT_FOUND, IMAGE)
            loader.confirm()
            return
        other = loader.image(1)
        if other is None or other.sha256 != digest:
            raise SmpError(ImageError.HASH_NOT_FOUND, IMAGE)
        if loader.next_swap() is Swap.REVERT:  # what runs is on trial, and the other is the way back
            raise SmpError(ImageError.NO_FREE_SLOT, IMAGE)
        loader.set_pending(permanent=confirm)

    def _upload(self, write: bool, body: Body) -> Body:
        offset, data = _typed(body, "off", int), _typed(body, "data", bytes)
        if not write:
            raise SmpError(Generic.NOT_SUPPORTED)
        if offset == 0:
            self._begin_upload(body, data)
        upload = self.upload
        if upload is None:
            raise SmpError(ImageError.INVALID_OFFSET, IMAGE)
        if offset != upload.got:
            return {"off": upload.got}
        if upload.got + len(data) > upload.length:
            raise SmpError(ImageError.INVALID_LENGTH, IMAGE)
        self._loader.flash.program(self._loader.flash.layout.slot_at(1) + offset, data)
        upload.got += len(data)
        answer: Body = {"off": upload.got}
        if upload.got == upload.length:
            if upload.sha is not None:
                stored = self._loader.flash.read(self._loader.flash.layout.slot_at(1), upload.length)
                answer["match"] = hashlib.sha256(stored).digest() == upload.sha
            self.upload = None
        return answer

    def _begin_upload(self, body: Body, data: bytes) -> None:
        """A new one, or the one that was cut off; slot 1 is not touched while it is the way back."""
        length, sha = _typed(body, "len", int), body.get("sha")
        known = self.upload
        if known is not None and sha is not None and (known.sha, known.length) == (sha, length) and known.got:
            return
        if body.get("image", 0) not in (0, 1):
            raise SmpError(ImageError.INVALID_SLOT, IMAGE)
        if not 32 <= length <= self._loader.flash.layout.image_max:
            raise SmpError(ImageError.TOO_LARGE, IMAGE)
        if not data.startswith(b"\x3d\xb8\xf3\x96"):
            raise SmpError(ImageError.BAD_MAGIC, IMAGE)
        self._must_be_free()
        self.upload = None
        self._loader.erase_other()
        self.upload = Upload(length, sha if isinstance(sha, bytes) else None)

    def _erase(self, write: bool, body: Body) -> Body:  # noqa: ARG002
        if body.get("slot", 1) != 1:
            raise SmpError(ImageError.INVALID_SLOT, IMAGE)
        self._must_be_free()
        self.upload = None
        self._loader.erase_other()
        return {}

    def _must_be_free(self) -> None:
        if self._loader.next_swap() is not Swap.NONE:
            raise SmpError(ImageError.NO_FREE_SLOT, IMAGE)


def _typed(body: Body, key: str, kind: type[Any]) -> Any:
    value = body.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise SmpError(Generic.INVALID)
    return value


def _wrong(error: SmpError, version: int) -> Body:
    """Version 2 names the group of the error, version 1 knows generic ones only."""
    code = error.code
    if version == 0 or error.group is None:
        return {"rc": int(AS_GENERIC.get(code, code) if isinstance(code, ImageError) else code)}
    return {"err": {"group": error.group, "rc": int(code)}}
