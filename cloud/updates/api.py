"""Updates for programs: what is published, roll-outs, where each stands."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from cloud.operators.access import current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.updates import views
from cloud.updates.service import TARGET_LENGTH_MAX, Updates
from cloud.updates.views import POSITION_MAX
from cloud.web.problems import ProblemError
from contract.jobs import PER_MINUTE_MAX
from contract.updates import PATH_LENGTH_MAX, Component

PATH = "/api/v1/updates"
TARGETS_PATH = "/api/v1/update-targets"
LISTED_MAX = 100


class TargetView(BaseModel):
    """One published target; `size` in bytes."""

    model_config = ConfigDict(from_attributes=True)

    path: str
    component: Component
    version: str
    size: int
    published_at: datetime | None


class TargetList(BaseModel):
    """The newest version of each component first."""

    targets: list[TargetView]


class NewUpdate(BaseModel):
    """Which target where: `target` is a device id, `kiosk`, `recorder`, `group:` with a name, or `all`.

    With `maximum_per_minute` so many devices learn of it a minute, without it all at once.
    """

    path: str = Field(max_length=PATH_LENGTH_MAX)
    target: str = Field(max_length=TARGET_LENGTH_MAX)
    downgrade: bool = False
    maximum_per_minute: int | None = Field(default=None, ge=1, le=PER_MINUTE_MAX)


class UpdateView(BaseModel):
    """One roll-out; `counts` says how many devices are in which state."""

    model_config = ConfigDict(from_attributes=True)

    update: str
    component: Component
    path: str
    version: str
    downgrade: bool
    target: str
    created_at: datetime
    created_by: str
    cancelled_at: datetime | None
    counts: dict[str, int]


class AssignmentView(BaseModel):
    """One roll-out on one device; `runs` is the version of its agent."""

    model_config = ConfigDict(from_attributes=True)

    device: str
    runs: str
    state: str
    revision: int
    attempt: int
    code: str
    detail: str
    changed_at: datetime


class UpdateDetail(UpdateView):
    """One roll-out with every device."""

    assignments: list[AssignmentView]


class UpdateList(BaseModel):
    """Newest first; `next` is the cursor of the next page, null on the last."""

    updates: list[UpdateView]
    next: int | None


def router(updates: Updates) -> APIRouter:
    """The routes for staff's programs."""
    routes = APIRouter()

    def detail(update: str) -> UpdateDetail:
        with updates.sessions() as session:
            found = views.overview(session, update)
            rows = views.rows(session, update)
        if found is None:
            raise ProblemError(404, f"there is no update {update:.80}", code="not-found")
        told = UpdateView.model_validate(found).model_dump()
        return UpdateDetail(**told, assignments=[AssignmentView.model_validate(row) for row in rows])

    @routes.get(TARGETS_PATH)
    def list_targets() -> TargetList:
        return TargetList(targets=[TargetView.model_validate(each) for each in updates.catalogue.targets()])

    @routes.get(PATH)
    def list_updates(
        limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = 50,
        cursor: Annotated[int | None, Query(ge=1, le=POSITION_MAX)] = None,
    ) -> UpdateList:
        with updates.sessions() as session:
            found = views.overviews(session, before=cursor, limit=limit + 1)
        shown = found[:limit]
        following = shown[-1].position if len(found) > limit else None
        return UpdateList(updates=[UpdateView.model_validate(each) for each in shown], next=following)

    @routes.post(PATH, status_code=201)
    def create_update(
        request: Request, new: NewUpdate, idempotency_key: Annotated[str, Header(max_length=128)]
    ) -> UpdateDetail:
        operator = current_operator(request)
        with updates.sessions.begin() as session:
            update = updates.assign(
                session,
                operator,
                path=new.path,
                target=new.target,
                downgrade=new.downgrade,
                key=idempotency_key,
                per_minute=new.maximum_per_minute,
            )
        return detail(update)

    @routes.get(PATH + "/{update}")
    def show_update(update: str) -> UpdateDetail:
        return detail(update)

    @routes.post(PATH + "/{update}/cancel")
    def cancel_update(request: Request, update: str) -> UpdateDetail:
        operator = current_operator(request)
        detail(update)
        with updates.sessions.begin() as session:
            updates.cancel(session, operator, update)
        return detail(update)

    return belongs_to(Area.UPDATES, routes)
