"""The services' MQTT 5 client: one place for its identity, its session and its bounds."""

import ssl
from pathlib import Path
from typing import TypeVar

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from cloud.errors import SettingsError
from cloud.settings import Broker as BrokerSettings

C = TypeVar("C", bound=paho.Client)

SESSION_EXPIRY_S = 7 * 24 * 3600
"""The broker keeps what a stopped service has not taken for a week."""
RECONNECT_MIN_S = 1
RECONNECT_MAX_S = 30
WAITING_MAX = 2000
"""Our own messages kept in memory while the broker is away; each can be asked for again."""

IN_FLIGHT_MAX = 200
"""Our own messages on their way to the broker at once."""


def make_client(settings: BrokerSettings, name: str, pki: Path, kind: type[C]) -> C:
    """A client called `name` (its certificate is `{name}.pem` in `pki`), with manual acknowledgement.

    It is not connected yet: hang in the callbacks, then call `connect`.

    Raises:
        SettingsError: `settings.tls`, and the certificate is missing or broken.
    """
    client = kind(CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5, manual_ack=True)
    client.reconnect_delay_set(RECONNECT_MIN_S, RECONNECT_MAX_S)
    client.max_queued_messages_set(WAITING_MAX)
    client.max_inflight_messages_set(IN_FLIGHT_MAX)
    if settings.tls:
        client.tls_set_context(_identity(name, pki))
    return client


def _identity(name: str, pki: Path) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
        context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
    except OSError as error:  # ssl.SSLError is one, too
        raise SettingsError(
            f"the certificate of {name} in {pki} cannot be used ({error}); run `python -m cloud init`"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def expiring(after_s: int | None) -> Properties | None:
    """The properties of a message that nobody shall get who comes later than `after_s` from now."""
    if after_s is None:
        return None
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho leaves it untyped
    properties.MessageExpiryInterval = after_s
    return properties


def connect(client: paho.Client, settings: BrokerSettings) -> None:
    """Name the broker and the terms of the session; the network loop connects, and again after a loss."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho leaves it untyped
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    properties.ReceiveMaximum = settings.receive_maximum
    client.connect_async(
        settings.host,
        settings.port,
        keepalive=settings.keepalive_s,
        clean_start=False,
        properties=properties,
    )
