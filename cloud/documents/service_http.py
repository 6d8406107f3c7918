"""One outside service that speaks JSON over HTTP: with a time limit, a size limit, and no repetition."""

from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import msgspec

from cloud.errors import UnavailableError

TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
CONNECTIONS_MAX = 20
ANSWER_BYTES_MAX = 1_048_576

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What came back, however it was meant; `service` is for errors."""

    service: str
    status: int
    body: bytes

    def read(self, kind: type[T]) -> T:
        """The body as `kind`.

        Raises:
            UnavailableError: the service talks nonsense; the reason names the place, never the value.
        """
        try:
            return msgspec.json.decode(self.body, type=kind)
        except msgspec.ValidationError as error:
            raise UnavailableError(f"{self.service} answered something unexpected: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise UnavailableError(f"{self.service} answered no JSON") from None

    def unexpected(self) -> UnavailableError:
        """For a status that this service never gives as long as it works."""
        return UnavailableError(f"{self.service} answered with status {self.status}; try again later")


class JsonService:
    """A client of one service; safe to use from several threads."""

    def __init__(self, name: str, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._name = name
        self._client = httpx.Client(
            base_url=url,
            timeout=httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
            trust_env=False,
        )

    def ask(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> Answer:
        """Send one request; `key` goes as `Idempotency-Key`.

        Raises:
            UnavailableError: no answer in time, too large an answer, or the service says that it is down.
        """
        headers = {"Idempotency-Key": key} if key else {}
        content = None
        if body is not None:
            content = msgspec.json.encode(body)
            headers["Content-Type"] = "application/json"
        try:
            with self._client.stream(method, path, content=content, headers=headers) as response:
                answer = Answer(self._name, response.status_code, self._limited(response))
        except httpx.HTTPError as error:
            raise UnavailableError(f"{self._name} does not answer: {type(error).__name__}") from None
        if answer.status >= 500 or answer.status == 429:
            raise answer.unexpected()
        return answer

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _limited(self, response: httpx.Response) -> bytes:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > ANSWER_BYTES_MAX:
                raise UnavailableError(f"{self._name} answers more than {ANSWER_BYTES_MAX} bytes")
        return bytes(body)
