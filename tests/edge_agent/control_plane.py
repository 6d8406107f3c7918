"""A control plane that fits on a page: EST with one-time tokens, and a listener for devices."""

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import NameOID

from contract.enrolment import EST_PREFIX, PROVEN_PATH
from tests.edge_agent.authority import Authority

BODY_BYTES_MAX = 200_000


class ControlPlane:
    """Both listeners on one port; `bundles` are the diagnostics that came in, by device."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.tokens: dict[str, str] = {}
        self.bundles: list[tuple[str, dict[str, Any]]] = []
        self.requests: list[str] = []
        self.port = 0
        self.issue_for: str | None = None
        """Another common name than the one that was asked for: a control plane that makes mistakes."""
        self.busy = 0
        """Answers with 503 that come first."""
        self.retry_after: str | None = None
        """What those say of when to ask again."""
        self.issuer = authority
        """Who signs devices; another one is taken by nobody."""
        self.revoked: set[str] = set()
        """Devices that may not renew."""
        self.replaced: set[int] = set()
        """Serial numbers that may not renew."""
        self.proven: list[int] = []
        """Serial numbers, as they were proven."""
        self.on_proven: Callable[[], None] = lambda: None
        """Called before a proof is answered."""
        self.date: str | None = None
        """What the header `Date` says instead of the time."""

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"


class _Handler(BaseHTTPRequestHandler):
    plane: ControlPlane

    def date_time_string(self, timestamp: int | None = None) -> str:  # type: ignore[override]
        return self.plane.date or super().date_time_string(timestamp)

    def log_message(self, *_words: object) -> None:
        """Tests read what was asked from `requests`."""

    def do_HEAD(self) -> None:
        self._answer(404, b"", "text/plain")

    def do_GET(self) -> None:
        self.plane.requests.append(self.path)
        if self.path == f"{EST_PREFIX}/cacerts":
            self._certificates({self.plane.authority.certificate, self.plane.issuer.certificate})
        elif self.path == "/whoami":
            self._answer(200, self._peer().encode(), "text/plain")
        elif self.path == "/large":
            self._answer(200, b"x" * 2_000_000, "text/plain")
        else:
            self._problem(404, "there is nothing here")

    def do_POST(self) -> None:
        self.plane.requests.append(self.path)
        length = int(self.headers.get("Content-Length", "0"))
        assert length <= BODY_BYTES_MAX
        body = self.rfile.read(length)
        if self.path == f"{EST_PREFIX}/simpleenroll":
            self._enrol(body)
        elif self.path == f"{EST_PREFIX}/simplereenroll" and self._peer():
            self._renew(body)
        elif self.path == PROVEN_PATH and self._peer():
            self.plane.proven.append(self._shown().serial_number)
            self.plane.on_proven()
            self._answer(204, b"", "text/plain")
        elif self.path == "/api/v1/diagnostics" and self._peer():
            self.plane.bundles.append((self._peer(), json.loads(body)))
            self._answer(
                201, json.dumps({"id": f"bundle-{len(self.plane.bundles)}"}).encode(), "application/json"
            )
        else:
            self._problem(403, "not without a certificate")

    def _enrol(self, body: bytes) -> None:
        if self.plane.busy > 0:
            self.plane.busy -= 1
            self._later()
            return
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        device, _, token = base64.b64decode(encoded).decode().partition(":")
        if scheme != "Basic" or self.plane.tokens.get(device) != token:
            self._problem(403, "this token is not for this device, was used, or is too old")
            return
        assert b"\n" not in body
        request = x509.load_der_x509_csr(base64.b64decode(body))
        assert request.is_signature_valid
        assert request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == device
        del self.plane.tokens[device]
        key = request.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        self.plane.revoked.discard(device)
        self._certificates([self.plane.issuer.device(key, self.plane.issue_for or device)])

    def _later(self) -> None:
        self.send_response(503)
        if self.plane.retry_after is not None:
            self.send_header("Retry-After", self.plane.retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _renew(self, body: bytes) -> None:
        if self._peer() in self.plane.revoked or self._shown().serial_number in self.plane.replaced:
            self._problem(403, "this certificate was revoked; enrol the device again with a new token")
            return
        if self.plane.busy > 0:
            self.plane.busy -= 1
            self._later()
            return
        request = x509.load_der_x509_csr(base64.b64decode(body))
        assert request.is_signature_valid
        key = request.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        self._certificates([self.plane.issuer.device(key, self._peer())])

    def _shown(self) -> x509.Certificate:
        assert isinstance(self.connection, ssl.SSLSocket)
        return x509.load_der_x509_certificate(self.connection.getpeercert(binary_form=True) or b"")

    def _peer(self) -> str:
        assert isinstance(self.connection, ssl.SSLSocket)
        shown = self.connection.getpeercert() or {}
        names: Any = shown.get("subject", ())
        return "".join(value for group in names for name, value in group if name == "commonName")

    def _certificates(self, certificates: Iterable[x509.Certificate]) -> None:
        der = pkcs7.serialize_certificates(list(certificates), Encoding.DER)
        self._answer(200, base64.b64encode(der), "application/pkcs7-mime; smime-type=certs-only")

    def _problem(self, status: int, detail: str) -> None:
        self._answer(status, json.dumps({"detail": detail}).encode(), "application/problem+json")

    def _answer(self, status: int, body: bytes, media: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def control_plane(folder: Path, authority: Authority) -> Iterator[ControlPlane]:
    """A running control plane on a free port."""
    pem, key = authority.write_server(folder, "server")
    (folder / "ca.pem").write_bytes(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    context.load_verify_locations(folder / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    plane = ControlPlane(authority)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"plane": plane}))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    plane.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield plane
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
