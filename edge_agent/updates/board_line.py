"""One conversation with the I/O board: SMP over its serial line, by smpclient.

What the board says comes back as the small things below. It is not there, in use, silent or disturbed:
UnavailableError. It says no: RefusedError. Nothing is tried twice here.
"""

import asyncio
import logging
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import cbor2
from smp.exceptions import SMPException
from smpclient import SMPClient
from smpclient.exceptions import SMPClientException, SMPUploadError
from smpclient.generics import error
from smpclient.requests.image_management import ImageStatesRead, ImageStatesWrite
from smpclient.requests.os_management import OSApplicationInfoRead, ResetWrite
from smpclient.requests.statistics_management import GroupData
from smpclient.transport import SMPTransportDisconnected
from smpclient.transport.serial import SMPSerialTransport

from contract.errors import MalformedError
from contract.firmware import Refusal, SelfTest
from contract.updates import version_key
from edge_agent.errors import RefusedError, UnavailableError

BAUD: Final = 115_200
ANSWER_S: Final = 2.5
ERASE_S: Final = 20.0
"""The first piece of an upload is answered after the slot has been erased."""
BACK_S: Final = 30.0
"""A reset, a swap of two slots, a start, and a watchdog that takes a bad start back."""
BACK_ANSWER_S: Final = 0.5
BACK_LOOK_S: Final = 0.1
DISTURBED: Final = (
    OSError,
    SMPException,
    SMPClientException,
    SMPTransportDisconnected,
    cbor2.CBORError,
    ValueError,
    TypeError,
    AssertionError,
    struct.error,
)
"""What smpclient raises on a line that is pulled or noisy: its own errors, and those of its decoders."""

for _name in ("smp", "smpclient"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)  # they log whole frames


@dataclass(frozen=True)
class Identity:
    """Which board it is: Zephyr's name@revision, and its own number."""

    board: str
    revision: int
    serial: str


@dataclass(frozen=True)
class Slot:
    """An image on the board; `confirmed` is the one that stays at the next reset, `pending` is tried then."""

    number: int
    version: str
    sha256: bytes
    active: bool
    confirmed: bool
    pending: bool


@dataclass(frozen=True)
class Boot:
    """The last start: a `session` of its own, the least security counter taken, and what was refused."""

    session: int
    security_counter: int
    refusal: Refusal


class BoardLine:
    """The line at `port`, for one user: nobody else can open it meanwhile. A context manager."""

    def __init__(self, port: Path) -> None:
        self.port = port
        self._client: SMPClient | None = None

    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            UnavailableError: there is no such port, or somebody else has it.
        """
        await self._open(ANSWER_S)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def identity(self) -> Identity:
        """Which board it is, and of which revision."""
        told = (await self._ask(OSApplicationInfoRead(format="ni"))).output
        serial, _, name = told.rpartition(" ")
        board, at, revision = name.rpartition("@")
        if not at or not revision.isascii() or not revision.isdigit():
            raise RefusedError(
                f"board at {self.port}: {told!r:.60} names no board@revision; is it an I/O board?"
            )
        return Identity(board, int(revision), serial)

    async def slots(self) -> tuple[Slot, ...]:
        """What is on it, the running image first."""
        found = [
            Slot(
                number=each.slot,
                version=plain_version(each.version),
                sha256=bytes(each.hash or b""),
                active=bool(each.active),
                confirmed=bool(each.confirmed),
                pending=bool(each.pending),
            )
            for each in (await self._ask(ImageStatesRead())).images
        ]
        found.sort(key=lambda slot: not slot.active)
        if not found or not found[0].active:
            raise UnavailableError(f"board at {self.port}: it does not say what runs; ask again")
        return tuple(found)

    async def boot(self) -> Boot:
        """Its last start."""
        fields = (await self._ask(GroupData(name="boot"))).fields
        try:
            return Boot(fields["session"], fields["security_counter"], Refusal(fields["refusal"]))
        except (KeyError, ValueError) as wrong:
            raise RefusedError(
                f"board at {self.port}: its statistics lack {wrong}; is it an I/O board?"
            ) from wrong

    async def self_test(self) -> SelfTest:
        """How the self-test of the running firmware stands."""
        told = (await self._ask(GroupData(name="health"))).fields
        try:
            return SelfTest(told["self_test"])
        except (KeyError, ValueError) as wrong:
            raise RefusedError(
                f"board at {self.port}: it tells no self-test: {wrong}; is it an I/O board?"
            ) from wrong

    async def upload(self, image: bytes) -> AsyncIterator[int]:
        """Put an image into the other slot; gives the bytes that are there, from where it was cut off."""
        assert self._client is not None, "the line is closed"
        try:
            async for there in self._client.upload(
                image, first_timeout_s=ERASE_S, subsequent_timeout_s=ANSWER_S
            ):
                yield there
        except TimeoutError as silent:
            raise UnavailableError(self._silent()) from silent
        except SMPUploadError as refused:
            raise RefusedError(
                f"board at {self.port}: it does not take the image: {refused.args[0]}"
            ) from refused
        except DISTURBED as broken:
            raise UnavailableError(self._disturbed(broken)) from broken

    async def test(self, sha256: bytes) -> None:
        """Try the other image at the next reset."""
        await self._ask(ImageStatesWrite(hash=sha256))

    async def confirm(self) -> None:
        """Let the running image stay."""
        await self._ask(ImageStatesWrite(confirm=True))

    async def restart(self) -> Boot:
        """Reset the board and wait until it answers again.

        Raises:
            UnavailableError: it did not answer within `BACK_S`.
        """
        before = (await self.boot()).session
        await self._ask(ResetWrite())
        try:
            async with asyncio.timeout(BACK_S):
                return await self._back(before)
        except TimeoutError as silent:
            raise UnavailableError(f"{self._silent()}; it was reset {BACK_S:g} s ago") from silent

    async def _back(self, before: int) -> Boot:
        while True:
            try:
                await self._close()
                await self._open(BACK_ANSWER_S)
                boot = await self.boot()
            except UnavailableError:
                pass  # it still starts, or its port is not there yet
            else:
                if boot.session != before:
                    return boot
            await asyncio.sleep(BACK_LOOK_S)  # noqa: TID251 - a board that starts tells nobody

    async def _open(self, answer_s: float) -> None:
        transport = SMPSerialTransport(baudrate=BAUD, exclusive=True, write_timeout=ANSWER_S)
        client = SMPClient(transport, str(self.port), timeout_s=answer_s)
        try:
            await client.connect(ANSWER_S)
        except TimeoutError as absent:
            raise UnavailableError(
                f"board at {self.port}: the port is not there, or somebody else uses it; see to the cable"
            ) from absent
        except DISTURBED as broken:
            await client.disconnect()
            raise UnavailableError(self._disturbed(broken)) from broken
        self._client = client

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.disconnect()

    async def _ask(self, request: Any) -> Any:
        assert self._client is not None, "the line is closed"
        try:
            answer = await self._client.request(request, ANSWER_S)
        except TimeoutError as silent:
            raise UnavailableError(self._silent()) from silent
        except DISTURBED as broken:
            raise UnavailableError(self._disturbed(broken)) from broken
        if error(answer):
            what = getattr(getattr(answer, "err", answer), "rc", answer)
            said = getattr(what, "name", what)
            raise RefusedError(f"board at {self.port}: it answers {type(request).__name__} with {said}")
        return answer

    def _silent(self) -> str:
        return (
            f"board at {self.port}: no answer within {ANSWER_S:g} s; see whether it has power and its cable"
        )

    def _disturbed(self, why: BaseException) -> str:
        return f"board at {self.port}: the line was cut or disturbed ({type(why).__name__}); see to the cable"


def plain_version(told: str) -> str:
    """`1.3.0.7`, as Zephyr writes a version with its build, as `1.3.0+7`.

    Raises:
        UnavailableError: it is no version.
    """
    parts = told.split(".")
    plain = f"{'.'.join(parts[:3])}+{parts[3]}" if len(parts) == 4 else told
    try:
        version_key(plain)
    except MalformedError as wrong:
        raise UnavailableError(
            f"the board tells the version {told!r:.40}, which is none; ask again"
        ) from wrong
    return plain
