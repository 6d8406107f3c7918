"""A real VictoriaMetrics in a temporary folder, on a free port."""

import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from tests.cloud.mosquitto import free_port

PROGRAM = shutil.which("victoria-metrics")
START_TIMEOUT_S = 30.0


class Victoria:
    """One server; `start` returns when it answers."""

    def __init__(self, folder: Path) -> None:
        if PROGRAM is None:
            pytest.skip("victoria-metrics is missing: apt-get install victoria-metrics")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        assert PROGRAM is not None
        self._process = subprocess.Popen(
            [
                PROGRAM,
                f"-storageDataPath={self._folder}",
                "-retentionPeriod=5y",
                f"-httpListenAddr=127.0.0.1:{self.port}",
                "-dedup.minScrapeInterval=1ms",
                "-search.latencyOffset=0s",
                "-loggerLevel=ERROR",
            ],
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            assert self._process.poll() is None, "victoria-metrics ended"
            assert time.monotonic() < deadline, "victoria-metrics does not answer"
            time.sleep(0.02)  # a port that opens gives no event to wait for

    def show(self) -> None:
        """Make what was written visible to queries at once, instead of within a second."""
        httpx.get(f"{self.url}/internal/force_flush").raise_for_status()

    def kill(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health").status_code == 200
        except httpx.HTTPError:
            return False
