"""How a firmware comes onto the board and stays, or not: upload, trial, self-test, confirmation, way back.

The agent and the technician's tool both do what stands here. Each step reads first what is so already, hence
each may be done again after any interruption; no step takes away what the board could go back to.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from contract.errors import MalformedError
from contract.firmware import Image, Refusal, SelfTest, parse, unfit
from contract.updates import version_key
from edge_agent.errors import RefusedError, UnavailableError
from edge_agent.updates.board_line import BoardLine, Boot, Identity, Slot
from edge_agent.updates.target import Health, NotYet, Unwell, Well

RESTARTS_MAX: Final = 3
"""One begins a trial that was asked for, the second takes it back, one more for a lost power."""
WHY: Final = {
    Refusal.NONE: "the board did not keep it and does not say why",
    Refusal.NOT_OURS: "the boot loader refused it: it is damaged, or its signature is not by the board's key",
    Refusal.DOWNGRADE: "the boot loader refused it: its security counter is below the board's",
    Refusal.OTHER_BOARD: "the boot loader refused it: it is for another board or revision",
    Refusal.DID_NOT_STAY: "it did not start or was not confirmed, and the board went back",
}

Progress = Callable[[int, int], None]
"""Takes the bytes that are on the board and the bytes of the image."""


def read(data: bytes) -> Image:
    """A signed image that names its board.

    Raises:
        RefusedError: it is none.
    """
    try:
        image = parse(data)
    except MalformedError as wrong:
        raise RefusedError(str(wrong)) from wrong
    if image.signature is None or image.key_hash is None:
        raise RefusedError("not signed: it carries no Ed25519 signature with a key hash; sign it first")
    return image


def check(image: Image, identity: Identity, boot: Boot) -> None:
    """Hold an image to the board before anything is sent.

    Raises:
        RefusedError: it is for another board, or the board would refuse it as too old.
    """
    why = unfit(image, identity.board, identity.revision)
    if why is not None:
        raise RefusedError(why)
    counter = image.security_counter or 0
    if counter < boot.security_counter:
        raise RefusedError(
            f"too old: its security counter is {counter}, the board takes {boot.security_counter} or more; "
            "build it with a higher one"
        )


async def stage(line: BoardLine, data: bytes, progress: Progress) -> Image:
    """Put an image into the slot that does not run; goes on where an upload was cut off.

    Raises:
        RefusedError, UnavailableError: as `BoardLine` and `check`.
    """
    image = read(data)
    check(image, await line.identity(), await line.boot())
    slots = await line.slots()
    if any(slot.sha256 == image.sha256 for slot in slots):
        return image
    if not settled(slots):
        await roll_back(line)  # a trial that nobody finished; its way back is the slot that is needed
    async for there in line.upload(data):
        progress(there, len(data))
    if all(slot.sha256 != image.sha256 for slot in await line.slots()):
        raise UnavailableError(f"board at {line.port}: it did not store what was sent; send it again")
    return image


async def activate(line: BoardLine, version: str, sha256: bytes | None = None) -> None:
    """Begin the trial of a staged version: it runs when this returns.

    Two builds may carry one version; `sha256`, if given, says which of them is meant.

    Raises:
        RefusedError: it is not on the board, or the board did not keep it; the sentence says why.
        UnavailableError: the board does not answer.
    """
    slots = await line.slots()
    meant = [slot for slot in slots if same(slot.version, version) and sha256 in (None, slot.sha256)]
    other = meant[0] if meant else None
    if other is not None and other.active:
        return
    if other is None:
        raise RefusedError(f"version {version} is not on the board; put it there first")
    if not other.pending:
        await line.test(other.sha256)
    boot = await line.restart()
    running = (await line.slots())[0]
    if running.sha256 != other.sha256:
        raise RefusedError(f"version {version}: {WHY[boot.refusal]}")


async def probe(line: BoardLine, version: str) -> Health:
    """How the version is, by the board's own self-test."""
    slots = await line.slots()
    if same(slots[0].version, version):
        match await line.self_test():
            case SelfTest.HELD:
                return Well()
            case SelfTest.FAILED:
                return Unwell(f"firmware {version} runs and its self-test fails")
            case SelfTest.RUNS:
                return NotYet(f"the self-test of firmware {version} still runs")
    if any(slot.pending and same(slot.version, version) for slot in slots):
        return NotYet(f"firmware {version} waits for the board's reset")
    refusal = (await line.boot()).refusal
    if refusal is Refusal.NONE and any(same(slot.version, version) for slot in slots):
        return NotYet(f"firmware {version} lies ready and was not begun since the board started")
    return Unwell(f"{slots[0].version} runs again: {WHY[refusal]}")


async def commit(line: BoardLine, version: str) -> None:
    """Let the running version stay.

    Raises:
        RefusedError: another one runs.
    """
    running = (await line.slots())[0]
    if not same(running.version, version):
        raise RefusedError(f"{running.version} runs, not {version}: there is nothing to confirm")
    if not running.confirmed:
        await line.confirm()


async def roll_back(line: BoardLine) -> Slot:
    """Take back a trial that runs or is asked for; what runs then, and stays.

    Raises:
        UnavailableError: the board does not answer, or does not settle.
    """
    for _ in range(RESTARTS_MAX):
        slots = await line.slots()
        if settled(slots):
            return slots[0]
        await line.restart()
    slots = await line.slots()
    if not settled(slots):
        raise UnavailableError(f"board at {line.port}: {RESTARTS_MAX} resets did not end its trial")
    return slots[0]


def settled(slots: tuple[Slot, ...]) -> bool:
    """Whether what runs stays at the next reset."""
    return slots[0].confirmed and not any(slot.pending for slot in slots)


def same(version: str, other: str) -> bool:
    """Whether two texts name one version: `1.3.0` and `1.3.0+0` do."""
    with suppress(MalformedError):
        return version_key(version) == version_key(other)
    return False
