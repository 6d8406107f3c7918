"""Another issuing authority takes over, below the same root; and the end of trust in those before it.

Wanted when the present one's key may be known to others, or before it ends. What is on the disk after each
step is good by itself, and whoever begins again goes on from it:

| the power went                 | on the disk                      | who signs, and what to do            |
|--------------------------------|----------------------------------|--------------------------------------|
| before the next one was whole  | perhaps `next.key`               | the present one; begin again         |
| before it took over: a rename  | `next.pem`; it may be known      | the present one; begin again         |
| before everything follows      | `next.key` fits `issuing.pem`    | the next one; begin again, or `init` |

Devices trust the root and need not be told. Who checks devices must know both authorities and have a list of
revoked ones from each: mosquitto reads the lists again at SIGHUP, but authorities only when it starts.
"""

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from cloud.enrolment import issuers, keys, pki
from cloud.enrolment.authority import ROOT_AGE, Authority, common_name, issuer_id, key_id
from cloud.enrolment.issuers import DISTRUSTED, FORMER, NEXT, PRESENT
from cloud.errors import SettingsError
from cloud.files import sync_folder, write_durably

FORMER_MAX = 8
"""Authorities that are trusted beside the present one; each is one more list for a broker to read."""
ONE_LEVEL = (
    "{folder} holds one authority for everything, which has nobody above it to replace it; begin with a new "
    "data_dir and enrol the devices again"
)
FULL = "there are {count} issuing authorities before the present one; end those first: distrust-issuers"


def root_authority(folder: Path, root_key: Path, key_file: Path | None = None) -> Authority:
    """The root of `folder`, whose key is in the file `root_key`.

    Raises:
        SettingsError: the key cannot be read or is of another root, or the folder has one authority only.
    """
    if issuers.one_level(folder):
        raise SettingsError(ONE_LEVEL.format(folder=folder))
    root = issuers.certificate(folder / "ca.pem")
    key = keys.read(root_key, key_file)
    if key.public_key() != root.public_key():
        raise SettingsError(
            f"{root_key} is not the key of the root in {folder / 'ca.pem'}, which the devices trust; give "
            "the root.key that was made with it"
        )
    return Authority(key, root)


def take_over(
    folder: Path,
    root: Authority,
    now: datetime,
    prepare: Callable[[], None],
    key_file: Path | None = None,
) -> x509.Certificate:
    """Make a new issuing authority the present one; those before it stay trusted. Gives its certificate.

    What was begun and not finished is finished, and nothing further made. `prepare` is `pki.prepare` for this
    folder: it makes the services' certificates anew.

    Raises:
        SettingsError: something there cannot be read, or there are too many already.
    """
    if not _took_over(folder, key_file):
        known = issuers.read(folder)
        if len(known.former) >= FORMER_MAX:
            raise SettingsError(FULL.format(count=len(known.former)))
        _keep(folder, known.present, key_file)
        following = _next(folder, root, known.present, now, key_file)
        issuers.write_trust(folder)
        with pki.alone(folder):
            lists = pki.revocations(folder)
            if key_id(following.certificate) not in {issuer_id(each) for each in lists}:
                pki.write_revocations(folder, following.revocations([], 1, now), *lists)
            (folder / f"{NEXT}.pem").replace(folder / f"{PRESENT}.pem")
            sync_folder(folder)
    prepare()
    return issuers.read(folder).present


def distrust(
    folder: Path, root: Authority, now: datetime, prepare: Callable[[], None]
) -> tuple[x509.Certificate, ...]:
    """End the trust in every authority before the present one; gives their certificates.

    The root revokes them, their keys are removed, and nothing asks for their lists any more. Whom they have
    certified may renew at the bootstrap listener, by what the database knows of its certificate.

    Raises:
        SettingsError: something there cannot be read.
    """
    ended = issuers.read(folder).former
    _revoke(folder, root, ended, now)
    (folder / DISTRUSTED).mkdir(exist_ok=True, mode=0o700)
    for each in ended:
        name = key_id(each)
        write_durably(folder / DISTRUSTED / f"{name}.pem", issuers.pem([each]), 0o644)
        (folder / FORMER / f"{name}.pem").unlink()
        (folder / FORMER / f"{name}.key").unlink(missing_ok=True)
    _remove_strays(folder)
    issuers.write_trust(folder)
    trusted = {key_id(each) for each in issuers.read(folder).trusted}
    with pki.alone(folder):
        kept = [each for each in pki.revocations(folder) if issuer_id(each) in trusted]
        pki.write_revocations(folder, *kept)
    prepare()
    return ended


def next_name(name: str) -> str:
    """What the authority after the one called `name` is called: no two of a root are called the same."""
    found = re.fullmatch(r"(.*) (\d{1,6})", name)
    return f"{found[1]} {int(found[2]) + 1}" if found else f"{name} 2"


def _took_over(folder: Path, key_file: Path | None) -> bool:
    """Whether a change was begun that needs only to be finished."""
    beside = folder / f"{NEXT}.key"
    if not beside.exists() or (folder / f"{NEXT}.pem").exists():
        return False
    present = issuers.certificate(folder / f"{PRESENT}.pem")
    return keys.read(beside, key_file).public_key() == present.public_key()


def _keep(folder: Path, present: x509.Certificate, key_file: Path | None) -> None:
    """The present one among those that came before; the key first, the certificate makes it count."""
    (folder / FORMER).mkdir(exist_ok=True, mode=0o700)
    kept = issuers.load_present(folder, key_file)
    keys.write(folder / FORMER / f"{key_id(present)}.key", kept.key, key_file)
    write_durably(folder / FORMER / f"{key_id(present)}.pem", issuers.pem([present]), 0o644)


def _next(
    folder: Path, root: Authority, present: x509.Certificate, now: datetime, key_file: Path | None
) -> Authority:
    """The authority that is about to take over: as it was begun, or made now."""
    path = folder / f"{NEXT}.key"
    if (folder / f"{NEXT}.pem").exists():
        return Authority(keys.read(path, key_file), issuers.certificate(folder / f"{NEXT}.pem"), root.chain)
    key = ec.generate_private_key(ec.SECP256R1())
    keys.write(path, key, key_file)
    made = root.issuing(key, next_name(common_name(present.subject)), now)
    write_durably(folder / f"{NEXT}.pem", issuers.pem([made.certificate]), 0o644)
    return made


def _revoke(folder: Path, root: Authority, ended: Iterable[x509.Certificate], now: datetime) -> None:
    """Put `ended` on the root's list."""
    path = folder / "root-crl.pem"
    try:
        before = x509.load_pem_x509_crl(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} is no revocation list ({error}); run `python -m cloud init`") from error
    entries = {each.serial_number: each.revocation_date_utc for each in before}
    number = before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    new = {each.serial_number: now for each in ended if each.serial_number not in entries}
    until = before.next_update_utc
    if not new and until is not None and until - now > ROOT_AGE / 2:
        return
    listed = root.revocations([*entries.items(), *new.items()], number + 1, now, ROOT_AGE)
    write_durably(path, listed.public_bytes(Encoding.PEM), 0o644)


def _remove_strays(folder: Path) -> None:
    """A key without its certificate was left where the power went."""
    for key in (folder / FORMER).glob("*.key"):
        if not key.with_suffix(".pem").exists():
            key.unlink()
