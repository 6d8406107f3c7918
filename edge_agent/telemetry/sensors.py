"""What this machine says of itself; a reading that cannot be had is left out, never invented."""

import shutil
import time
from pathlib import Path

import psutil

from contract.telemetry import Value

PROCESSOR_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal")
"""Names of Linux drivers whose sensors sit in the processor."""


class Machine:
    """Readings of this machine.

    The disk is the one that holds `data_dir`. `temperature_file`, where the settings name one, holds
    thousandths of a degree Celsius, as Linux's `/sys/class/thermal/thermal_zone*/temp` does; it is read
    instead of psutil's sensors.
    """

    def __init__(self, data_dir: Path, temperature_file: Path | None = None) -> None:
        self._data_dir = data_dir
        self._temperature_file = temperature_file
        psutil.cpu_percent()  # the first call only starts the measurement

    def read(self) -> dict[str, Value]:
        """The metrics of `contract.telemetry` that this machine has."""
        disk = shutil.disk_usage(self._data_dir)
        found: dict[str, Value] = {
            "cpu_pct": psutil.cpu_percent(),
            "memory_pct": psutil.virtual_memory().percent,
            "disk_pct": round(100 * disk.used / disk.total, 1),
            "uptime_s": max(0, int(time.time() - psutil.boot_time())),  # noqa: TID251 psutil tells a wall time
        }
        hottest = self._temperature()
        if hottest is not None:
            found["temperature_c"] = hottest
        return found

    def _temperature(self) -> float | None:
        if self._temperature_file is not None:
            try:
                return int(self._temperature_file.read_text(encoding="ascii")) / 1000
            except (OSError, ValueError):
                return None  # the sensor does not answer; the missing reading is what operators see
        if not hasattr(psutil, "sensors_temperatures"):
            return None  # only Linux and FreeBSD have it
        found = psutil.sensors_temperatures()
        readings = [float(one.current) for name in PROCESSOR_SENSORS for one in found.get(name, ())]
        return max(readings, default=None)
