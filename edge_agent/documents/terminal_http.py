"""The simulated payment provider's terminal, over HTTP.

Simulated: no such provider exists. The requests are those of `simulators.services.payments`; the protocol of
a real terminal (ZVT, OPI, nexo) is another file with the same verbs.
"""

import asyncio
import json
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlsplit

from edge_agent.documents.terminal import Authorisation, CardState
from edge_agent.errors import MalformedError, RefusedError, SettingsError, UnavailableError

ANSWER_S = 10.0
WAIT_S = 2.0
"""One question waits so long for the card, then it is asked again: the agent can stop in between."""
ANSWER_BYTES_MAX = 65_536


class HttpTerminal:
    """The terminal `terminal` of the provider at `url`.

    Raises:
        SettingsError: `url` is no http or https address.
    """

    def __init__(self, url: str, terminal: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"kiosk.terminal_url {url!r} is no address: give http://host:port")
        self._url = url
        self._tls = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port
        self._root = parts.path.rstrip("/")
        self._terminal = f"/terminals/{quote(terminal, safe='')}"

    async def authorise(self, reference: str, amount_cents: int) -> Authorisation:
        """Ask until the card, the citizen or the terminal's own time has ended it."""
        ask = {"reference": reference, "amount_cents": amount_cents, "wait_s": WAIT_S}
        while True:
            found = _read(await self._ask("POST", f"{self._terminal}/authorisations", ask))
            if found.state != CardState.WAITING:
                return found

    async def abandon(self, reference: str) -> None:
        """Take this question off the terminal, and no other."""
        query = f"?reference={quote(reference, safe='')}"
        await self._ask("DELETE", f"{self._terminal}/authorisations/current{query}")

    async def find(self, reference: str) -> Authorisation | None:
        """The last authorisation under this reference."""
        try:
            return _read(await self._ask("GET", f"/authorisations?reference={quote(reference, safe='')}"))
        except RefusedError:
            return None

    async def void(self, authorisation: str) -> Authorisation:
        """Let go of the held money."""
        path = f"/authorisations/{quote(authorisation, safe='')}/void"
        return _read(await self._ask("POST", path, {}, {"Idempotency-Key": f"void-{authorisation}"}))

    async def _ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Any:
        return await asyncio.to_thread(partial(self._exchange, method, path, body, headers or {}))

    def _exchange(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        connection = (HTTPSConnection if self._tls else HTTPConnection)(
            self._host, self._port, timeout=ANSWER_S
        )
        about = f"payment terminal {self._url}: {method} {path}"
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.request(
                method, self._root + path, data, {"Content-Type": "application/json", **headers}
            )
            response = connection.getresponse()
            answer = response.read(ANSWER_BYTES_MAX + 1)
        except (OSError, HTTPException) as error:
            raise UnavailableError(f"{about}: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if 400 <= response.status < 500:
            raise RefusedError(f"{about}: {response.status}")
        if response.status >= 500 or len(answer) > ANSWER_BYTES_MAX:
            raise UnavailableError(f"{about}: {response.status}, {len(answer)} bytes")
        try:
            return json.loads(answer) if answer else {}
        except ValueError as error:
            raise MalformedError(f"{about}: the answer is no JSON") from error


def _read(answer: Any) -> Authorisation:
    try:
        return Authorisation(str(answer["authorisation"]), CardState(answer["state"]))
    except (TypeError, KeyError, ValueError) as error:
        raise MalformedError(f"the payment terminal answered what cannot be understood: {error}") from error
