"""A real InfluxDB 1.6 in a temporary folder, on free ports. Its v2 write API does not exist: /write it is."""

import json
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from simulators.city.servers import free_ports

START_S = 60.0
CONFIGURATION = """
reporting-disabled = true
bind-address = "127.0.0.1:{inner}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
query-log-enabled = false
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
"""


class Influx:
    """One server with the database `fleet`."""

    def __init__(self, folder: Path) -> None:
        inner, port = free_ports(2)
        self.url = f"http://127.0.0.1:{port}"
        self._file = folder / "influxdb.conf"
        self._file.write_text(CONFIGURATION.format(folder=folder, inner=inner, port=port), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self._http = httpx.Client(base_url=self.url, timeout=60)

    def __enter__(self) -> Self:
        program = shutil.which("influxd")
        if program is None:
            pytest.fail("influxd is missing: apt-get install influxdb")
        words = [program, "-config", str(self._file)]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                self._http.get("/ping").raise_for_status()
            except httpx.HTTPError:
                try:
                    self._process.wait(timeout=0.05)
                except subprocess.TimeoutExpired:
                    continue
                pytest.fail("influxd ended")
            else:
                self._http.post("/query", params={"q": "CREATE DATABASE fleet"}).raise_for_status()
                return self
        self._end()
        return pytest.fail("influxd does not answer")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def write(self, lines: str) -> None:
        """Line protocol with times in ms."""
        answer = self._http.post("/write", params={"db": "fleet", "precision": "ms"}, content=lines.encode())
        assert answer.status_code == 204, answer.text

    def ask(self, influxql: str) -> list[dict[str, Any]]:
        """The series of one statement."""
        answer = self._http.get("/query", params={"db": "fleet", "epoch": "ms", "q": influxql})
        told = json.loads(answer.text)["results"][0]
        assert "error" not in told, told
        found: list[dict[str, Any]] = told.get("series", [])
        return found

    def _end(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._http.close()
