"""The broker's door by MQTT 5 and TLS alone, for any broker.

To end a device's connection we come as that device: with a certificate in its name, whose key is in memory
only and which lives for minutes. A broker gives a client id's session to who comes last and closes the other
connection (MQTT 5, section 3.1.4); ours starts clean and expires at once, so that nothing of it stays.
"""

import os
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloud.enrolment.authority import Authority
from cloud.enrolment.revocations import FleetingPair, fleeting
from cloud.errors import UnavailableError
from cloud.settings import Broker

ANSWER_S = 5.0
KEEPALIVE_S = 30
TAKEOVER_AGE = timedelta(minutes=5)
QOS = 1
REVOKED = "CERTIFICATE_REVOKED"
"""In OpenSSL's name of the alert 44 (RFC 8446, section 6.2)."""
UNKNOWN_CA = "UNKNOWN_CA"
"""Alert 48: the broker has no list of the authority that signed it, so it has not read ours."""


class DoorMqtt:
    """The broker that `settings` name; whoever it is, is proven by `ca.pem` in `pki`."""

    def __init__(self, settings: Broker, pki: Path, issuer: Authority, clock: Callable[[], datetime]) -> None:
        assert settings.tls, "a broker without certificates lets anybody in again at once"
        self._settings = settings
        self._pki = pki
        self._issuer = issuer
        self._clock = clock

    def drop(self, device: str, forget: Sequence[str]) -> None:
        """As `cloud.enrolment.drops.Door`."""
        pair = fleeting(self._issuer, device, self._clock(), TAKEOVER_AGE)
        answered, refusals = threading.Event(), []

        def on_connect(_client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
            if code.is_failure:
                refusals.append(str(code))
            answered.set()

        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=device, protocol=paho.MQTTv5)
        client.on_connect = on_connect
        client.connect_timeout = ANSWER_S
        client.tls_set_context(self._context(pair))
        try:
            client.connect(
                self._settings.host,
                self._settings.port,
                keepalive=KEEPALIVE_S,
                clean_start=True,
                properties=_expiring_at_once(),
            )
        except OSError as error:  # ssl.SSLError is one, too
            raise self._away(error) from error
        client.loop_start()
        try:
            if not answered.wait(ANSWER_S) or refusals:
                raise self._away(*refusals)
            for topic in forget:
                client.publish(topic, b"", qos=QOS, retain=True).wait_for_publish(ANSWER_S)
        except (RuntimeError, ValueError) as error:  # paho's words for a connection that is gone
            raise self._away(error) from error
        finally:
            client.disconnect()
            client.loop_stop()

    def refuses(self, pair: FleetingPair) -> bool:
        """As `cloud.enrolment.drops.Door`."""
        context = self._context(pair)
        # Before 1.3 a certificate is judged within the handshake; there, the refusal can be lost on its way.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        address = (self._settings.host, self._settings.port)
        try:
            with (
                socket.create_connection(address, ANSWER_S) as plain,
                context.wrap_socket(plain, server_hostname=self._settings.host),
            ):
                return False
        except ssl.SSLError as error:
            if REVOKED in (error.reason or ""):
                return True
            if UNKNOWN_CA in (error.reason or ""):
                return False
            raise self._away(error) from error
        except OSError as error:
            raise self._away(error) from error

    def _context(self, pair: FleetingPair) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self._pki / "ca.pem"))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # The library reads from files only; this one is never on a disk.
        held = os.memfd_create("fleeting", os.MFD_CLOEXEC)
        with os.fdopen(held, "wb", buffering=0) as file:
            file.write(pair.certificates + pair.key)
            context.load_cert_chain(f"/proc/self/fd/{held}")
        return context

    def _away(self, *why: object) -> UnavailableError:
        said = "; ".join(str(each) for each in why) or f"no answer within {ANSWER_S:g} s"
        return UnavailableError(
            f"the broker at {self._settings.host}:{self._settings.port} cannot be asked ({said}); "
            "it is tried again"
        )


def _expiring_at_once() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho leaves it untyped
    properties.SessionExpiryInterval = 0
    return properties
