"""Which authorities have signed the fleet's certificates: the present one, and those that came before it.

Each is known by its key: one that was renewed with the same key is the same. In the folder of
`cloud.enrolment.pki` there are

- `issuing.pem` and `.key`: the present one, which signs everything new;
- `former/`: a certificate and a key each, still trusted; the key signs what is revoked;
- `distrusted/`: a certificate each. Who was certified by it may renew, and nothing else;
- `next.pem` and `.key`: one that is about to become the present one (`cloud.enrolment.succession`).

A folder with one authority for everything has `ca.pem` and `ca.key` in place of all of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from cloud.enrolment import keys
from cloud.enrolment.authority import Authority, common_name, key_id
from cloud.errors import SettingsError
from cloud.files import write_durably

PRESENT = "issuing"
NEXT = "next"
FORMER = "former"
DISTRUSTED = "distrusted"
AUTHORITIES = "authorities.pem"
RENEWABLE = "renewable.pem"


@dataclass(frozen=True)
class Issuers:
    """Certificates of authorities; `former` and `distrusted` are ordered, the youngest first."""

    present: x509.Certificate
    root: x509.Certificate
    former: tuple[x509.Certificate, ...] = ()
    distrusted: tuple[x509.Certificate, ...] = ()

    @property
    def trusted(self) -> tuple[x509.Certificate, ...]:
        """Those whose certificates open doors, the present one first."""
        return (self.present, *self.former)


def one_level(folder: Path) -> bool:
    """Whether one authority in `folder` is root and issuer."""
    return (folder / "ca.key").exists()


def read(folder: Path) -> Issuers:
    """The authorities in `folder`, without their keys.

    Raises:
        SettingsError: there is none, or something there is no certificate.
    """
    root = certificate(folder / "ca.pem")
    if one_level(folder):
        return Issuers(root, root)
    present = certificate(folder / f"{PRESENT}.pem")
    # A change that has not happened yet has put it there already.
    former = tuple(each for each in _all(folder / FORMER) if key_id(each) != key_id(present))
    return Issuers(present, root, former, _all(folder / DISTRUSTED))


def load_present(folder: Path, key_file: Path | None = None) -> Authority:
    """The one that signs everything new, with its key.

    Raises:
        SettingsError: there is none, or it cannot be read.
    """
    root = certificate(folder / "ca.pem")
    if one_level(folder):
        return Authority(keys.read(folder / "ca.key", key_file), root)
    present = certificate(folder / f"{PRESENT}.pem")
    return Authority(_present_key(folder, present, key_file), present, (root,))


def load(folder: Path, key_file: Path | None = None) -> tuple[Authority, ...]:
    """Those that are trusted, with their keys; the present one first.

    Raises:
        SettingsError: one of them cannot be read.
    """
    known = read(folder)
    former = (
        Authority(keys.read(folder / FORMER / f"{key_id(each)}.key", key_file), each, (known.root,))
        for each in known.former
    )
    return (load_present(folder, key_file), *former)


def write_trust(folder: Path) -> None:
    """Write down by whom callers are checked: everywhere, and where they may only renew.

    One that is about to take over is among them.

    Raises:
        SettingsError: as `read`.
    """
    known = read(folder)
    path = folder / f"{NEXT}.pem"
    following = [certificate(path)] if path.exists() else []
    roots = [] if known.root in known.trusted else [known.root]
    trusted = [*known.trusted, *following, *roots]
    write_durably(folder / AUTHORITIES, pem(trusted), 0o644)
    if known.distrusted or (folder / RENEWABLE).exists():
        write_durably(folder / RENEWABLE, pem([*trusted, *known.distrusted]), 0o644)


def renewable(folder: Path) -> Path:
    """The file with every authority whose certificates may be renewed."""
    found = folder / RENEWABLE
    return found if found.exists() else folder / AUTHORITIES


def named(certificate: x509.Certificate) -> str:
    """What the authority that signed `certificate` is called."""
    return common_name(certificate.issuer)


def certificate(path: Path) -> x509.Certificate:
    """The first certificate in the file `path`.

    Raises:
        SettingsError: there is none.
    """
    return certificates(path)[0]


def certificates(path: Path) -> list[x509.Certificate]:
    """The certificates in the file `path`, PEM.

    Raises:
        SettingsError: there is none.
    """
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} is no certificate ({error}); run `python -m cloud init`") from error


def pem(certificates: Iterable[x509.Certificate]) -> bytes:
    """`certificates` as one file holds them."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def settle(folder: Path, key_file: Path | None = None) -> None:
    """The last step of a change: the key of what is the present one now lies where it belongs.

    Raises:
        SettingsError: a key cannot be read.
    """
    beside = folder / f"{NEXT}.key"
    if one_level(folder) or (folder / f"{NEXT}.pem").exists() or not beside.exists():
        return
    if keys.read(beside, key_file).public_key() == certificate(folder / f"{PRESENT}.pem").public_key():
        beside.replace(folder / f"{PRESENT}.key")


def _present_key(
    folder: Path, present: x509.Certificate, key_file: Path | None
) -> ec.EllipticCurvePrivateKey:
    """In the middle of a change it still lies where the next one was made."""
    beside = folder / f"{NEXT}.key"
    if beside.exists():
        key = keys.read(beside, key_file)
        if key.public_key() == present.public_key():
            return key
    return keys.read(folder / f"{PRESENT}.key", key_file)


def _all(folder: Path) -> tuple[x509.Certificate, ...]:
    found = [certificate(path) for path in folder.glob("*.pem")] if folder.exists() else []
    return tuple(sorted(found, key=lambda each: each.not_valid_before_utc, reverse=True))
