"""The settings of the control plane: one TOML file, each key overridable by `FLEET_…` in the environment.

`FLEET_BROKER__PORT=8883` sets `port` in `[broker]`. Unknown keys are an error. Secrets are files.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from cloud.errors import SettingsError
from contract.topics import ROOT_DEFAULT

PREFIX = "FLEET_"

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
"""0 lets the system choose."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; an unknown key is an error."""


class Listener(_Section, frozen=True, kw_only=True):
    """Where one of the three HTTP listeners binds."""

    host: str = "127.0.0.1"
    port: Port


class Broker(_Section, frozen=True, kw_only=True):
    """Where the services connect to. `tls = false` is for the one-machine demo on loopback only.

    `connections_max` is what the generated configuration lets in, `queued_max` how many messages may wait
    for one client that is away. From 80 % of the one and from the first message beyond the other on an alert
    fires.
    """

    host: str
    port: Port = 8883
    tls: bool = True
    root: str = ROOT_DEFAULT
    keepalive_s: int = 30
    receive_maximum: int = 1000
    connections_max: Annotated[int, msgspec.Meta(ge=1)] = 20_000
    queued_max: Annotated[int, msgspec.Meta(ge=1)] = 10_000


class Certificates(_Section, frozen=True, kw_only=True):
    """How long certificates of devices live, and where the root's key is.

    `root_dir` holds the root's key; it is the folder `root` beside the other keys where it is not given, and
    may be taken off the machine after `init`. `key_file` (mode 0600) holds the secret under which both
    authorities' keys are encrypted. One that expired less than `expired_grace_days` ago may still be renewed;
    one that was replaced opens doors for `superseded_grace_s` more.
    """

    device_days: Annotated[float, msgspec.Meta(gt=0, le=825)] = 30.0
    expired_grace_days: Annotated[float, msgspec.Meta(ge=0, le=3650)] = 90.0
    superseded_grace_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 600.0
    root_dir: Path | None = None
    key_file: Path | None = None


class Telemetry(_Section, frozen=True, kw_only=True):
    """The time-series store: `sqlite` in the data folder, or anything that speaks InfluxDB's v2 write API."""

    store: Literal["sqlite", "influx"] = "sqlite"
    url: str = ""
    bucket: str = "fleet"
    org: str = "fleet"
    token_file: Path | None = None
    retention_days: int = 365


class Documents(_Section, frozen=True, kw_only=True):
    """The services that documents need, and for how long names and papers are kept."""

    registry_url: str
    payments_url: str
    print_timeout_s: float = 180.0
    purge_after_days: int = 30


class Updates(_Section, frozen=True, kw_only=True):
    """The TUF repository that `firmware_tools publish` writes, and the timestamp's key (mode 0600)."""

    repository_dir: Path | None = None
    timestamp_key_file: Path | None = None


class Presence(_Section, frozen=True, kw_only=True):
    """How long it takes until a device counts as late, gone or back, in seconds.

    Who is back within `will_holds_s` of its will was never gone. Without a sample for `late_after_s` it is
    degraded, for `gone_after_s` offline. `flaps` greetings of one boot within `flap_window_s` make a link
    that flaps. Devices of a site that go within `together_s` are one incident; it ends when all are back for
    `over_after_s`. A device may go off `early_s` before its hours, and be back `late_s` after them. For
    `drain_s` after the ingest has begun to listen, what arrives may have waited at the broker.
    """

    will_holds_s: Annotated[float, msgspec.Meta(ge=0)] = 30.0
    late_after_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    gone_after_s: Annotated[float, msgspec.Meta(gt=0)] = 300.0
    proof_after_s: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    flap_window_s: Annotated[float, msgspec.Meta(gt=0)] = 600.0
    flaps: Annotated[int, msgspec.Meta(ge=2, le=16)] = 3
    together_s: Annotated[float, msgspec.Meta(ge=0)] = 120.0
    over_after_s: Annotated[float, msgspec.Meta(ge=0)] = 300.0
    early_s: Annotated[float, msgspec.Meta(ge=0)] = 900.0
    late_s: Annotated[float, msgspec.Meta(ge=0)] = 900.0
    drain_s: Annotated[float, msgspec.Meta(ge=0)] = 20.0


class Objects(_Section, frozen=True, kw_only=True):
    """Where recordings are kept: `folder`, or the folder `objects` below `data_dir` where it is not given."""

    folder: Path | None = None


class Transcription(_Section, frozen=True, kw_only=True):
    """What the workers (`python -m cloud worker`) transcribe recordings with.

    `model` names the card in `cloud/recordings/cards.toml`; without `model_dir` nothing is transcribed.
    Languages that the card does not know as measured are transcribed only if they stand in `languages`. What
    a worker had begun that has not been seen for `lease_s` is taken over by another.
    """

    model: str = "whisper-base"
    model_dir: Path | None = None
    languages: tuple[Literal["sq", "sr", "en"], ...] = ()
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    executor_id: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,62}$")] = "transcription-1"
    lease_s: Annotated[float, msgspec.Meta(ge=1)] = 120.0
    niceness: Annotated[int, msgspec.Meta(ge=0, le=19)] = 10


class Settings(_Section, frozen=True, kw_only=True):
    """Everything that the control plane is told.

    `data_dir` holds the databases, the PKI and the secrets (mode 0700); `public_url` is what citizens
    reach, and stands in QR codes. `https_pages` says that pages are served behind TLS (cookies get `Secure`).
    """

    data_dir: Path
    public_url: str
    executor_id: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,62}$")] = "control-1"
    https_pages: bool = False
    database_url: str = ""
    pages: Listener
    bootstrap: Listener
    device: Listener
    broker: Broker
    certificates: Certificates = Certificates()
    telemetry: Telemetry = Telemetry()
    documents: Documents
    updates: Updates = Updates()
    presence: Presence = Presence()
    objects: Objects = Objects()
    transcription: Transcription = Transcription()

    @property
    def main_database_url(self) -> str:
        """Where everything but time series is kept."""
        return self.database_url or f"sqlite:///{self.data_dir / 'fleet.db'}"

    @property
    def telemetry_database(self) -> Path:
        """The file with the telemetry lane's watermarks, and with the time series where no store is named."""
        return self.data_dir / "telemetry.db"

    @property
    def objects_dir(self) -> Path:
        """The folder of the object store."""
        return self.objects.folder or self.data_dir / "objects"

    @property
    def pki_dir(self) -> Path:
        """The folder with keys and certificates."""
        return self.data_dir / "pki"

    @property
    def root_dir(self) -> Path:
        """The folder with the root's key, which everyday work does without."""
        return self.certificates.root_dir or self.pki_dir / "root"


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read `path`, lay the environment over it.

    Raises:
        SettingsError: the file cannot be read, is no TOML, or has a key or value that is not taken.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"settings {path}: {error.strerror}; give a readable file with --settings"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings {path} is no TOML: {error}") from error
    for name, value in environ.items():
        if name.startswith(PREFIX):
            _lay_over(tree, name.removeprefix(PREFIX).lower().split("__"), value)
    try:
        chosen = msgspec.convert(tree, Settings, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise SettingsError(f"settings {path}: {error}") from error
    for key, address in {
        "public_url": chosen.public_url,
        "documents.registry_url": chosen.documents.registry_url,
        "documents.payments_url": chosen.documents.payments_url,
    }.items():
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"settings {path}: {key} is {address!r:.80}; give http:// or https://host")
    return chosen


def _path(kind: type, value: object) -> object:
    """msgspec knows no paths; this is its hook for types that it does not know."""
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise TypeError(f"expected a {kind.__name__}, got {value!r:.80}")


def _lay_over(tree: dict[str, Any], keys: list[str], value: str) -> None:
    *tables, last = keys
    for table in tables:
        below = tree.setdefault(table, {})
        if not isinstance(below, dict):
            raise SettingsError(f"{PREFIX}{'__'.join(keys).upper()}: {table} is a value, not a table")
        tree = below
    tree[last] = value
