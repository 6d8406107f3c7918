"""The twin of a device for programs: read, change what is desired, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.engine import for_reading
from cloud.database.models.devices import Device
from cloud.operators.access import current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.twin.core import Twin
from cloud.twin.service import ConflictError, Twins
from cloud.web.problems import ProblemError
from contract.twin import NUMBER_MAX

PATH = "/api/v1/devices/{device}/twin"

Version = Annotated[int, Field(ge=0, le=NUMBER_MAX)]


class StateJson(BaseModel):
    """The three views of a twin; `delta` is what is desired and not reported so."""

    desired: dict[str, Any]
    reported: dict[str, Any]
    delta: dict[str, Any]


class MetadataJson(BaseModel):
    """Beside each value the second in which it was last written."""

    desired: dict[str, Any]
    reported: dict[str, Any]


class TwinJson(BaseModel):
    """What a device should do and what it says it does."""

    device: str
    version: int
    state: StateJson
    metadata: MetadataJson


class Wish(BaseModel):
    """Settings with their values, grouped as in the twin; null removes one."""

    model_config = ConfigDict(extra="forbid")

    desired: dict[str, Any] = Field(min_length=1)


class Change(BaseModel):
    """What is to be changed; with `version` only if the twin has that version."""

    model_config = ConfigDict(extra="forbid")

    state: Wish
    version: Version | None = None


def router(sessions: sessionmaker[Session], twins: Twins) -> APIRouter:
    """The routes for staff's programs."""
    routes = APIRouter()
    reading = for_reading(sessions)

    def registered(device: str) -> None:
        with reading() as session:
            row = session.get(Device, device)
        if row is None or row.decommissioned_at is not None:
            raise ProblemError(404, f"there is no device {device:.63}", code="not-found")

    def found(device: str) -> Twin:
        registered(device)
        twin = twins.get(device)
        if not twin.exists:
            raise ProblemError(404, f"{device:.63} has no twin yet", code="no-twin")
        return twin

    @routes.get(PATH)
    def show_twin(device: str) -> TwinJson:
        return _json(device, found(device))

    @routes.patch(PATH)
    def change_twin(request: Request, device: str, change: Change) -> TwinJson:
        operator = current_operator(request)
        registered(device)
        try:
            return _json(device, twins.desire(device, change.state.desired, operator, change.version))
        except ConflictError as error:
            raise ProblemError(409, str(error), code="version-conflict") from error

    @routes.delete(PATH, status_code=204, response_class=Response)
    def delete_twin(
        request: Request, device: str, version: Annotated[int | None, Query(ge=0, le=NUMBER_MAX)] = None
    ) -> None:
        operator = current_operator(request)
        found(device)
        try:
            twins.delete(device, operator, version)
        except ConflictError as error:
            raise ProblemError(409, str(error), code="version-conflict") from error

    return belongs_to(Area.DEVICES, routes)


def _json(device: str, twin: Twin) -> TwinJson:
    return TwinJson(
        device=device,
        version=twin.version,
        state=StateJson(desired=twin.desired, reported=twin.reported, delta=twin.delta),
        metadata=MetadataJson(desired=twin.desired_at, reported=twin.reported_at),
    )
