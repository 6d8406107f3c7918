"""Where good ends: one table for the colours of panels and the conditions of alerts.

The red ones are those of the cloud's own status page, where it has them; a test compares the two.
"""

from typing import Final

ONLINE_S: Final = 120.0
"""A device that was heard within so long is online; twelve sampling periods."""
SILENT_S: Final = 300.0
"""From here on a device is silent: a panel is red and the site's alert fires."""
PAPER_EMPTY: Final = 1.0
PAPER_KIOSKS: Final = (1.0, 3.0)
"""Kiosks in trouble: orange, red."""
DISK_PCT: Final = (80.0, 90.0)
MEMORY_PCT: Final = (80.0, 95.0)
CPU_PCT: Final = (80.0, 95.0)
TEMPERATURE_C: Final = (70.0, 80.0)
SKEW_MS: Final = (1_000.0, 60_000.0)
OUTBOX_WAITING: Final = (100.0, 500.0)
"""Of one device."""
OUTBOX_WAITING_FLEET: Final = (2_000.0, 100_000.0)
OUTBOX_BYTES: Final = (16_000_000.0, 48_000_000.0)
"""An outbox takes 64 MB where the settings do not say otherwise."""
TAKEN_OVER: Final = (2.0, 20.0)
DROPPED: Final = (1.0, 10_000.0)
DROPPED_EVER: Final = (1.0, 1_000_000.0)
MISSING: Final = (1.0, 1_000.0)
REPEATED: Final = (100_000.0, 10_000_000.0)
RETURNS: Final = (1.0, 100.0)
SHARED: Final = (0.5, 1.0)
"""Of one device: 0 or 1."""
LOST: Final = (1.0, 100.0)
TONER_PCT: Final = (5.0, 15.0)
UPTIME_S: Final = (600.0, 3_600.0)
LAG_MS: Final = (2_000.0, 30_000.0)
REFUSED: Final = (1.0, 1_000.0)
RECORDINGS_WAITING_BYTES: Final = (500_000_000.0, 5_000_000_000.0)
"""Of one recorder: an hour and a half of sound, and fifteen hours."""
