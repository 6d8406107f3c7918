"""The status page and the charts of a device, for staff; the same figures as JSON for programs."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from cloud.operators.roles import Area, belongs_to
from cloud.telemetry.charts import HEIGHT, LEFT, RIGHT, SPARK_HEIGHT, SPARK_WIDTH, TOP, WIDTH
from cloud.telemetry.fleet import Fleet, Watch
from cloud.telemetry.health import Newcomer
from cloud.telemetry.wording import (
    CONCERNS,
    METRICS,
    NEWCOMER_CHIPS,
    NEWCOMERS,
    RANGES,
    STATE_CHIPS,
    STATES,
    UNITS,
)
from cloud.web.languages import ZONE
from cloud.web.pages import render
from cloud.web.refusals import REASONS

PAGE = "/status"
LISTED = 50
"""Devices in one page of the table."""
DEAF_S = 60.0
"""From here on the page says that telemetry is not listened to; a restart takes less."""
DEFAULT_RANGE = "15m"


class FleetView(BaseModel):
    """How the fleet is: `refused` messages by reason, `telemetry_points` values since the beginning.

    `online` counts `degraded` devices too, `offline` those that are off as expected, and those that were
    never enrolled: `awaited` while their token is open, then `tokenless`; none needs attention. `broker` has
    the broker's own figures by name, null where it says nothing of itself; `broker_drops` is what it dropped
    in the last five minutes. `ending` counts certificates and lists on which all connections depend and that
    end soon; enrolment tells which. `ingest_deaf_s` is for how long telemetry has not been listened to.
    """

    devices: int
    online: int
    degraded: int
    offline: int
    off_as_expected: int
    awaited: int
    tokenless: int
    ending: int
    open_incidents: int
    ingest_deaf_s: float
    broker: dict[str, float] | None
    broker_drops: int
    needing_attention: int
    telemetry_points: int
    samples_per_minute: int
    outbox_waiting: int
    refused: dict[str, int]


def router(watch: Watch) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    def page(request: Request, template: str, after: str) -> Response:
        fleet = watch.fleet()
        return render(request, template, **_context(fleet, after))

    @routes.get(PAGE)
    def status(request: Request, after: Annotated[str, Query(max_length=63)] = "") -> Response:
        return page(request, "telemetry/status.html", after)

    @routes.get(PAGE + "/live")
    def status_live(request: Request, after: Annotated[str, Query(max_length=63)] = "") -> Response:
        return page(request, "telemetry/status_live.html", after)

    @routes.get("/api/v1/fleet")
    def fleet_figures() -> FleetView:
        fleet = watch.fleet()
        return FleetView(
            devices=len(fleet.rows),
            online=fleet.online,
            degraded=fleet.degraded,
            offline=len(fleet.rows) - fleet.online,
            off_as_expected=fleet.expected_off,
            awaited=fleet.newcomers(Newcomer.AWAITED),
            tokenless=fleet.newcomers(Newcomer.TOKENLESS),
            ending=fleet.ending,
            open_incidents=fleet.incidents.count,
            ingest_deaf_s=fleet.incidents.deaf_s,
            broker=dict(fleet.broker.values) if fleet.broker else None,
            broker_drops=fleet.broker.drops if fleet.broker else 0,
            needing_attention=len(fleet.worrying),
            telemetry_points=fleet.points,
            samples_per_minute=fleet.samples_per_minute,
            outbox_waiting=fleet.outbox_waiting,
            refused=dict(fleet.refused),
        )

    return belongs_to(Area.STATUS, routes)


def device_section(watch: Watch, request: Request, device: str) -> Response:
    """The part of a device's page with its charts, as HTML without a frame; `?range=` chooses the length."""
    span = request.query_params.get("range", DEFAULT_RANGE)
    if span not in RANGES:
        span = DEFAULT_RANGE
    row = next((row for row in watch.fleet().rows if row.device == device), None)
    return render(
        request,
        "telemetry/device_section.html",
        device=device,
        row=row,
        charts=watch.charts(device, span),
        span=span,
        ranges=RANGES,
        metrics=METRICS,
        units=UNITS,
        concerns=CONCERNS,
        moment=_moment,
        short=lambda at: _moment(at).astimezone(ZONE).strftime("%H:%M"),
        box={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": WIDTH - RIGHT, "top": TOP},
    )


def _moment(at: float) -> datetime:
    """The moment that is `at` ms after 1970."""
    return datetime.fromtimestamp(at / 1000, UTC)


def _context(fleet: Fleet, after: str) -> dict[str, Any]:
    rest = [row for row in fleet.rows if row.device > after]
    shown = rest[:LISTED]
    return {
        "fleet": fleet,
        "rows": shown,
        "after": after,
        "following": shown[-1].device if len(rest) > LISTED else None,
        "concerns": CONCERNS,
        "awaited": fleet.newcomers(Newcomer.AWAITED),
        "tokenless": fleet.newcomers(Newcomer.TOKENLESS),
        "newcomers": NEWCOMERS,
        "newcomer_chips": NEWCOMER_CHIPS,
        "states": STATES,
        "state_chips": STATE_CHIPS,
        "deaf": fleet.incidents.deaf_s > DEAF_S,
        "reasons": REASONS,
        "spark": {"width": SPARK_WIDTH, "height": SPARK_HEIGHT},
    }
