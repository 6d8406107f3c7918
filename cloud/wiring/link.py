"""The link: what each device has sent and what is missing, and when devices are told to stay away."""

from functools import partial

from fastapi import APIRouter

from cloud.devices.pages import Section
from cloud.link import api, declared, delay_pages, pages, series
from cloud.link.books import Books
from cloud.link.delays import Delays
from cloud.link.sightings import Sightings
from cloud.telemetry.fleet import Watch
from cloud.telemetry.ledger import Ledger
from cloud.telemetry.store import Point
from cloud.wiring.ground import Chore, Ground, Topics

SWEEP_DELAYS_S = 2.0
WRITE_LEDGER_S = 30.0


def make_books(ground: Ground, ledger: Ledger) -> Books:
    """The books of `ledger`, and of what devices declare."""
    return Books(ground.sessions, ledger.sessions, ground.clock)


def make_delays(ground: Ground) -> Delays:
    """Maintenance of the broker, which devices are told of."""
    return Delays(ground.sessions, ground.broker.publish, lambda: ground.broker.connected, ground.clock)


def make_sightings(delays: Delays) -> Sightings:
    """Hears of presence too; whoever comes during maintenance is told of it."""
    return Sightings(delays.on_online)


def topics() -> Topics:
    """What devices say that they dropped."""
    return {"dropped": declared.take}


def device_section(books: Books) -> Section:
    """What the page of a device shows of it."""
    return partial(pages.device_section, books)


def pages_routers(books: Books, delays: Delays) -> list[APIRouter]:
    """Pages and API for staff."""
    return [
        pages.router(books),
        api.router(books),
        delay_pages.router(delays),
        delay_pages.api_router(delays),
    ]


def chores(ground: Ground, books: Books, delays: Delays, watch: Watch) -> list[Chore]:
    """Telling devices of a delay; for Grafana, where there is one, the books into the store of `watch`."""

    def write() -> None:
        ledger = books.ledger()
        at_ms = int(ledger.at.timestamp() * 1000)
        points = [
            Point(each.device, each.site, each.kind, at_ms, series.values(each), series.MEASUREMENT)
            for each in ledger.accounts
        ]
        if points:
            watch.store.write(points)

    telling = Chore("delays", SWEEP_DELAYS_S, delays.sweep)
    if ground.settings.telemetry.store != "influx":
        return [telling]
    return [telling, Chore("ledger", WRITE_LEDGER_S, write)]
