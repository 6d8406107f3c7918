"""One attempt to get a certificate: key, request, certificate, each on the disk before the next step.

A crash between two steps costs nothing: the key is used again (a token serves one key, and the same key gets
the same certificate), and a token file is removed only after the certificate is on the disk. It runs in a
process that ends, because its libraries are large.
"""

import logging
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from edge_agent.enrolment import keys
from edge_agent.enrolment.est import ENROL_ANEW, EstClient
from edge_agent.errors import RefusedError, SettingsError, UnavailableError
from edge_agent.files import remove_durably, write_durably
from edge_agent.link.identity import Identity, Wallet, server_trust
from edge_agent.settings import Settings

log = logging.getLogger(__name__)

TOKEN_LENGTH_MAX = 512


def attempt(settings: Settings, wallet: Wallet) -> None:
    """Enrol once; does nothing if the device has its certificate already.

    Raises:
        SettingsError: the settings are wrong, or name no token file.
        UnavailableError: the control plane does not answer, or the disk does not take what it sent.
        RefusedError: it does not take the token, or there is none.
        MalformedError: what it sent is no certificate for this device.
    """
    who = wallet.current
    if not who.complete:
        if settings.token_file is None:
            raise SettingsError("this device has no certificate, and the settings name no token_file")
        token = read_token(settings.token_file)
        if not token:
            raise RefusedError(f"there is no token in {settings.token_file}; {ENROL_ANEW}")
        _by_token(settings, wallet, who, token)
        log.info("device_enrolled", extra={"device": settings.device})
    if settings.token_file is not None:
        settings.token_file.unlink(missing_ok=True)


def renew(settings: Settings, wallet: Wallet, *, instead: bool = False) -> int | None:
    """Put a new certificate with a new key into the spare slot; the server's clock in ms, if it told it.

    A token is asked with first, for whoever put it there expects that; where it is not taken, or there is
    none, the present certificate is shown: the token may be one that was left over. `instead`: of the next
    identity that lies there, which the broker has refused.

    Raises:
        UnavailableError, RefusedError, MalformedError, SettingsError: as `attempt`.
    """
    if wallet.pointer().spare_is_old:
        wallet.clear_spare()
    spare = wallet.spare
    if spare.complete and not instead:
        return None  # it was here before the power went
    refused = ""
    try:
        if spare.complete:
            return _in_place_of_next(settings, wallet)
    except RefusedError as error:
        if not read_token(settings.token_file):
            raise
        refused = f"{error}; and "
        wallet.clear_spare()
    try:
        token = read_token(settings.token_file)
        if token:
            told = _by_token(settings, wallet, spare, token)
            log.info("device_enrolled", extra={"device": settings.device})
            return told
    except RefusedError as error:
        refused += f"{error}; and "
    try:
        return _by_certificate(settings, wallet, spare)
    except RefusedError as error:
        raise RefusedError(f"{refused}{error}") from error


def encrypt(wallet: Wallet) -> int:
    """Put keys that lie there in plain under the vault's secret; gives how many.

    Raises:
        SettingsError: the vault has none, or a key cannot be read.
        UnavailableError: the disk does not take it.
    """
    wallet.vault.prepare()
    plain = [who for who in (wallet.current, wallet.spare) if who.complete and who.plain]
    for who in plain:
        keys.encrypt(who.key, wallet.vault.password())
        log.info("key_encrypted", extra={"key": who.key.name})
    return len(plain)


def read_token(path: Path | None) -> str:
    """The token in the file; empty where there is none.

    Raises:
        SettingsError: the file cannot be read.
        RefusedError: what stands in it is no token.
    """
    try:
        token = path.read_text(encoding="ascii").strip() if path is not None else ""
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"token_file {path} cannot be read: {error}") from error
    if len(token) > TOKEN_LENGTH_MAX or not token.isprintable() or ":" in token:
        raise RefusedError(f"what stands in {path} is no enrolment token")
    return token


def _by_token(settings: Settings, wallet: Wallet, into: Identity, token: str) -> int | None:
    wallet.vault.prepare()
    key = keys.own_key(into.key, wallet.vault.password())
    client = _client(settings, wallet)
    authorities = client.authorities()
    answer = client.enrol(settings.device, token, keys.request(key, settings.device))
    _keep(into, keys.issued(answer, authorities, key, settings.device).public_bytes(Encoding.PEM))
    if settings.token_file is not None:
        remove_durably(settings.token_file)
    return client.server_ms


def _by_certificate(settings: Settings, wallet: Wallet, into: Identity) -> int | None:
    wallet.vault.prepare()
    key = keys.own_key(into.key, wallet.vault.password())
    certificate, told = _renewed(settings, wallet, wallet.current, key)
    _keep(into, certificate)
    return told


def _in_place_of_next(settings: Settings, wallet: Wallet) -> int | None:
    """What the broker has refused may yet be the only certificate by which the control plane knows us.

    It was proven, and lost its commitment to power cuts until it had ended: then the present one is replaced
    for good, and a younger one is had for the same key. Nothing is removed before another one is there.
    """
    wallet.vault.prepare()
    spare = wallet.spare
    try:
        key = keys.new_key()
        certificate, told = _renewed(settings, wallet, wallet.current, key)
    except RefusedError as error:
        try:
            own = keys.own_key(spare.key, wallet.vault.password())
            certificate, told = _renewed(settings, wallet, spare, own)
        except (RefusedError, UnavailableError) as second:  # TLS refuses some, which looks like no answer
            if isinstance(second, UnavailableError) and second.after_s:
                raise  # that was no TLS: it is only busy
            raise RefusedError(f"{error}; the next certificate is no help: {second}") from error
    else:
        wallet.clear_spare()
        keys.keep(key, spare.key, wallet.vault.password())
    _keep(spare, certificate)
    return told


def _renewed(
    settings: Settings, wallet: Wallet, shown: Identity, key: ec.EllipticCurvePrivateKey
) -> tuple[bytes, int | None]:
    """The certificate (PEM) that whoever shows `shown` gets for `key`, and the server's clock."""
    client = _client(settings, wallet, shown)
    authorities = client.authorities()
    answer = client.renew(keys.request(key, settings.device))
    certificate = keys.issued(answer, authorities, key, settings.device)
    log.info("certificate_renewed", extra={"device": settings.device})
    return certificate.public_bytes(Encoding.PEM), client.server_ms


def _keep(into: Identity, certificate: bytes) -> None:
    write_durably(into.certificate, certificate)


def _client(settings: Settings, wallet: Wallet, who: Identity | None = None) -> EstClient:
    trust = who.context if who is not None else lambda: server_trust(wallet.trusted, wallet.judge_s())
    return EstClient(settings.cloud.bootstrap_url, trust, settings.cloud.timeout_s)
