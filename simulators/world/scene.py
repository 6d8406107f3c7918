"""What checkers look at, and what one is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from simulators.world.broker import Broker
from simulators.world.certificates import Certificates
from simulators.world.cloud import Cloud
from simulators.world.device import Device
from simulators.world.kiosk import Kiosk
from simulators.world.printer import Printer
from simulators.world.recorder import Recorder
from simulators.world.twin import DeviceTwin
from simulators.world.updates import Updater


@dataclass(frozen=True)
class Scene:
    """Everything that checkers look at. `unlucky` are devices whose last usable certificate was revoked."""

    devices: list[Device]
    printers: list[Printer]
    kiosks: list[Kiosk]
    recorders: list[Recorder]
    updaters: list[Updater]
    certificates: list[Certificates]
    unlucky: list[str]
    twins: list[DeviceTwin]
    broker: Broker
    cloud: Cloud
    healed_ms: int
    now_s: float


Checker = Callable[[Scene], Iterator[str]]
