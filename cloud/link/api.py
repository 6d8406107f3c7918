"""The ledger for programs, by JSON and as OpenMetrics."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict

from cloud.link import one_device, series
from cloud.link.books import Account, Books
from cloud.link.core import Numbers
from cloud.link.pages import CURSOR, CURSOR_LENGTH_MAX
from cloud.operators.roles import Area, belongs_to
from cloud.web.problems import ProblemError

PATH = "/api/v1/ledger"
LISTED = 50
LISTED_MAX = 200


class NumbersJson(BaseModel):
    """Messages by what became of them; `missing` and `undeclared` can fall, the others only grow.

    `dropped` were dropped by the device's policy, `undeclared` of them without a reason; `lost` never came
    and no device dropped them; `repeated` came again and are in one of the others.
    """

    model_config = ConfigDict(from_attributes=True)

    stored: int
    refused: int
    missing: int
    dropped: int
    undeclared: int
    lost: int
    repeated: int


class AccountJson(BaseModel):
    """One device; `refused_by_reason` has uploads and messages without a number, too.

    `skew_ms` is its clock minus the server's, at least. `identity_shared` says that two machines use its
    identity, `identity_returns` how many signs of it there were.
    """

    device: str
    kind: str
    site: str
    numbers: NumbersJson
    refused_by_reason: dict[str, int]
    skew_ms: int | None
    identity_shared: bool
    identity_returns: int


class LedgerJson(BaseModel):
    """The fleet's totals, devices out of service among them, and a page of devices.

    Those with something missing come first. `next` is the cursor of the next page, null on the last.
    """

    at: datetime
    numbers: NumbersJson
    refused_by_reason: dict[str, int]
    devices_with_missing: int
    identities_shared: int
    devices: list[AccountJson]
    next: str | None


class GapJson(BaseModel):
    """A stretch of sequences that is missing."""

    from_seq: int
    to_seq: int


class BootJson(BaseModel):
    """One boot and lane: everything up to `seq` is accounted for; `gaps` are the first that are missing."""

    boot: str
    lane: str
    seq: int
    numbers: NumbersJson
    gaps: list[GapJson]
    moved_at: datetime | None


class DropJson(BaseModel):
    """A range that the device declared; both ends are 0 where the messages never had a number."""

    model_config = ConfigDict(from_attributes=True)

    boot: str
    lane: str
    from_seq: int
    to_seq: int
    count: int
    why: str
    declared_at: datetime


class DeviceLedgerJson(BaseModel):
    """One device: its boots, the newest first, and why it dropped what."""

    device: str
    numbers: NumbersJson
    boots: list[BootJson]
    forgotten_boots: int
    dropped_by_reason: dict[str, int]
    drops: list[DropJson]
    refused_by_reason: dict[str, int]
    skew_ms: int | None
    skew_at: datetime | None
    identity_shared: bool
    identity_returns: int
    identity_returned_at: datetime | None


class OpenMetrics(Response):
    """Text in the format of OpenMetrics 1.0."""

    media_type = series.CONTENT_TYPE


def router(books: Books) -> APIRouter:
    """The routes."""
    routes = APIRouter()

    @routes.get(PATH)
    def show_ledger(
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = LISTED,
        cursor: Annotated[str, Query(max_length=CURSOR_LENGTH_MAX, pattern=CURSOR)] = "",
    ) -> LedgerJson:
        ledger = books.ledger()
        accounts, following = ledger.page(cursor, limit)
        return LedgerJson(
            at=ledger.at,
            numbers=_numbers(ledger.numbers),
            refused_by_reason=dict(ledger.refused),
            devices_with_missing=ledger.with_missing,
            identities_shared=ledger.shared,
            devices=[_account(account) for account in accounts],
            next=following,
        )

    @routes.get("/api/v1/devices/{device}/ledger")
    def show_device_ledger(device: str) -> DeviceLedgerJson:
        found = one_device.read(books, device)
        if found is None:
            raise ProblemError(404, f"there is no device {device:.63}", code="not-found")
        return _device(found)

    @routes.get("/api/v1/metrics", response_class=OpenMetrics)
    def show_metrics() -> OpenMetrics:
        return OpenMetrics(series.openmetrics(books.ledger()))

    return belongs_to(Area.DEVICES, routes)


def _numbers(numbers: Numbers) -> NumbersJson:
    return NumbersJson.model_validate(numbers)


def _account(account: Account) -> AccountJson:
    return AccountJson(
        device=account.device,
        kind=account.kind,
        site=account.site,
        numbers=_numbers(account.numbers),
        refused_by_reason=dict(account.refused),
        skew_ms=account.skew_ms,
        identity_shared=account.shared,
        identity_returns=account.returns,
    )


def _device(found: one_device.DeviceLedger) -> DeviceLedgerJson:
    return DeviceLedgerJson(
        device=found.device,
        numbers=_numbers(found.numbers),
        boots=[
            BootJson(
                boot=account.boot,
                lane=account.lane,
                seq=account.seq,
                numbers=_numbers(account.numbers),
                gaps=[GapJson(from_seq=first, to_seq=last) for first, last in account.gaps],
                moved_at=account.moved_at,
            )
            for account in found.boots
        ],
        forgotten_boots=found.forgotten_boots,
        dropped_by_reason=dict(found.why),
        drops=[DropJson.model_validate(drop) for drop in found.drops],
        refused_by_reason=dict(found.refused),
        skew_ms=found.skew_ms,
        skew_at=found.skew_at,
        identity_shared=found.shared,
        identity_returns=found.returns,
        identity_returned_at=found.returned_at,
    )
