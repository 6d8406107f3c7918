"""Enrolment over secure transport (RFC 7030), the client's side, with the standard library only.

Bodies are base64 on one line: other clients' line breaks are what servers trip over.
"""

import base64
import binascii
import json
import ssl
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from urllib.parse import urlsplit

from contract.enrolment import EST_PREFIX, RETRY_AFTER_MAX_S
from edge_agent.errors import MalformedError, RefusedError, UnavailableError
from edge_agent.link.https import connect, server_ms

REQUEST_HEADERS = {"Content-Type": "application/pkcs10", "Content-Transfer-Encoding": "base64"}
ENROL_ANEW = "make a new token with `python -m cloud enrol-token` and write it to the token file"
ANSWER_BYTES_MAX = 100_000
SENTENCE_LENGTH_MAX = 300
"""Of what a refusing server says, this much is repeated."""


class EstClient:
    """The bootstrap listener at `url`; `trust` makes the context that says who is trusted and who we are."""

    def __init__(self, url: str, trust: Callable[[], ssl.SSLContext], timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._trust = trust
        self._timeout_s = timeout_s
        self.server_ms: int | None = None
        """What the server's clock said at the last answer, in ms since 1970 UTC."""

    def authorities(self) -> bytes:
        """`cacerts`: the authority's certificates, PKCS#7 in DER.

        Raises:
            UnavailableError, RefusedError, MalformedError: as `enrol`.
        """
        return self._ask("GET", "cacerts", b"", {})

    def enrol(self, device: str, token: str, request: bytes) -> bytes:
        """`simpleenroll`: a certificate for the PKCS#10 `request` (DER); PKCS#7 in DER.

        Raises:
            UnavailableError: no answer, or the server is in trouble or busy; the same request may be sent
                again, after the time that it has told.
            RefusedError: the token was not taken, or the server is not the one that is trusted.
            MalformedError: the answer is no PKCS#7.
        """
        credentials = base64.b64encode(f"{device}:{token}".encode()).decode()
        headers = REQUEST_HEADERS | {"Authorization": f"Basic {credentials}"}
        return self._ask("POST", "simpleenroll", base64.b64encode(request), headers)

    def renew(self, request: bytes) -> bytes:
        """`simplereenroll`: as `enrol`, for who shows its present certificate.

        Raises:
            RefusedError: the certificate was revoked, replaced, or expired too long ago.
            UnavailableError, MalformedError: as `enrol`.
        """
        return self._ask("POST", "simplereenroll", base64.b64encode(request), REQUEST_HEADERS)

    def _ask(self, method: str, operation: str, body: bytes, headers: dict[str, str]) -> bytes:
        base = urlsplit(self._url).path
        path = f"{base}{EST_PREFIX}/{operation}"
        context = self._trust()
        try:
            connection = connect(self._url, context, self._timeout_s)
            try:
                connection.request(method, path, body or None, headers)
                response = connection.getresponse()
                data = response.read(ANSWER_BYTES_MAX + 1)
            finally:
                connection.close()
        except ssl.SSLCertVerificationError as error:
            raise RefusedError(
                f"{self._url} shows a certificate that the device's ca.pem does not vouch for "
                f"({error.verify_message}); copy the fleet's present ca.pem to the device"
            ) from error
        except (OSError, HTTPException) as error:
            raise UnavailableError(
                f"{self._url} does not answer: {error or type(error).__name__}; it is tried again"
            ) from error
        self.server_ms = server_ms(response.getheader("Date"))
        _check(response.status, data, operation, _after_s(response, self.server_ms))
        return _decoded(data, operation)


def _after_s(response: HTTPResponse, now_ms: int | None) -> float:
    """`Retry-After` (RFC 9110, section 10.2.3), seconds or a date by the server's clock, in bounds."""
    told = (response.getheader("Retry-After") or "").strip()
    if told.isascii() and told.isdigit():
        after_s = float(told[:9])
    else:
        at_ms = server_ms(told)
        after_s = (at_ms - now_ms) / 1000 if at_ms is not None and now_ms is not None else 0.0
    return min(max(after_s, 0.0), RETRY_AFTER_MAX_S)


def _check(status: int, data: bytes, operation: str, after_s: float) -> None:
    if status == 200:
        return
    if status == 202 or status == 429 or status >= 500:
        raise UnavailableError(
            f"{operation}: the control plane answered {status}; it is tried again", after_s=after_s
        )
    said = _sentence(data)
    if status in (401, 403):
        what = "enrolment token" if operation == "simpleenroll" else "device's certificate"
        raise RefusedError(f"the {what} was not taken ({status}{said}); {ENROL_ANEW}")
    raise RefusedError(f"{operation} was refused ({status}{said})")


def _sentence(data: bytes) -> str:
    """What a problem document (RFC 9457) says, in bounds and printable; nothing else is repeated."""
    try:
        found = json.loads(data)
    except ValueError:
        return ""
    detail = found.get("detail") if isinstance(found, dict) else None
    if not isinstance(detail, str):
        return ""
    return ": " + "".join(c for c in detail if c.isprintable())[:SENTENCE_LENGTH_MAX]


def _decoded(data: bytes, operation: str) -> bytes:
    if len(data) > ANSWER_BYTES_MAX:
        raise MalformedError(f"{operation}: more than {ANSWER_BYTES_MAX} bytes came back")
    try:
        return base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error as error:
        raise MalformedError(f"{operation}: the answer is not in base64") from error
