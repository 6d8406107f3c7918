"""The device's keys and certificates on its disk, and the TLS contexts made of them.

Two slots hold a key and its certificate each; a small file says which of them is the device's identity, and
its rename is the only thing that ever changes that. The other slot is spare: it is empty, or it holds the
next identity, which is complete as soon as its certificate is there (the key is always written first).
"""

import ssl
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from edge_agent.errors import MalformedError, SettingsError, UnavailableError
from edge_agent.files import remove_durably, write_durably
from edge_agent.link.certificate import Life, lives
from edge_agent.link.vault import FileVault, KeyVault

Slot = Literal["device", "second"]
FIRST: Slot = "device"
NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL (x509_vfy.h), which Python does not name."""
OTHERS = stat.S_IRWXG | stat.S_IRWXO

JudgeS = Callable[[], float | None]
"""The moment, in seconds since 1970, to judge others' certificates by; None: the machine's clock will do."""


class Shows(Protocol):
    """Makes the TLS context of the next connection."""

    def context(self) -> ssl.SSLContext:
        """A client context that trusts the fleet's authority and shows this device's certificate.

        Raises:
            SettingsError: a file is missing or cannot be used.
            UnavailableError: nothing is to be shown now.
        """


def by_the_machines_clock() -> float | None:
    """The judge of a device whose clock is right."""
    return None


@dataclass(frozen=True)
class Identity:
    """Paths of PEM files: the device's private key (mode 0600), its certificate, and who is trusted.

    `vault` opens the key, if it is encrypted.
    """

    key: Path
    certificate: Path
    trusted: Path
    vault: KeyVault
    judge_s: JudgeS = by_the_machines_clock

    @property
    def complete(self) -> bool:
        """Whether there is one; the certificate is always written after the key."""
        return self.certificate.is_file() and self.key.is_file()

    @property
    def life(self) -> Life:
        """From when to when the certificate is good.

        Raises:
            SettingsError: it cannot be read.
        """
        try:
            return lives(self.certificate.read_bytes())[0]
        except (OSError, MalformedError) as error:
            raise SettingsError(f"{self.certificate}: {error}; {ENROL_AGAIN}") from error

    @property
    def plain(self) -> bool:
        """Whether the key lies there unencrypted, as agents before 0.2 wrote it."""
        try:
            return b"ENCRYPTED" not in self.key.read_bytes().partition(b"\n")[0]
        except OSError:
            return False

    def context(self) -> ssl.SSLContext:
        """See `Shows`."""
        return mutual(self)


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """What the small file says: which slot is the device's identity, and what is known of the two.

    `proven`: the cloud knows that this identity connects. `spare_is_old`: what lies in the other slot was the
    identity before and is only to be removed.
    """

    v: Literal[1] = 1
    current: Slot = FIRST
    proven: bool = False
    spare_is_old: bool = False

    @property
    def spare(self) -> Slot:
        """The other slot."""
        return "second" if self.current == "device" else "device"


class Wallet:
    """Both slots of a device, and the one that is shown at the next connection.

    One process changes the pointer; a child of it writes the spare slot. Every change is on the disk when the
    call returns.
    """

    def __init__(
        self, data_dir: Path, trusted: Path, vault: KeyVault, judge_s: JudgeS = by_the_machines_clock
    ) -> None:
        self.folder = data_dir / "pki"
        self.trusted = trusted
        self.vault = vault
        self.judge_s = judge_s
        self._file = self.folder / "identity.json"
        self._shows_next = False
        self._held = ""

    def pointer(self) -> Pointer:
        """What the file says; the first slot where there is none.

        A file that cannot be read is no reason to lose an identity: the slot whose certificate ends last is
        taken, and if that was wrong the other one is there to be tried.
        """
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Pointer)
        except FileNotFoundError:
            return Pointer()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            whole = [slot for slot in (FIRST, Pointer().spare) if self._in(slot).complete]
            newest = max(whole, key=lambda slot: self._in(slot).life.not_after_s, default=FIRST)
            return Pointer(current=newest)

    @property
    def current(self) -> Identity:
        """The identity that the file points to."""
        return self._in(self.pointer().current)

    @property
    def spare(self) -> Identity:
        """The other slot, whatever lies there."""
        return self._in(self.pointer().spare)

    @property
    def next(self) -> Identity | None:
        """The identity that is to follow, if there is one."""
        pointer = self.pointer()
        found = self._in(pointer.spare)
        return found if found.complete and not pointer.spare_is_old else None

    def show_next(self, shown: bool) -> None:
        """From the next connection on, show the next identity, or again the current one."""
        self._shows_next = shown

    def hold(self, sentence: str) -> None:
        """Show nothing and say `sentence` instead; an empty one ends that."""
        self._held = sentence

    @property
    def shown(self) -> Identity:
        """The identity that the next connection shows."""
        return (self.next if self._shows_next else None) or self.current

    def context(self) -> ssl.SSLContext:
        """See `Shows`."""
        if self._held:
            raise UnavailableError(self._held)
        shown = self.shown
        try:
            return mutual(shown)
        except SettingsError:
            if self.shown == shown:
                raise
            return mutual(self.shown)  # it was committed, and the old one removed, a moment ago

    def prove(self) -> None:
        """The cloud knows that the current identity connects."""
        self._save(msgspec.structs.replace(self.pointer(), proven=True))

    def commit(self) -> None:
        """The next identity is the device's from now on; one rename. `clear_spare` is to follow."""
        pointer = self.pointer()
        if pointer.spare_is_old:
            return  # it was done, though the disk did not say so
        assert self.next is not None, "there is nothing to commit"
        self._save(Pointer(current=pointer.spare, proven=True, spare_is_old=True))
        self._shows_next = False

    def clear_spare(self) -> None:
        """Remove what lies in the spare slot, the certificate first: without it nothing is complete."""
        pointer = self.pointer()
        spare = self._in(pointer.spare)
        remove_durably(spare.certificate)
        remove_durably(spare.key)
        if pointer.spare_is_old:
            self._save(msgspec.structs.replace(pointer, spare_is_old=False))

    def _save(self, pointer: Pointer) -> None:
        write_durably(self._file, msgspec.json.encode(pointer))

    def _in(self, slot: Slot) -> Identity:
        key, certificate = self.folder / f"{slot}.key", self.folder / f"{slot}.pem"
        return Identity(key, certificate, self.trusted, self.vault, self.judge_s)


ENROL_AGAIN = "remove both and enrol again"


def vault_of(data_dir: Path, key_file: Path | None) -> KeyVault:
    """The vault that the settings name, or a secret of the device's own beside its data."""
    if key_file is not None:
        return FileVault(key_file)
    return FileVault(data_dir / "pki" / "kek", own=True)


def identity(data_dir: Path, trusted: Path, key_file: Path | None = None) -> Identity:
    """The identity of the device whose data is in `data_dir`; `trusted` is the fleet's authority."""
    return Wallet(data_dir, trusted, vault_of(data_dir, key_file)).current


class _Context(ssl.SSLContext):
    """A client context that may have its own opinion of what time it is."""

    judged_at_s: float | None = None


class JudgedSocket(ssl.SSLSocket):
    """Holds the other end's certificate against the moment of its context, where that is not the clock's."""

    def do_handshake(self, block: bool = False) -> None:
        """Raises SSLCertVerificationError when the certificate had ended at that moment."""
        super().do_handshake(block)
        at_s = self.context.judged_at_s if isinstance(self.context, _Context) else None
        shown = self.getpeercert()
        if at_s is None or not shown:
            return
        ended_s = ssl.cert_time_to_seconds(str(shown["notAfter"]))
        if ended_s < at_s:
            raise _ended(str(shown["notAfter"]))


def server_trust(trusted: Path, judged_at_s: float | None = None) -> ssl.SSLContext:
    """A client context that trusts only the fleet's authority, checks host names, and shows no certificate.

    With `judged_at_s` that moment stands for the machine's clock, which is behind it: what had ended by then
    is refused, and what has not begun yet cannot be told.

    Raises:
        SettingsError: the file is missing or holds no certificate.
    """
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslsocket_class = JudgedSocket
    if judged_at_s is not None:
        context.verify_flags |= NO_CHECK_TIME
        context.judged_at_s = judged_at_s
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
        SettingsError: a file is missing, does not fit its fellow, cannot be opened, or is open to others.
    """
    context = server_trust(identity.trusted, identity.judge_s())
    check_private(identity.key)
    try:
        context.load_cert_chain(identity.certificate, identity.key, password=identity.vault.password)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"{identity.certificate} with {identity.key}: {error.strerror or error}; {ENROL_AGAIN}"
        ) from error
    return context


def check_private(key: Path) -> None:
    """See that nobody else can read a private key; a missing one is found out elsewhere.

    Raises:
        SettingsError: others can.
    """
    try:
        mode = key.stat().st_mode
    except OSError:
        return
    if mode & OTHERS:
        raise SettingsError(
            f"{key} is open to others (mode {stat.S_IMODE(mode):04o}); chmod 600 {key}, and revoke and enrol "
            "this device again if somebody may have copied it"
        )


def _ended(at: str) -> ssl.SSLCertVerificationError:
    sentence = f"certificate has expired: it ended {at}, and it is later than that"
    error = ssl.SSLCertVerificationError(1, sentence)
    error.verify_code, error.verify_message = 10, sentence
    return error
