"""The settings of one device for staff: a part of its page, and a page to change them."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session, sessionmaker
from starlette.exceptions import HTTPException

from cloud.database.engine import for_reading
from cloud.database.models.devices import Device
from cloud.operators.access import current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.twin import views
from cloud.twin.service import ConflictError, Twins
from cloud.twin.wording import CHIPS, CHOICES, NAMES, STATES
from cloud.web.pages import render
from contract.twin import SETTINGS, Section, Setting, wrong

PAGE = "/devices/{device}/settings"
VALUE_LENGTH_MAX = 32
FIELDS_MAX = 2 * len(SETTINGS)
WORDS: dict[str, Any] = {"names": NAMES, "choices": CHOICES, "states": STATES, "chips": CHIPS}

Entered = Annotated[list[Annotated[str, Form(max_length=VALUE_LENGTH_MAX)]], Form(max_length=FIELDS_MAX)]


def router(sessions: sessionmaker[Session], twins: Twins) -> APIRouter:
    """The page on which settings are changed."""
    routes = APIRouter()
    reading = for_reading(sessions)

    def known(device: str) -> None:
        with reading() as session:
            row = session.get(Device, device)
        if row is None or row.decommissioned_at is not None:
            raise HTTPException(404)

    @routes.get(PAGE)
    def ask(request: Request, device: str) -> Response:
        known(device)
        return _form(request, device, views.wanted(twins.get(device)))

    @routes.post(PAGE)
    def change(request: Request, device: str, entered: Entered, was: Entered) -> Response:
        """`entered` and `was` have a value for each setting, in the order of the contract's table."""
        operator = current_operator(request)
        known(device)
        if not len(entered) == len(was) == len(SETTINGS):
            raise HTTPException(400)
        values = {
            setting.name: _value(setting, text) for setting, text in zip(SETTINGS, entered, strict=True)
        }
        faults = [
            setting.name
            for setting in SETTINGS
            if values[setting.name] is not None and wrong(setting, values[setting.name])
        ]
        if faults:
            shown = {setting.name: text for setting, text in zip(SETTINGS, entered, strict=True)}
            return _form(request, device, shown, status=422, before=was, faults=faults)
        twin = twins.get(device)
        before = views.wanted(twin)
        if [_text(before.get(setting.name)) for setting in SETTINGS] != was:
            return _form(request, device, before, status=409)
        changes = _changes(before, values)
        if changes:
            try:
                twins.desire(device, changes, operator, twin.version)
            except ConflictError:
                return _form(request, device, views.wanted(twins.get(device)), status=409)
        return RedirectResponse(f"/devices/{device}", 303)

    return belongs_to(Area.DEVICES, routes)


def device_section(twins: Twins, request: Request, device: str) -> Response:
    """The part of a device's page about its settings, as HTML without a frame."""
    twin = twins.get(device)
    return render(
        request,
        "twin/device_section.html",
        device=device,
        twin=twin,
        rows=views.rows(twin),
        others=views.others(twin),
        **WORDS,
    )


def _form(
    request: Request,
    device: str,
    shown: Mapping[str, Any],
    *,
    status: int = 200,
    before: list[str] | None = None,
    faults: list[str] | None = None,
) -> Response:
    return render(
        request,
        "twin/settings.html",
        status=status,
        device=device,
        settings=SETTINGS,
        shown={setting.name: _text(shown.get(setting.name)) for setting in SETTINGS},
        before=before or [_text(shown.get(setting.name)) for setting in SETTINGS],
        faults=faults or [],
        conflict=status == 409,
        length_max=VALUE_LENGTH_MAX,
        **WORDS,
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _value(setting: Setting, text: str) -> Any:
    """What was entered; nothing stands for the device's own file."""
    text = text.strip()
    if not text:
        return None
    return text if setting.choices or not text.isascii() or not text.isdecimal() else int(text)


def _changes(before: Mapping[str, Any], values: Mapping[str, Any]) -> Section:
    changes: Section = {}
    for setting in SETTINGS:
        value = values[setting.name]
        if value != before.get(setting.name):
            group, name = setting.path
            changes[group] = changes.get(group, {}) | {name: value}
    return changes
