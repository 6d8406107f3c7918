"""The ledger for staff: the fleet's page and the part of a device's page."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.exceptions import HTTPException

from cloud.link import one_device
from cloud.link.books import Books
from cloud.link.wording import LANES, WHY
from cloud.operators.roles import Area, belongs_to
from cloud.web.pages import render
from cloud.web.refusals import REASONS

PAGE = "/ledger"
LISTED = 50
CURSOR_LENGTH_MAX = 65
CURSOR = r"^([01]\.[a-z0-9.-]{0,63})?$"


def router(books: Books) -> APIRouter:
    """The pages."""
    routes = APIRouter()

    def page(request: Request, template: str, after: str) -> Response:
        ledger = books.ledger()
        accounts, following = ledger.page(after, LISTED)
        return render(
            request,
            template,
            ledger=ledger,
            accounts=accounts,
            after=after,
            following=following,
            reasons=REASONS,
        )

    @routes.get(PAGE)
    def show_ledger(
        request: Request, after: Annotated[str, Query(max_length=CURSOR_LENGTH_MAX, pattern=CURSOR)] = ""
    ) -> Response:
        return page(request, "link/ledger.html", after)

    @routes.get(PAGE + "/live")
    def show_ledger_live(
        request: Request, after: Annotated[str, Query(max_length=CURSOR_LENGTH_MAX, pattern=CURSOR)] = ""
    ) -> Response:
        return page(request, "link/ledger_live.html", after)

    return belongs_to(Area.DEVICES, routes)


def device_section(books: Books, request: Request, device: str) -> Response:
    """The part of a device's page with its ledger, as HTML without a frame."""
    found = one_device.read(books, device)
    if found is None:
        raise HTTPException(404)
    return render(request, "link/device_section.html", ledger=found, lanes=LANES, why=WHY, reasons=REASONS)
