"""Devices: who is there, what is amiss when many are not, and the groups that staff put them into."""

from collections.abc import Callable, Sequence

from fastapi import APIRouter

from cloud.broker import Handler, Received
from cloud.devices import group_api, group_pages, incident_api, incident_pages, incidents, pages
from cloud.devices.hours import Tolerance
from cloud.devices.pages import Section
from cloud.devices.presence import Limits
from cloud.devices.run import SWEEP_EVERY_S, Presences, Rules
from cloud.web.languages import ZONE
from cloud.wiring.ground import Chore, Ground, Topics


def make(
    ground: Ground, on_online: Sequence[Callable[[str], None]], on_change: Callable[[str], None]
) -> Presences:
    """Each of `on_online` is told of every device that comes, `on_change` of every one that comes or goes."""
    chosen = ground.settings.presence

    def came(device: str) -> None:
        for tell in on_online:
            tell(device)

    return Presences(
        ground.sessions,
        Rules(
            ZONE,
            Limits(
                will_holds_s=chosen.will_holds_s,
                late_after_s=chosen.late_after_s,
                gone_after_s=chosen.gone_after_s,
                proof_after_s=chosen.proof_after_s,
                flap_window_s=chosen.flap_window_s,
                flaps=chosen.flaps,
            ),
            incidents.Limits(chosen.together_s, chosen.over_after_s),
            _tolerance(ground),
        ),
        clock=ground.clock,
        words_since=lambda: ground.broker.connected_since,
        on_online=came,
        on_change=on_change,
    )


def _tolerance(ground: Ground) -> Tolerance:
    return Tolerance(ground.settings.presence.early_s, ground.settings.presence.late_s)


def topics(presences: Presences, also: Handler) -> Topics:
    """Who comes and goes; `also` hears of it second, in the same transaction."""

    def take(message: Received) -> None:
        presences.take(message)
        also(message)

    return {"presence": take}


def pages_routers(ground: Ground, sections: Sequence[Section]) -> list[APIRouter]:
    """Pages and API for staff; the ways give the `sections` of a device's page."""
    return [
        pages.router(ground.sessions, sections),
        incident_pages.router(ground.sessions, _tolerance(ground)),
        incident_api.router(ground.sessions),
        group_pages.router(ground.sessions),
        group_api.router(ground.sessions),
    ]


def chores(presences: Presences) -> list[Chore]:
    """Whose silence has lasted long enough to count."""
    return [Chore("presence", SWEEP_EVERY_S, presences.sweep)]
