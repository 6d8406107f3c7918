"""The words of the status page, marked for translation."""

from cloud.telemetry.health import Concern, Newcomer
from cloud.web.languages import N_
from contract.presence import PRESENCE

METRICS = {
    "cpu_pct": N_("Processor"),
    "memory_pct": N_("Memory"),
    "disk_pct": N_("Disk"),
    "temperature_c": N_("Temperature"),
    "clock_skew_ms": N_("Clock difference"),
    "outbox_waiting": N_("Messages waiting on the device"),
    "printer_toner_pct": N_("Toner"),
    "microphone_level_dbfs": N_("Microphone level"),
}
UNITS = {
    "cpu_pct": "%",
    "memory_pct": "%",
    "disk_pct": "%",
    "temperature_c": "°C",
    "clock_skew_ms": "ms",
    "outbox_waiting": "",
    "printer_toner_pct": "%",
    "microphone_level_dbfs": "dBFS",
}
SCALES: dict[str, tuple[float, float]] = {
    "cpu_pct": (0, 100),
    "memory_pct": (0, 100),
    "disk_pct": (0, 100),
    "printer_toner_pct": (0, 100),
    "microphone_level_dbfs": (-120, 0),
    "outbox_waiting": (0, 10),
    "clock_skew_ms": (-100, 100),
}
"""What the vertical axis shows at least."""
CONCERNS = {
    Concern.OFFLINE: N_("Not connected: look at its power and its cable"),
    Concern.FLAPPING: N_("Its link comes and goes: look at its cable"),
    Concern.SILENT: N_("Connected, but sends no values: restart its agent"),
    Concern.PAPER: N_("The paper is empty: refill it"),
    Concern.JAM: N_("The paper is jammed: open the printer"),
    Concern.PRINTER: N_("The printer does not work: look at its display"),
    Concern.TONER: N_("The toner is nearly empty: replace it"),
    Concern.DISK: N_("The disk is nearly full: collect diagnostics"),
    Concern.MEMORY: N_("The memory is nearly full: restart its agent"),
    Concern.HOT: N_("It is too hot: look at its fan"),
    Concern.CLOCK: N_("Its clock is wrong: look at its time server"),
    Concern.OUTBOX: N_("Many messages wait on the device: look at its connection"),
}
NEWCOMERS = {Newcomer.AWAITED: N_("awaited"), Newcomer.TOKENLESS: N_("no token")}
NEWCOMER_CHIPS = {Newcomer.AWAITED: "info", Newcomer.TOKENLESS: "warn"}
STATES = {"online": N_("Connected"), "degraded": N_("Unsteady"), "offline": N_("Not connected")}
STATE_CHIPS = {"online": "good", "degraded": "warn", "offline": "bad"}
RANGES = {"15m": N_("15 minutes"), "1h": N_("1 hour"), "24h": N_("24 hours")}

assert set(METRICS) == set(UNITS)
assert set(CONCERNS) == set(Concern)
assert set(NEWCOMERS) == set(NEWCOMER_CHIPS) == set(Newcomer)
assert set(STATES) == set(STATE_CHIPS) == set(PRESENCE.states)
