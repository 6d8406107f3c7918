"""The folder with the authority's, the servers' and the services' keys and certificates.

The root's key is in a folder of its own, which may be taken away once `prepare` has run: everyday work needs
only `issuing`. Beside that stand `server`, `broker`, `seal` and the `SERVICES`, each a `.pem`
and a `.key` (mode 0600); the folders are 0700. For others there are

- `ca.pem`: the root's certificate, which devices trust;
- `authorities.pem`: issuing authorities and root, by which whoever shows no chain is checked;
- `crl.pem` and `root-crl.pem`: what each issuing authority, the present one first, and the root have revoked.

More than one issuing authority there is after a change of it: `cloud.enrolment.issuers`. A folder that was
made with one authority for everything (`ca.key` in it) goes on as it is.
"""

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from cloud.enrolment import authority, issuers, keys
from cloud.enrolment.authority import Authority, issuer_id, key_id
from cloud.enrolment.issuers import certificate, certificates, pem
from cloud.errors import SettingsError
from cloud.files import write_durably

log = logging.getLogger(__name__)

ROOT_NAME = "Civic Fleet Root"
AUTHORITY_NAME = "Civic Fleet Authority"
SEAL_NAME = "Komuna e Prishtinës"
"""Stands in the seal of every document as who sealed it."""
SERVICES = ("svc-broker", "svc-control", "svc-ingest")
RENEW_BEFORE = timedelta(days=30)
"""`prepare` makes a certificate anew that has less than this left."""
ISSUING_RENEW_BEFORE = timedelta(days=800)
"""More than anything lives that the issuing authority signs, so that nothing is cut short. Who has taken the
root's key away is warned from then on, and refused only in the last `RENEW_BEFORE`."""


ROOT_NEEDED = (
    "the issuing authority in {folder} has {days} days left, and the root's key is not in {root}; bring that "
    "folder back, run `python -m cloud init`, and take it away again"
)
LOCK = "crl.lock"
"""In the folder; whoever signs lists holds it, because commands revoke beside a control plane that runs."""
END_OF_LIST = b"-----END X509 CRL-----\n"
ONE_LEVEL = (
    "{folder} holds one authority for everything, as earlier releases made it, and goes on so; to have a "
    "root whose key is kept apart, begin with a new data_dir and enrol the devices again"
)


def prepare(
    folder: Path,
    hosts: Sequence[str],
    now: datetime,
    *,
    root: Path | None = None,
    key_file: Path | None = None,
) -> None:
    """Make what is missing, what ends soon and what names other `hosts`; leave the rest as it is.

    `hosts` are the names and addresses under which the servers and the broker are reached. The root's key is
    in `root` (default: the folder `root` in `folder`). With `key_file` both authorities' keys are encrypted.

    Raises:
        SettingsError: a folder holds something that is no key or certificate, or the root's key is needed
            and is not there.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if issuers.one_level(folder):
        log.warning("authority_has_one_level", extra={"sentence": ONE_LEVEL.format(folder=folder)})
        keys.encrypt(folder / "ca.key", key_file)
    else:
        _prepare_authorities(folder, root or folder / "root", now, key_file)
    issuer = load(folder, key_file, complete=False)
    issuers.write_trust(folder)
    for name in ("server", "broker"):
        if not _stands(folder, name, now, issuer, hosts):
            key = ec.generate_private_key(ec.SECP256R1())
            made = issuer.server(key.public_key(), hosts[0], hosts, now)
            _write_pair(folder, name, key, [made, *_shown(issuer)])
    for name in SERVICES:
        if not _stands(folder, name, now, issuer):
            key = ec.generate_private_key(ec.SECP256R1())
            _write_pair(folder, name, key, [issuer.service(key.public_key(), name, now), *_shown(issuer)])
    if not _stands(folder, "seal", now) or not _of_trusted(folder, "seal"):
        key = ec.generate_private_key(ec.SECP256R1())
        _write_pair(folder, "seal", key, [issuer.seal(key.public_key(), SEAL_NAME, now)])
    if not (folder / "crl.pem").exists():
        write_revocations(folder, issuer.revocations([], 1, now))
    issuers.settle(folder, key_file)


def _of_trusted(folder: Path, name: str) -> bool:
    """Whether the pair was signed by an authority that is trusted still."""
    signer = issuer_id(certificate(folder / f"{name}.pem"))
    return signer in {key_id(each) for each in issuers.read(folder).trusted}


def _prepare_authorities(folder: Path, root: Path, now: datetime, key_file: Path | None) -> None:
    """The root, what it says of itself and of revocations, and the authority below it."""
    top = _root(folder, root, now, key_file)
    if top is not None and not (folder / "ca.pem").exists():
        write_durably(folder / "ca.pem", pem(top.chain), 0o644)
    if top is not None and not (folder / "root-crl.pem").exists():
        listed = top.revocations([], 1, now, authority.ROOT_AGE)
        write_durably(folder / "root-crl.pem", listed.public_bytes(Encoding.PEM), 0o644)
    keys.encrypt(folder / "issuing.key", key_file)
    left = timedelta()
    if (folder / "issuing.pem").exists():
        left = certificate(folder / "issuing.pem").not_valid_after_utc - now
    if left > ISSUING_RENEW_BEFORE:
        return
    if top is None:
        sentence = ROOT_NEEDED.format(folder=folder, days=max(0, left.days), root=root)
        if left <= RENEW_BEFORE:
            raise SettingsError(sentence)
        log.warning("root_key_needed", extra={"sentence": sentence})
        return
    # The same key again, so that what it has signed stays good.
    known = (folder / "issuing.key").exists()
    key = keys.read(folder / "issuing.key", key_file) if known else ec.generate_private_key(ec.SECP256R1())
    below = top.issuing(key, AUTHORITY_NAME, now)
    _write_pair(folder, "issuing", key, [below.certificate], key_file)


def _root(folder: Path, root: Path, now: datetime, key_file: Path | None) -> Authority | None:
    """The root in `root`, made where there was never one; None where it was taken away."""
    if not (root / "root.key").exists() or not (root / "root.pem").exists():
        if (folder / "ca.pem").exists():
            return None
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = authority.found(ROOT_NAME, now)
        _write_pair(root, "root", made.key, [made.certificate], key_file)
        return made
    keys.encrypt(root / "root.key", key_file)
    found = Authority(keys.read(root / "root.key", key_file), certificate(root / "root.pem"))
    if (folder / "ca.pem").exists() and certificate(folder / "ca.pem") != found.certificate:
        raise SettingsError(
            f"{root} holds another root than {folder / 'ca.pem'}, which the devices trust; set "
            "certificates.root_dir to the folder that was made with it"
        )
    return found


def load(folder: Path, key_file: Path | None = None, *, complete: bool = True) -> Authority:
    """The authority whose key is in `folder`, and who signs everything there.

    Raises:
        SettingsError: there is none, it cannot be read, or (`complete`) `prepare` has not finished there.
    """
    found = issuers.load_present(folder, key_file)
    if complete and not (folder / "authorities.pem").exists():
        raise SettingsError(f"{folder / 'authorities.pem'} is missing; run `python -m cloud init`")
    return found


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process signs a list of `folder` meanwhile; a number is given to one list only."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def revocations(folder: Path) -> list[x509.CertificateRevocationList]:
    """The lists of the issuing authorities that `folder` holds.

    Raises:
        SettingsError: there is none, or they cannot be read.
    """
    path = folder / "crl.pem"
    try:
        parts = path.read_bytes().split(END_OF_LIST)[:-1]
        found = [x509.load_pem_x509_crl(part + END_OF_LIST) for part in parts]
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} is no revocation list ({error}); run `python -m cloud init`") from error
    if not found:
        raise SettingsError(f"{path} holds no revocation list; remove it and run `python -m cloud init`")
    return found


def write_revocations(folder: Path, *lists: x509.CertificateRevocationList) -> None:
    """Put the lists where servers and broker read them, at once: a broker wants one of each authority."""
    write_durably(folder / "crl.pem", b"".join(each.public_bytes(Encoding.PEM) for each in lists), 0o644)


def published_revocations(folder: Path) -> bytes:
    """Every list that `folder` holds, PEM: the issuing authorities', and the root's where there is one.

    Raises:
        SettingsError: there is none.
    """
    try:
        of_root = folder / "root-crl.pem"
        return (folder / "crl.pem").read_bytes() + (of_root.read_bytes() if of_root.exists() else b"")
    except OSError as error:
        raise SettingsError(
            f"{error.filename} cannot be read ({error.strerror}); run `python -m cloud init`"
        ) from error


def common_name(certificate: x509.Certificate) -> str:
    """The subject's common name; empty where there is not exactly one."""
    return authority.common_name(certificate.subject)


def _stands(
    folder: Path, name: str, now: datetime, issuer: Authority | None = None, hosts: Sequence[str] = ()
) -> bool:
    """Whether there is a pair that lasts, shows the `issuer` as it is now, and names `hosts`."""
    if not (folder / f"{name}.key").exists() or not (folder / f"{name}.pem").exists():
        return False
    own, *above = certificates(folder / f"{name}.pem")
    return (
        own.not_valid_after_utc - now > RENEW_BEFORE
        and (issuer is None or above == _shown(issuer))
        and (not hosts or set(_hosts(own)) == set(hosts))
    )


def _shown(issuer: Authority) -> list[x509.Certificate]:
    """What is shown with a certificate of `issuer`: all above it but the root, which the other side has."""
    return list(issuer.chain[:-1])


def _hosts(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def _write_pair(
    folder: Path,
    name: str,
    key: ec.EllipticCurvePrivateKey,
    chain: Sequence[x509.Certificate],
    key_file: Path | None = None,
) -> None:
    """The key first: a certificate without its key would be taken for done."""
    keys.write(folder / f"{name}.key", key, key_file)
    write_durably(folder / f"{name}.pem", pem(chain), 0o644)
