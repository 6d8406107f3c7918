"""A process of our own that does one thing, answers on its stdout, and takes its large libraries with it."""

import asyncio
import sys
from pathlib import Path
from typing import TypeVar

import msgspec

from edge_agent.errors import UnavailableError

ANSWER_BYTES_MAX = 10_000

Answer = TypeVar("Answer")


async def ask(what: str, module: str, settings_file: Path, *words: str, answer: type[Answer]) -> Answer:
    """What `python -m MODULE --settings FILE WORDS` answers, as `answer`; errors call it `what`.

    The process is gone when this returns or is cancelled.

    Raises:
        UnavailableError: it ended without an answer.
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, "--settings", str(settings_file), *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        said = await child.stdout.read(ANSWER_BYTES_MAX)
        code = await child.wait()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    try:
        return msgspec.json.decode(said, type=answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnavailableError(f"{what} ended with status {code} and no answer") from error
