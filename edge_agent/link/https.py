"""HTTPS with the device's certificate: what is too large or too personal for the broker."""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from edge_agent.errors import MalformedError, SettingsError, UnavailableError
from edge_agent.link.identity import Shows

ANSWER_BYTES_MAX = 32_000_000
"""A larger answer is refused; a sealed document has tens of kilobytes."""
REQUEST_BYTES_MAX = 1_000_000


@dataclass(frozen=True)
class Answer:
    """What the server said; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class DeviceHttps:
    """Requests to the control plane's device listener; each one is a connection of its own.

    The certificate is read at each request, so that a renewed one is used from its first second. `told_time`
    is called on the event loop with the server's time (ms since 1970 UTC, to half a second) of each answer.
    """

    def __init__(
        self,
        url: str,
        shows: Shows,
        timeout_s: float,
        told_time: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._url = url
        self._shows = shows
        self._timeout_s = timeout_s
        self._told_time = told_time
        self.clock_skew_ms: int | None = None
        """This device's clock minus the server's at the last answer, to half a second; None before it."""

    async def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask once; the answer is given back whatever its status, and trying again is the caller's choice.

        Raises:
            UnavailableError: no answer within the time, or the connection broke.
            MalformedError: the answer is larger than `ANSWER_BYTES_MAX`.
            SettingsError: the device has no usable certificate, or the address is no https address.
        """
        assert len(body) <= REQUEST_BYTES_MAX, f"{method} {path}: {len(body)} bytes"
        return await self._ask(method, path, body or None, dict(headers or {}))

    async def stream(
        self, method: str, path: str, body: Iterable[bytes], length: int, headers: Mapping[str, str]
    ) -> Answer:
        """As `request`, with a body of `length` bytes that is taken piece by piece in another thread.

        What `body` raises ends the request.

        Raises:
            UnavailableError, MalformedError, SettingsError: as `request` does.
        """
        return await self._ask(method, path, body, dict(headers) | {"Content-Length": str(length)})

    async def _ask(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None, headers: dict[str, str]
    ) -> Answer:
        ask = partial(self._exchange, method, path, body, headers)
        answer, times = await asyncio.to_thread(ask)
        if times is not None:
            here_ms, there_ms = times
            self.clock_skew_ms = here_ms - there_ms
            self._told_time(there_ms)
        return answer

    def _exchange(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None, headers: dict[str, str]
    ) -> "tuple[Answer, tuple[int, int] | None]":
        context = self._shows.context()
        try:
            connection = connect(self._url, context, self._timeout_s)
            try:
                before = time.time()  # noqa: TID251 the skew is measured here, beside the answer
                try:
                    connection.request(method, path, body, headers)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the server answers before it has read all: its answer says why
                response = connection.getresponse()
                after = time.time()  # noqa: TID251 the same
                data = response.read(ANSWER_BYTES_MAX + 1)
            finally:
                connection.close()
        except (OSError, HTTPException) as error:
            raise UnavailableError(f"{method} {self._url}{path}: {error or type(error).__name__}") from error
        if len(data) > ANSWER_BYTES_MAX:
            raise MalformedError(f"{method} {self._url}{path}: more than {ANSWER_BYTES_MAX} bytes came back")
        found = {name.lower(): value for name, value in response.getheaders()}
        there_ms = server_ms(found.get("date"))
        times = None if there_ms is None else (round((before + after) * 500), there_ms)
        return Answer(response.status, found, data), times


def connect(url: str, context: ssl.SSLContext, timeout_s: float) -> HTTPConnection:
    """A connection to the host of `url`, not opened yet.

    Raises:
        SettingsError: not an https address.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise SettingsError(f"{url!r} is no address of the control plane: give https://host:port")
    return HTTPSConnection(parts.hostname, parts.port or 443, timeout=timeout_s, context=context)


def server_ms(date: str | None) -> int | None:
    """The time of a `Date` header, which has whole seconds, cut off: on average it is half a second later."""
    if date is None:
        return None
    try:
        return round(parsedate_to_datetime(date).timestamp() * 1000) + 500
    except ValueError:
        return None
