"""Telemetry, as far as it lives in this process: the newest values on the status page, and our own figures.

The samples themselves are taken by another process, which `cloud.telemetry.run` puts together.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

from fastapi import APIRouter

from cloud.broker_figures import BrokerFigures
from cloud.devices.pages import Section
from cloud.enrolment import ends
from cloud.telemetry import pages
from cloud.telemetry.fleet import MEASURE_EVERY_S, Watch
from cloud.telemetry.ledger import Ledger
from cloud.telemetry.run import open_store
from cloud.wiring.ground import Chore, Ground


@contextmanager
def make(ground: Ground, ledger: Ledger, figures: BrokerFigures) -> Iterator[Watch]:
    """Reads the store of the samples, which closes behind it, and the `ledger` of what was received."""
    store, ending = open_store(ground.settings), partial(ends.pressing, ground.settings.pki_dir)
    with closing(Watch(ground.sessions, store, ledger, ground.clock, figures, ending)) as watch:
        yield watch


def device_section(watch: Watch) -> Section:
    """What the page of a device shows of it."""
    return partial(pages.device_section, watch)


def pages_routers(watch: Watch) -> list[APIRouter]:
    """The status page."""
    return [pages.router(watch)]


def chores(ground: Ground, watch: Watch) -> list[Chore]:
    """Figures for Grafana, where there is one."""
    if ground.settings.telemetry.store != "influx":
        return []
    return [Chore("figures", MEASURE_EVERY_S, watch.measure)]
