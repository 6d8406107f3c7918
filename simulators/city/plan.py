"""How large the city is, and the settings of each of its programs."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from simulators.city.servers import LOOPBACK, free_ports

KIOSKS = 16
HALLS = 2
SITES = (
    "Komuna e Prishtinës",
    "Dardania",
    "Arbëria",
    "Ulpiana",
    "Mati 1",
    "Kodra e Trimave",
    "Germia",
    "Llap",
)
HALL_SITE = "Kuvendi i Komunës"
PYTHON = sys.executable


@dataclass(frozen=True)
class Plan:
    """What is to be built. `cache` holds what is made once for all cities: speech models and the debate."""

    data: Path
    cache: Path
    kiosks: int = KIOSKS
    halls: int = HALLS
    broker: Literal["auto", "mosquitto", "embedded"] = "auto"
    printers: Literal["auto", "cups", "own"] = "auto"
    seed: int = 7
    telemetry_period_s: float = 10.0
    after_debate: Literal["silence", "loop"] = "loop"
    segment_s: float = 30.0
    """Of the recordings: short, so that a short sitting has several segments."""
    upload_bytes_per_s: int = 4_000_000

    @property
    def kiosk_ids(self) -> list[str]:
        """kiosk-01, kiosk-02, …"""
        return [f"kiosk-{number:02d}" for number in range(1, self.kiosks + 1)]

    @property
    def board_ids(self) -> list[str]:
        """Kiosks with an I/O board whose firmware can be updated: the first one."""
        return self.kiosk_ids[:1]

    @property
    def hall_ids(self) -> list[str]:
        """hall-01, hall-02, …"""
        return [f"hall-{number:02d}" for number in range(1, self.halls + 1)]

    def site(self, device: str) -> str:
        """Where a device stands."""
        if device in self.hall_ids:
            return HALL_SITE
        return SITES[(int(device.rsplit("-", 1)[1]) - 1) % len(SITES)]


@dataclass(frozen=True)
class Ports:
    """Every port of one city; `kiosks` are those of the touch pages."""

    pages: int
    bootstrap: int
    device: int
    broker: int
    cadastre: int
    payments: int
    kiosks: Mapping[str, int]

    @classmethod
    def free(cls, plan: Plan) -> "Ports":
        """Ports that nobody uses now."""
        pages, bootstrap, device, broker, cadastre, payments, *touch = free_ports(6 + plan.kiosks)
        return cls(
            pages=pages,
            bootstrap=bootstrap,
            device=device,
            broker=broker,
            cadastre=cadastre,
            payments=payments,
            kiosks=dict(zip(plan.kiosk_ids, touch, strict=True)),
        )

    @property
    def pages_url(self) -> str:
        """Where people find the control plane."""
        return f"http://{LOOPBACK}:{self.pages}"


def cloud_settings(plan: Plan, ports: Ports, *, tls: bool) -> dict[str, Any]:
    """The control plane's."""
    return {
        "data_dir": plan.data.resolve() / "cloud",
        "public_url": ports.pages_url,
        "pages": {"host": LOOPBACK, "port": ports.pages},
        "bootstrap": {"host": LOOPBACK, "port": ports.bootstrap},
        "device": {"host": LOOPBACK, "port": ports.device},
        "broker": {"host": "localhost", "port": ports.broker, "tls": tls},
        "documents": {
            "registry_url": f"http://{LOOPBACK}:{ports.cadastre}",
            "payments_url": f"http://{LOOPBACK}:{ports.payments}",
        },
        "transcription": {"model_dir": plan.cache.resolve() / "models" / "whisper-base"},
    }


def agent_settings(plan: Plan, ports: Ports, device: str, folder: Path, *, tls: bool) -> dict[str, Any]:
    """What is the same in the settings of every agent."""
    return {
        "device": device,
        "kind": "recorder" if device in plan.hall_ids else "kiosk",
        "site": plan.site(device),
        "data_dir": folder / "data",
        "token_file": folder / "token",
        "broker": {"host": "localhost", "port": ports.broker, "tls": tls},
        "cloud": {
            "bootstrap_url": f"https://localhost:{ports.bootstrap}",
            "device_url": f"https://localhost:{ports.device}",
            "ca_file": plan.data.resolve() / "cloud" / "pki" / "ca.pem",
        },
        "telemetry": {
            "period_s": plan.telemetry_period_s,
            "temperature_file": folder / "temperature",
        },
    }
