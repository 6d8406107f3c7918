"""The broker's configuration: who may connect is decided by certificates, who may say what by the contract.

For mosquitto 2.0. Reasons for single lines stand beside them; what they cost was measured on 2.0.11.
"""

import shutil
from pathlib import Path

import msgspec

from cloud.broker_log import SERVICE as READER
from cloud.broker_log import SETTINGS_FILE
from cloud.broker_refusals import REPORT_TOPIC
from cloud.errors import SettingsError
from cloud.files import write_durably
from cloud.settings import Broker
from contract import topics

FILES = {
    "ca.pem": "authorities.pem",
    "broker.pem": "broker.pem",
    "broker.key": "broker.key",
    "crl.pem": "crl.pem",
    f"{READER}.pem": f"{READER}.pem",
    f"{READER}.key": f"{READER}.key",
}
"""What the broker and the reader of its log read, and its name in the PKI. Devices show no chain, so the
broker knows both authorities.

It checks the list for whoever shows a certificate and for nobody above: only those of an authority whose list
is in `crl.pem` get in.
"""
PACKET_BYTES_MAX = 262_144
"""Twice the largest message of the contract, so that it is we who refuse and say why."""
KEEPALIVE_S_MAX = 300
MEMORY_BYTES_MAX = 1_073_741_824
SESSION_DAYS = 14
AUTOSAVE_S = 30
"""What waits is on the disk at SIGTERM and this often; what a kill costs is sent again by the outboxes."""
FIGURES_S = 10

INGEST_READS = frozenset({"telemetry"})
INGEST_WRITES = frozenset({"ack"})
CONTROL_READS = frozenset(row.name for row in topics.TOPICS if row.sender == "device") - INGEST_READS
CONTROL_WRITES = frozenset(row.name for row in topics.TOPICS if row.sender == "cloud")


def write(
    settings: Broker, pki: Path, out: Path, *, bind: str, port: int, root: bool, home: Path | None = None
) -> Path:
    """Put `mosquitto.conf`, its access rules and copies of the files it reads into `out`; gives its path.

    `python -m cloud.broker_log` with the folder then starts it.

    `bind` and `port` are where it listens; `root` says that it will be started by root. `home` is where the
    files will lie when the broker reads them, if that is elsewhere.

    Raises:
        SettingsError: the PKI is not there yet, or `out` cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
        (out / "data").mkdir(exist_ok=True, mode=0o700)
        for name, source in FILES.items():
            shutil.copy2(pki / source, out / name)
        write_durably(out / "acl", access_rules(settings.root).encode())
        write_durably(out / SETTINGS_FILE, msgspec.json.encode(settings))
        text = configuration(settings, home or out.resolve(), bind=bind, port=port, root=root)
        write_durably(out / "mosquitto.conf", text.encode())
    except OSError as error:
        raise SettingsError(
            f"{error.filename}: {error.strerror}; run `python -m cloud init` first, and give a folder that "
            "can be written"
        ) from error
    return out / "mosquitto.conf"


def access_rules(root: str) -> str:
    """The ACL file: each device below its own name, each service what it needs."""
    lines = ["# Made by `python -m cloud broker-config` from contract/topics.py.", "user svc-control"]
    lines += topics.service_rules(CONTROL_WRITES, CONTROL_READS, root=root)
    lines += ["topic read $SYS/#", f"topic read {REPORT_TOPIC}", "", "user svc-ingest"]
    lines += topics.service_rules(INGEST_WRITES, INGEST_READS, root=root)
    lines += ["", f"user {READER}", f"topic write {REPORT_TOPIC}"]
    lines += ["", "# %u is the common name in the certificate"]
    lines += topics.device_rules(root=root)
    return "\n".join(lines) + "\n"


def configuration(settings: Broker, folder: Path, *, bind: str, port: int, root: bool) -> str:
    """The text of `mosquitto.conf` for files in `folder`."""
    # Started by root it becomes `mosquitto` or `nobody`, who can read neither the key nor write the data,
    # and says so nowhere.
    user = "user root\n" if root else ""
    return f"""\
# Made by `python -m cloud broker-config`; changes are lost when it is made again.
per_listener_settings false
{user}log_dest stderr
log_type error
log_type warning
log_type notice
log_type information
connection_messages true
log_timestamp_format %Y-%m-%dT%H:%M:%S

persistence true
persistence_location {folder}/data/
autosave_interval {AUTOSAVE_S}
persistent_client_expiration {SESSION_DAYS}d
sys_interval {FIGURES_S}

# A consumer that acknowledges after its write needs a window as large as its batch: 76 messages a second
# were measured with 20, 10 000 with 1000.
max_inflight_messages {settings.receive_maximum}
set_tcp_nodelay true
# Beyond it the newest are dropped, and their senders told that they are taken; `$SYS` counts them.
max_queued_messages {settings.queued_max}
queue_qos0_messages false
max_packet_size {PACKET_BYTES_MAX}
max_keepalive {KEEPALIVE_S_MAX}
memory_limit {MEMORY_BYTES_MAX}
max_topic_alias 10
retain_available true
upgrade_outgoing_qos false

# The certificate is the only identity; without `use_username_as_clientid` a device could take over a
# service's session by its client id.
allow_anonymous false
acl_file {folder}/acl
listener {port} {bind}
cafile {folder}/ca.pem
certfile {folder}/broker.pem
keyfile {folder}/broker.key
crlfile {folder}/crl.pem
require_certificate true
use_identity_as_username true
use_username_as_clientid true
tls_version tlsv1.2
max_connections {settings.connections_max}
"""
