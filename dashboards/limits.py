"""Where good ends: one table for the colours of panels and the conditions of alerts.

The red ones are those of the cloud's own status page, where it has them; a test compares the two.
"""

from typing import Final

ONLINE_S: Final = 120.0
"""A device that was heard within so long is online; twelve sampling periods."""
SILENT_S: Final = 300.0
"""From here on a device is silent: a panel is red."""
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
CERTIFICATE_DAYS: Final = (3.0, 14.0)
CERTIFICATE_FAILURES: Final = (1.0, 5.0)
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
INCIDENTS: Final = (0.5, 1.0)
"""Of one site: one is one too many."""
AWAY: Final = (1.0, 3.0)
DEAF_S: Final = (60.0, 300.0)
ISSUER_DAYS: Final = (365.0, 800.0)
"""From 800 on `init` asks for the root's key."""
ROOT_DAYS: Final = (730.0, 1_825.0)
"""An issuing authority lives for 1,825 days, and no longer than its root."""
SERVERS_DAYS: Final = (30.0, 45.0)
"""With less than 30 left `init` makes them anew."""
REVOCATIONS_DAYS: Final = (10.0, 14.0)
"""With less than 15 left a list is signed anew, within a minute."""
FORMER_DEVICES: Final = (1.0, 100_000.0)
"""They change by themselves; it is never red in a city."""
BROKER_DROPS: Final = (0.5, 1.0)
BROKER_FULL_PCT: Final = (60.0, 80.0)
BROKER_DROPPED: Final = (1.0, 10_000.0)
BROKER_CONNECTIONS: Final = (12_000.0, 16_000.0)
"""Of 20,000 that the generated configuration lets in."""
BROKER_SESSIONS: Final = (20_000.0, 50_000.0)
BROKER_MESSAGES: Final = (50_000.0, 500_000.0)
BROKER_BYTES: Final = (250_000_000.0, 800_000_000.0)
"""The generated configuration lets it have 1 GiB of memory."""
BROKER_RATE: Final = (5_000.0, 10_000.0)
"""Messages in a second; one ingest takes 10,000."""
