"""The control plane's desk for certificates, reached through a child process that ends with each visit."""

from pathlib import Path
from typing import Protocol

import msgspec

from edge_agent.child import ask
from edge_agent.errors import RefusedError, UnavailableError


class Desk(Protocol):
    """Where this device gets certificates, and where its keys are encrypted."""

    async def renew(self, instead: bool) -> int | None:
        """Have a whole next identity put into the spare slot; the server's clock in ms, if it was told.

        `instead`: of the one that lies there and was refused.

        Raises:
            UnavailableError: try again later; nothing was spoilt.
            RefusedError: a person must act, the sentence says how.
        """

    async def encrypt(self) -> None:
        """Have plain keys put under the vault's secret.

        Raises:
            UnavailableError, RefusedError: as `renew`.
        """


class _Told(msgspec.Struct):
    reason: str = ""
    sentence: str = ""
    after_s: float = 0.0
    server_ms: int | None = None


class ChildDesk:
    """`settings_file` is what the agent itself was started with."""

    def __init__(self, settings_file: Path) -> None:
        self._file = settings_file

    async def renew(self, instead: bool) -> int | None:
        return (await self._ask("--renew", *(["--instead"] if instead else []))).server_ms

    async def encrypt(self) -> None:
        await self._ask("--encrypt")

    async def _ask(self, *words: str) -> _Told:
        told = await ask("the enrolment", "edge_agent.enrolment", self._file, *words, answer=_Told)
        if told.reason == "refused":
            raise RefusedError(told.sentence)
        if told.reason:
            raise UnavailableError(told.sentence, after_s=told.after_s)
        return told
