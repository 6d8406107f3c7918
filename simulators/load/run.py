"""What a load does: connect, speak for a while, perhaps lose the broker, drain; and what came of it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from simulators.load.fleet import Fleet, Speech, wall_ms
from simulators.load.place import Ledger, Place
from simulators.load.tally import peak_per_s, percentile

CONNECT_S = 120.0
DRAIN_S = 300.0

Tell = Callable[[str], None]
End = Literal["none", "term", "kill"]


@dataclass(frozen=True)
class Plan:
    """A load: `seconds` of speech before the broker goes (if it does) and stays away for `outage_s`."""

    speech: Speech
    seconds: float
    end: End
    outage_s: float


@dataclass(frozen=True)
class Storm:
    """What came after the broker was back; seconds since it listened again.

    `cpu_s` are processor seconds from there until everything had drained: broker, ingest, and this generator
    with all its devices.
    """

    all_connected_s: float
    drained_s: float
    connects_peak_per_s: int
    dials_peak_per_s: int
    waiting: int
    cpu_s: dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """Of all messages: what the devices recorded, the cloud acknowledged, and its store has.

    `again` were sent more than once. `lost` are samples that the store has not, `duplicated` those that it
    has more than once, each device by itself. Lags are from the sample to the cloud's word that it is stored.
    """

    devices: int
    seconds: float
    recorded: int
    again: int
    acknowledged: int
    dropped: int
    lost: int
    duplicated: int
    counted: int
    gaps: int
    lag_p50_ms: float
    lag_p95_ms: float
    lag_p99_ms: float
    connects_peak_per_s: int
    storm: Storm | None

    @property
    def whole(self) -> bool:
        """Whether nothing was lost, doubled or dropped, and the cloud's ledger says the same."""
        return (
            self.lost == self.duplicated == self.dropped == self.gaps == 0
            and self.recorded == self.acknowledged == self.counted
        )

    def shown(self) -> dict[str, Any]:
        """For a report."""
        return asdict(self) | {"whole": self.whole}


async def play(place: Place, plan: Plan, tell: Tell) -> Outcome:
    """Let the place's devices live through the plan.

    Raises:
        TimeoutError: they did not all connect, or not everything was acknowledged in time.
    """
    loop = asyncio.get_running_loop()
    before = place.ledger()
    fleet = Fleet(place.port, place.identities, plan.speech)
    began = loop.time()
    storm = None
    async with fleet.living():
        up = await fleet.wait(fleet.all_connected, CONNECT_S, "all devices are connected")
        first_peak = peak_per_s(fleet.dials.up_at, began)
        tell(
            f"load: {len(fleet.devices)} devices connected in {up - began:.1f} s, {first_peak} in one second"
        )
        await asyncio.sleep(plan.seconds)
        if plan.end != "none":
            storm = await _storm(place, plan, fleet, tell)
        fleet.be_quiet()
        await fleet.wait(lambda: fleet.nothing_older_than(wall_ms()), DRAIN_S, "everything is acknowledged")
        seconds = loop.time() - began
    return _outcome(place.ledger().since(before), fleet, seconds, first_peak, storm)


async def _storm(place: Place, plan: Plan, fleet: Fleet, tell: Tell) -> Storm:
    assert plan.end != "none"
    loop = asyncio.get_running_loop()
    await place.end_broker(plan.end)
    tell(f"load: the broker is gone ({plan.end}) for {plan.outage_s:g} s")
    await asyncio.sleep(plan.outage_s)
    waiting = sum(device.link.counts.waiting for device in fleet.devices)
    before, own_before = place.cpu_s(place.ingest), time.process_time()
    await place.start_broker()
    back = loop.time()
    up = await fleet.wait(fleet.all_connected, CONNECT_S, "all devices are connected again")
    mark = wall_ms()
    drained = await fleet.wait(
        lambda: fleet.nothing_older_than(mark), DRAIN_S, "what was made before is acknowledged"
    )
    return Storm(
        all_connected_s=up - back,
        drained_s=drained - back,
        connects_peak_per_s=peak_per_s(fleet.dials.up_at, back),
        dials_peak_per_s=peak_per_s(fleet.dials.begun_at, back),
        waiting=waiting,
        cpu_s={
            "broker": place.cpu_s(place.broker),
            "ingest": place.cpu_s(place.ingest) - before,
            "generator": time.process_time() - own_before,
        },
    )


def _outcome(ledger: Ledger, fleet: Fleet, seconds: float, first_peak: int, storm: Storm | None) -> Outcome:
    recorded = {device.name: device.journal.recorded for device in fleet.devices}
    missing = {name: count - ledger.stored.get(name, 0) for name, count in recorded.items()}
    lags = fleet.lags_ms()
    total = sum(recorded.values())
    return Outcome(
        devices=len(fleet.devices),
        seconds=seconds,
        recorded=total,
        again=fleet.dials.published - total,
        acknowledged=fleet.total(lambda journal: journal.acknowledged),
        dropped=fleet.total(lambda journal: journal.dropped),
        lost=sum(count for count in missing.values() if count > 0),
        duplicated=-sum(count for count in missing.values() if count < 0),
        counted=ledger.counted,
        gaps=ledger.gaps,
        lag_p50_ms=percentile(lags, 50),
        lag_p95_ms=percentile(lags, 95),
        lag_p99_ms=percentile(lags, 99),
        connects_peak_per_s=first_peak,
        storm=storm,
    )
