"""The device's key and certificates on its disk, and the TLS contexts made of them."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from edge_agent.errors import SettingsError


@dataclass(frozen=True)
class Identity:
    """Paths of PEM files: the device's private key (mode 0600), its certificate, and who is trusted."""

    key: Path
    certificate: Path
    trusted: Path

    @property
    def complete(self) -> bool:
        """Whether the device has enrolled; the certificate is always written after the key."""
        return self.certificate.is_file() and self.key.is_file()


def identity(data_dir: Path, trusted: Path) -> Identity:
    """Where the device keeps its identity below `data_dir`; `trusted` is the fleet's authority."""
    pki = data_dir / "pki"
    return Identity(key=pki / "device.key", certificate=pki / "device.pem", trusted=trusted)


def server_trust(trusted: Path) -> ssl.SSLContext:
    """A client context that trusts only the fleet's authority, checks host names, and shows no certificate.

    Raises:
        SettingsError: the file is missing or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(cafile=trusted)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"cloud.ca_file {trusted}: {error.strerror or error}; copy the fleet's ca.pem to this path"
        ) from error
    return context


def mutual(identity: Identity) -> ssl.SSLContext:
    """A client context that also shows this device's certificate.

    Raises:
        SettingsError: a file is missing or does not fit its fellow.
    """
    context = server_trust(identity.trusted)
    try:
        context.load_cert_chain(identity.certificate, identity.key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"{identity.certificate} with {identity.key}: {error.strerror or error}; "
            "remove both and enrol again"
        ) from error
    return context
