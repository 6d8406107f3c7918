"""A real VictoriaMetrics in a temporary folder, on a free port."""

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

START_TRIES = 400
"""Looks of 50 ms each: the process is waited for in between, so that its end is seen at once."""


class Victoria:
    """One store; `url` is where it is written to and asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"

    def __enter__(self) -> Self:
        program = shutil.which("victoria-metrics")
        if program is None:
            pytest.fail("victoria-metrics is missing: apt-get install victoria-metrics")
        words = [
            program,
            f"-storageDataPath={self._folder}",
            f"-httpListenAddr={self.url.removeprefix('http://')}",
            "-dedup.minScrapeInterval=1ms",
            "-search.latencyOffset=0s",
            "-retentionPeriod=5y",
        ]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(START_TRIES):
            try:
                self._get("/health")
            except (urllib.error.URLError, ConnectionError):
                try:
                    _, told = self._process.communicate(timeout=0.05)
                except subprocess.TimeoutExpired:
                    continue
                pytest.fail(f"victoria-metrics ended: {told[-2000:].decode()}")
            else:
                return self
        self._end()
        return pytest.fail("victoria-metrics does not answer")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def settle(self) -> None:
        """Make everything that was written visible to queries."""
        self._get("/internal/force_flush")

    def ask(self, promql: str, at_s: float) -> list[dict[str, Any]]:
        """An instant query: the series, each with `metric` (its labels) and `value` (time, text)."""
        return self._result("query", {"query": promql, "time": at_s, "nocache": 1})

    def ask_range(self, promql: str, since_s: float, until_s: float, step_s: int) -> list[dict[str, Any]]:
        """A query over time: the series, each with `metric` and `values`."""
        words = {"query": promql, "start": since_s, "end": until_s, "step": f"{step_s}s", "nocache": 1}
        return self._result("query_range", words)

    def values_of(self, tag: str, selector: str) -> list[str]:
        """What Grafana's `label_values(selector, tag)` gives."""
        words = urllib.parse.urlencode({"match[]": selector, "start": 0})
        answer = json.loads(self._get(f"/api/v1/label/{tag}/values?{words}"))
        return [str(value) for value in answer["data"]]

    def _result(self, kind: str, words: dict[str, Any]) -> list[dict[str, Any]]:
        answer = json.loads(self._get(f"/api/v1/{kind}?{urllib.parse.urlencode(words)}"))
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return bytes(answer.read())

    def _end(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()
