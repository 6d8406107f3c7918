"""Time series in one SQLite file: enough for a city on one machine, and nothing to install."""

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

from cloud.errors import UnavailableError
from cloud.telemetry.store import Last, Point, floor_ms

BUSY_TIMEOUT_S = 10.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY, device TEXT NOT NULL, metric TEXT NOT NULL, UNIQUE (device, metric)
);
CREATE TABLE IF NOT EXISTS points (
    series INTEGER NOT NULL, at INTEGER NOT NULL, value REAL NOT NULL, PRIMARY KEY (series, at)
) WITHOUT ROWID;
"""
_LATEST = "SELECT at, value FROM points WHERE series = ? AND at > ? AND at <= ? ORDER BY at DESC LIMIT 1"
_SERIES = """
SELECT (p.at + :step - 1) / :step * :step AS step_end, avg(p.value)
FROM points p JOIN series s ON s.id = p.series
WHERE s.device = :device AND s.metric = :metric AND p.at > :since AND p.at <= :until
GROUP BY step_end ORDER BY step_end
"""


class SqliteStore:
    """See `cloud.telemetry.store.TelemetryStore`. One connection, one call at a time."""

    def __init__(self, path: Path) -> None:
        self._one = threading.Lock()
        self._connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(SCHEMA)
        self._ids: dict[tuple[str, str], int] = {}

    def write(self, points: Sequence[Point]) -> None:
        """Store in one transaction, synced to the disk.

        Raises:
            UnavailableError: the file is locked, full or broken.
        """
        with self._one:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(
                    "INSERT OR REPLACE INTO points VALUES (?, ?, ?)",
                    [
                        (self._id(point.device, metric), point.at, value)
                        for point in points
                        for metric, value in point.values
                    ],
                )
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._ids.clear()  # those made in this transaction are gone with it
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise UnavailableError(f"the telemetry database does not take points: {error}") from error

    def latest(self, devices: Sequence[str], since: int, until: int) -> dict[str, dict[str, Last]]:
        """The newest of each; one look into the index per series."""
        found: dict[str, dict[str, Last]] = {}
        with self._one:
            for device in devices:
                named = self._connection.execute("SELECT id, metric FROM series WHERE device = ?", (device,))
                for series, metric in named.fetchall():
                    row = self._connection.execute(_LATEST, (series, since, until)).fetchone()
                    if row is not None:
                        found.setdefault(device, {})[metric] = Last(*row)
        return found

    def series(
        self, device: str, metric: str, since: int, until: int, step_s: int
    ) -> list[tuple[int, float]]:
        """Means over steps."""
        values = {
            "device": device,
            "metric": metric,
            "since": floor_ms(since, step_s),
            "until": floor_ms(until, step_s),
            "step": step_s * 1000,
        }
        with self._one:
            return self._connection.execute(_SERIES, values).fetchall()

    def forget(self, before: int) -> None:
        """Delete what is old, series by series, so that no other call waits for long."""
        with self._one:
            ids = [row[0] for row in self._connection.execute("SELECT id FROM series")]
        for series in ids:
            with self._one:
                self._connection.execute("DELETE FROM points WHERE series = ? AND at < ?", (series, before))

    def close(self) -> None:
        """Close the file."""
        with self._one:
            self._connection.close()

    def _id(self, device: str, metric: str) -> int:
        known = self._ids.get((device, metric))
        if known is None:
            self._connection.execute(
                "INSERT OR IGNORE INTO series (device, metric) VALUES (?, ?)", (device, metric)
            )
            known = self._ids[device, metric] = int(
                self._connection.execute(
                    "SELECT id FROM series WHERE device = ? AND metric = ?", (device, metric)
                ).fetchone()[0]
            )
        return known
