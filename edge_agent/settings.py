"""The agent's settings: one TOML file, each key overridable by `FLEET_…` in the environment.

`FLEET_BROKER__PORT=8883` sets `port` in `[broker]`. Unknown keys are an error. Secrets are files.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from contract.documents import Kind
from contract.enrolment import device_id
from contract.errors import MalformedError
from contract.topics import ROOT_DEFAULT
from edge_agent.errors import SettingsError

PREFIX = "FLEET_"

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; an unknown key is an error."""


class Broker(_Section, frozen=True, kw_only=True):
    """Where the link connects to. `tls = false` is for the one-machine demo on loopback only."""

    host: Text
    port: Port = 8883
    tls: bool = True
    root: str = ROOT_DEFAULT
    keepalive_s: Count = 30
    ack_timeout_s: Seconds = 20.0


class Cloud(_Section, frozen=True, kw_only=True):
    """The control plane's two listeners for devices, and the certificate that they are trusted by."""

    bootstrap_url: str
    device_url: str
    ca_file: Path
    timeout_s: Seconds = 15.0


class Telemetry(_Section, frozen=True, kw_only=True):
    """How often health is sampled. `temperature_file` is a sensor in the format of Linux's thermal zones."""

    period_s: Seconds = 10.0
    temperature_file: Path | None = None


class Outbox(_Section, frozen=True, kw_only=True):
    """Bounds of what waits on the device's disk; telemetry older than `age_max_s` (30 days) is dropped.

    What was dropped is told to the cloud no more often than each `declare_every_s`; a disk that was full is
    tried again each `reserve_every_s`.
    """

    rows_max: Count = 50_000
    bytes_max: Count = 64_000_000
    window: Count = 20
    age_max_s: Seconds = 2_592_000.0
    declare_every_s: Seconds = 60.0
    reserve_every_s: Seconds = 30.0


class Kiosk(_Section, frozen=True, kw_only=True):
    """A kiosk's hardware and its touch page.

    `kinds` are the documents that it offers, `language` is that of its first screen; `municipality` is the
    name in each language. `verify_url` is where anybody can verify a paper; receipts say it. `timezone` is
    the civil time of receipts (Kosovo has no name of its own in the time zone database). `board_port` is the
    serial line of the I/O board; a kiosk may have none.
    """

    page_host: str = "127.0.0.1"
    page_port: Port
    printer_uri: str
    document_reader_port: Path
    receipt_printer_port: Path
    board_port: Path | None = None
    terminal_url: str
    visit_idle_s: Seconds = 90.0
    print_timeout_s: Seconds = 120.0
    kinds: list[Text] = msgspec.field(default_factory=lambda: [kind.value for kind in Kind])
    language: Text = "sq"
    municipality: dict[str, Text] = msgspec.field(
        default_factory=lambda: {
            "sq": "Komuna e Prishtinës",
            "sr-Latn": "Opština Priština",
            "sr-Cyrl": "Општина Приштина",
            "en": "Municipality of Pristina",
        }
    )
    verify_url: str = ""
    timezone: Text = "Europe/Belgrade"


class Recorder(_Section, frozen=True, kw_only=True):
    """A hall's microphone, recogniser and recordings.

    `microphone_command` writes 16-bit little-endian PCM to its stdout; `floor_command` a line of JSON for
    each seat that takes or gives back the floor: `{"seat": "12", "on": true}`. A segment of a recording
    lasts `segment_s`; at most the last `audio_sync_s` are lost in a power cut. Sound waits for the server
    within `recordings_bytes_max` and leaves `free_bytes_min` of the disk alone; uploads keep to
    `upload_bytes_per_s` on the average, 0 is no bound.
    """

    microphone_command: Annotated[list[Text], msgspec.Meta(min_length=1)]
    microphone_rate_hz: Count = 48_000
    engine: Literal["whisper", "vosk"] = "whisper"
    model_dir: Path
    vad_model: Path
    model_languages: tuple[str, ...] = ("en",)
    floor_command: list[Text] = []
    segment_s: Seconds = 600.0
    audio_sync_s: Seconds = 1.0
    recordings_bytes_max: Count = 20_000_000_000
    free_bytes_min: Count = 500_000_000
    upload_bytes_per_s: Annotated[int, msgspec.Meta(ge=0)] = 4_000_000


class Certificate(_Section, frozen=True, kw_only=True):
    """The device's certificate: under which secret its key lies on the disk, and when it is renewed.

    `key_file` (mode 0600) holds the key-encryption key; without one the device makes its own, in `data_dir`.
    A certificate is renewed once `renew_at_share` of its life and by chance up to `renew_jitter_share` more
    are over. What many may want in one moment, as at the end of a certificate, each asks for by chance
    within `spread_s`; a new token is asked with at once. A new certificate that has not connected within
    `trial_s` is put back. After a failure it is tried again within `retry_s`, twice as long after each more,
    up to `retry_max_s`; who was refused waits `refused_s`, and a new token is looked for each
    `token_look_s`.
    """

    key_file: Path | None = None
    renew_at_share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 2 / 3
    renew_jitter_share: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.05
    spread_s: Seconds = 60.0
    trial_s: Seconds = 60.0
    retry_s: Seconds = 60.0
    retry_max_s: Seconds = 3600.0
    refused_s: Seconds = 1800.0
    token_look_s: Seconds = 5.0


class Updates(_Section, frozen=True, kw_only=True):
    """Updates of this device: none without `root_file`, the root of the repository's keys that it trusts.

    `slots_dir` is where the launcher finds releases (`slots` in the data folder if empty). The limits of a
    trial are those of `edge_agent.updates.core.Limits` and of the launcher.
    """

    root_file: Path | None = None
    slots_dir: str = ""
    self_test_s: Seconds = 120.0
    link_s: Seconds = 900.0
    trial_s: Seconds = 86_400.0
    trial_starts_max: Count = 3
    trial_silence_s: Seconds = 60.0


class Settings(_Section, frozen=True, kw_only=True):
    """Everything that the agent is told."""

    device: str
    kind: Literal["kiosk", "recorder"]
    site: str
    data_dir: Path
    token_file: Path | None = None
    broker: Broker
    cloud: Cloud
    telemetry: Telemetry = Telemetry()
    outbox: Outbox = Outbox()
    kiosk: Kiosk | None = None
    recorder: Recorder | None = None
    certificate: Certificate = Certificate()
    updates: Updates = Updates()


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read `path`, lay the environment over it.

    Raises:
        SettingsError: the file cannot be read, is no TOML, or has a key or value that is not taken.
    """
    tree = overlaid(path, environ)
    try:
        settings = msgspec.convert(tree, Settings, strict=False, dec_hook=_path)
        device_id(settings.device)
    except (msgspec.ValidationError, MalformedError) as error:
        raise SettingsError(f"settings {path}: {error}") from error
    return settings


def overlaid(path: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    """The tree in `path` with the environment laid over it, not held to anything yet.

    Raises:
        SettingsError: the file cannot be read, or is no TOML.
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
    return tree


def _path(kind: type, value: object) -> object:
    """msgspec knows no paths; this is its hook for types that it does not know."""
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    raise TypeError(f"expected a {kind.__name__}, got {value!r:.80}")


def _lay_over(tree: dict[str, Any], keys: list[str], value: str) -> None:
    *tables, last = keys
    for table in tables:
        tree = tree.setdefault(table, {})
    tree[last] = value
