"""Who is at the other end of a TLS connection.

uvicorn asks for client certificates but does not tell the application who connected: `TlsProtocol` fills
the ASGI TLS extension (https://asgi.readthedocs.io/en/latest/specs/tls.html).
"""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import uvicorn
from cryptography import x509
from fastapi import Request
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cloud.web.problems import ProblemError

KEEP_ALIVE_S = 20
SHUTDOWN_S = 5
"""How long open requests may go on after a stop was asked for; server-sent events never end by themselves."""
CONNECTIONS_MAX = 2000
READERS_MAX = 5000
"""Connections for pages: each reader of live captions holds one for hours."""
_COMMON: dict[str, Any] = {
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "lifespan": "off",
    "ws": "none",
    "proxy_headers": False,
    "timeout_keep_alive": KEEP_ALIVE_S,
    "timeout_graceful_shutdown": SHUTDOWN_S,
}


class TlsProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which also says in each request's scope which certificate the client showed."""

    _tls: dict[object, object] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn does
        """Keep the certificate of the connection."""
        super().connection_made(transport)
        session = transport.get_extra_info("ssl_object")
        if session is not None:
            der = session.getpeercert(True)
            chain = [ssl.DER_cert_to_PEM_cert(der)] if der else []
            self._tls = {"client_cert_chain": chain, "tls_version": None}

    def on_message_begin(self) -> None:
        """Begin a request's scope, with the certificate in it."""
        super().on_message_begin()
        if self._tls is not None:
            self.scope["extensions"] = {"tls": self._tls}


def certificate(request: Request) -> x509.Certificate | None:
    """The certificate that the caller showed and TLS checked against our authority, if any."""
    tls = request.scope.get("extensions", {}).get("tls") or {}
    chain = tls.get("client_cert_chain") or []
    return x509.load_pem_x509_certificate(chain[0].encode()) if chain else None


def peer(request: Request) -> str:
    """The id of the device that calls, as the device listener has established it.

    Raises:
        ProblemError: 403, the caller is no device of this fleet.
    """
    device = getattr(request.state, "device", None)
    if not isinstance(device, str):
        raise ProblemError(403, "show the certificate of an enrolled device", code="not-a-device")
    return device


Refused = Callable[[int], None]
"""Takes OpenSSL's verify code of a handshake that was refused: `X509_V_ERR_…`, or `NO_CERTIFICATE`."""
NO_CERTIFICATE = -1
NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python does not name."""


def over_tls(
    app: ASGIApp,
    host: str,
    port: int,
    *,
    pki: Path,
    client: Literal["optional", "required"],
    authorities: Path | None = None,
    expired: bool = False,
    refused: Refused | None = None,
) -> uvicorn.Config:
    """A listener with the server's certificate in `pki`, which asks callers for one of our authorities.

    They are those in `authorities`, or in the file `authorities.pem` in `pki` where that is not given.
    With `expired` the handshake looks at no dates: the application must judge them. `refused` is told of
    each handshake that failed for the caller's certificate, in the thread of the event loop.
    """

    def context(_config: uvicorn.Config, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        made = make()
        if expired:
            made.verify_flags |= NO_CHECK_TIME
        made.sslobject_class = _answering(refused or (lambda _code: None))
        return made

    return uvicorn.Config(
        app,
        host,
        port,
        http=TlsProtocol,
        ssl_certfile=pki / "server.pem",
        ssl_keyfile=pki / "server.key",
        ssl_ca_certs=str(authorities or pki / "authorities.pem"),
        ssl_cert_reqs=ssl.CERT_REQUIRED if client == "required" else ssl.CERT_OPTIONAL,
        ssl_context_factory=context,
        limit_concurrency=CONNECTIONS_MAX,
        **_COMMON,
    )


def _answering(refused: Refused) -> type[ssl.SSLObject]:
    """The TLS of one connection, which says why a caller was not let in: to us and, by its alert, to him.

    asyncio and uvloop end a connection whose handshake failed before OpenSSL's alert has left (RFC 8446,
    section 6.2), and the caller sees an empty reply. They send what is to be sent when the handshake wants
    to read: so a failed one asks for that once, and fails with the caller's next bytes or his end. Who sends
    nothing more is ended when the time for a handshake is over, as everybody.
    """

    class Answering(ssl.SSLObject):
        _failed: ssl.SSLError | None = None

        def do_handshake(self) -> None:
            if self._failed is not None:
                raise self._failed
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                if isinstance(error, ssl.SSLCertVerificationError):
                    refused(error.verify_code)
                elif error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
                    refused(NO_CERTIFICATE)
                self._failed = error
                raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "its alert goes out first") from error

    return Answering


def plain(app: ASGIApp, host: str, port: int) -> uvicorn.Config:
    """A listener for pages; TLS before it is a proxy's."""
    return uvicorn.Config(app, host, port, http=HttpToolsProtocol, limit_concurrency=READERS_MAX, **_COMMON)
