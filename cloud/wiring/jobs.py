"""Jobs: what devices ask about them, what staff order, and the diagnostics that devices bring back."""

from functools import partial

from fastapi import APIRouter

from cloud.devices import groups
from cloud.devices.pages import Section
from cloud.jobs import api, pages
from cloud.jobs.diagnostics import Bundles
from cloud.jobs.orders import Groups
from cloud.jobs.requests import Requests
from cloud.jobs.service import Jobs
from cloud.wiring.ground import Ground, Topics

GROUPS = Groups(groups.names, groups.members)


def make(ground: Ground) -> Jobs:
    """Whoever wants something of a device gives it a job here."""
    return Jobs(sessions=ground.sessions, publish=ground.broker.publish, clock=ground.clock)


def make_bundles(ground: Ground) -> Bundles:
    """The diagnostics, beside the other large objects."""
    folder = ground.settings.data_dir / "objects" / "diagnostics"
    return Bundles(folder, ground.sessions, ground.clock, ground.new_id)


def topics(ground: Ground, jobs: Jobs) -> Topics:
    """Requests in the shapes of AWS IoT Jobs."""
    requests = Requests(jobs, ground.broker.publish)
    return {
        "job-get": requests.get,
        "job-start-next": requests.start_next,
        "job-describe": requests.describe,
        "job-update": requests.update,
    }


def device_section(ground: Ground) -> Section:
    """What the page of a device shows of it."""
    return partial(pages.device_section, ground.sessions)


def pages_routers(ground: Ground, jobs: Jobs, bundles: Bundles) -> list[APIRouter]:
    """Pages and API for staff."""
    return [
        pages.router(ground.sessions, jobs, GROUPS),
        api.router(ground.sessions, jobs, GROUPS, bundles),
    ]


def device_routers(bundles: Bundles) -> list[APIRouter]:
    """Where devices bring their diagnostics."""
    return [api.device_router(bundles)]
