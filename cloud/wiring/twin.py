"""The twin: what is desired of each device, in the shapes of AWS IoT Shadow."""

from functools import partial

from fastapi import APIRouter

from cloud.devices.pages import Section
from cloud.twin import api, pages
from cloud.twin.requests import Requests
from cloud.twin.service import Twins
from cloud.wiring.ground import Ground, Topics


def make(ground: Ground) -> Twins:
    """One document a device."""
    return Twins(sessions=ground.sessions, publish=ground.broker.publish, clock=ground.clock)


def topics(ground: Ground, twins: Twins) -> Topics:
    """What devices ask and report."""
    requests = Requests(twins, ground.broker.publish)
    return {"twin-get": requests.get, "twin-update": requests.update, "twin-delete": requests.delete}


def device_section(twins: Twins) -> Section:
    """What the page of a device shows of it."""
    return partial(pages.device_section, twins)


def pages_routers(ground: Ground, twins: Twins) -> list[APIRouter]:
    """Pages and API for staff."""
    return [pages.router(ground.sessions, twins), api.router(ground.sessions, twins)]
