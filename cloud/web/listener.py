"""Who is at the other end of a TLS connection.

uvicorn asks for client certificates but does not tell the application who connected: `TlsProtocol` fills
the ASGI TLS extension (https://asgi.readthedocs.io/en/latest/specs/tls.html).
"""

import asyncio
import ssl

from cryptography import x509
from fastapi import Request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cloud.web.problems import ProblemError


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
