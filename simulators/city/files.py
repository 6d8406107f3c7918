"""The files that the city's programs are told by: their settings in TOML, and the embedded broker's."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EMBEDDED_PAYLOAD_BYTES_MAX = 262_144
"""As mosquitto's max_packet_size: twice the largest message of the contract."""
EMBEDDED_INFLIGHT_MAX = 1000


def write_toml(path: Path, tree: Mapping[str, Any]) -> Path:
    """Write `tree` (texts, numbers, booleans, lists, paths, one level of tables) for its owner only."""
    lines = [f"{key} = {_value(value)}" for key, value in tree.items() if not isinstance(value, Mapping)]
    for name, table in tree.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_private(path, "\n".join(lines) + "\n")
    return path


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    assert isinstance(value, str | Path), f"{value!r} has no place in our TOML"
    return json.dumps(str(value), ensure_ascii=False)  # TOML's basic strings take JSON's escapes


def write_embedded_broker(path: Path, port: int) -> Path:
    """The configuration of `python -m iotcore`: MQTT 5 on loopback, without certificates."""
    path.write_text(
        f"""id = 0

[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[v5.1]
name = "loopback"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = {EMBEDDED_PAYLOAD_BYTES_MAX}
max_inflight_count = {EMBEDDED_INFLIGHT_MAX}
""",
        encoding="utf-8",
    )
    return path
