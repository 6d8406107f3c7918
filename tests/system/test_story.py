"""The control plane is killed while a paper is being printed and people speak: nothing is lost or doubled."""

import asyncio
import json
import re
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from simulators import people
from simulators.city.citizen import Citizen
from simulators.city.paper import code_on
from simulators.city.visitor import Visitor
from simulators.devices.tray import Fault, Tray
from tests.system.conftest import OpenCity, Town, wait_until

KIOSK = "kiosk-01"
HALL = "hall-01"
SEED = 7
"""The city's own: so the test knows its people."""
PRINT_S = 120.0
LINES_MIN = 3


class TownHands:
    """A citizen's hands: the buttons of the start page."""

    def __init__(self, town: Town, person: str) -> None:
        self._town = town
        self._person = person

    async def lay_card_on_reader(self) -> None:
        await asyncio.to_thread(self._town.press, "present-document", KIOSK, self._person)

    async def hold_card_to_terminal(self) -> bool:
        url = f"{self._town.addresses['payments']}/terminals/{KIOSK}/card"
        async with httpx.AsyncClient() as client:
            return not (await client.post(url, json={"outcome": "approve"})).is_error


def _rows(town: Town, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(town.folder / "cloud" / "fleet.db", timeout=10)) as database:
        return database.execute(statement).fetchall()


def _printing(town: Town) -> bool:
    return any(
        line.get("event") == "evidence_taken" and line.get("outcome") == "printing"
        for line in town.log("control-plane")
    )


def _last_segment(town: Town) -> int:
    """How many lines the recorder has begun, by its own file."""
    found = re.findall(
        r'"last_segment":\s*(\d+)',
        (town.folder / "devices" / HALL / "data" / "sittings.json").read_text(),
    )
    return max(int(number) for number in found)


async def _sign_in(town: Town, clerk: Visitor) -> None:
    pages = town.addresses["pages"]
    page = await clerk.open(f"{pages}/sittings")
    page = await clerk.send(page, "/sign-in", {"name": "admin", "password": town.one_time_password})
    chosen = secrets.token_urlsafe(18)
    await clerk.send(page, "/password", {"old": town.one_time_password, "new": chosen, "again": chosen})


async def _open_sitting(town: Town, clerk: Visitor) -> str:
    pages = town.addresses["pages"]
    page = await clerk.open(f"{pages}/sittings")
    page = await clerk.send(page, "/sittings", {"title": "Kuvendi", "device": HALL, "lang": "en"})
    session = next(form.action.split("/")[-2] for form in page.forms if form.action.endswith("/open"))
    await clerk.send(page, f"/{session}/open")
    return session


async def _print_through_a_kill(town: Town) -> None:
    """A citizen in front of a slow printer; the control plane is killed as soon as the printer has begun."""
    person = next(iter(people.generate(SEED).lists.values())).shares[0].person
    hands = TownHands(town, person)
    async with Citizen(KIOSK, town.addresses["kiosks"][KIOSK], "sr-Latn", hands) as citizen:
        await citizen.choose()
        await citizen.pay()
        await asyncio.to_thread(wait_until, lambda: _printing(town), 60, "the printer has begun")
        starts = town.count("control-plane", "control_plane_started")
        await asyncio.to_thread(town.press, "kill-control-plane")
        await citizen.wait_for_paper(PRINT_S)
        await citizen.go()
    await asyncio.to_thread(
        wait_until,
        lambda: town.count("control-plane", "control_plane_started") == starts + 1,
        60,
        "the control plane is back",
    )


async def _story(town: Town) -> str:
    async with Visitor("en") as clerk:
        await _sign_in(town, clerk)
        session = await _open_sitting(town, clerk)
        await asyncio.to_thread(
            wait_until, lambda: _rows(town, "SELECT 1 FROM caption_revisions"), 60, "a line was written"
        )
        await _print_through_a_kill(town)
        lines = len(_rows(town, "SELECT 1 FROM caption_revisions"))
        await asyncio.to_thread(
            wait_until,
            lambda: len(_rows(town, "SELECT 1 FROM caption_revisions")) >= lines + LINES_MIN,
            60,
            "people go on speaking, and it is written",
        )
        page = await clerk.open(f"{town.addresses['pages']}/sittings")
        await clerk.send(page, f"/{session}/end")
    return session


def test_a_kill_in_the_middle_costs_nothing(open_city: OpenCity, tmp_path: Path) -> None:
    town = open_city(kiosks=2, halls=1)
    tray = Tray(town.folder / "services" / "printers" / KIOSK)
    tray.fault = Fault.SLOW
    session = asyncio.run(_story(town))

    # One paper, one payment, one end.
    assert list(tray.impressions().values()) == [1]
    wait_until(lambda: _rows(town, "SELECT state FROM documents") == [("closed",)], 60, "the document closes")
    ((document,),) = _rows(town, "SELECT document FROM documents")
    told = httpx.get(f"{town.addresses['payments']}/statement").json()
    assert told["captured_references"] == [document]
    assert [document in name for name in tray.impressions()] == [True]
    code = code_on(tray.papers()[0].read_bytes())
    assert (
        httpx.get(f"{town.addresses['pages']}/v/{code.replace('-', '')}", follow_redirects=True).status_code
        == 200
    )

    # Every line that the recorder began has come, once, in order.
    def written() -> list[int]:
        return [
            number
            for (number,) in _rows(
                town, f"SELECT DISTINCT segment FROM caption_revisions WHERE session = '{session}' ORDER BY 1"
            )
        ]

    wait_until(lambda: len(written()) >= _last_segment(town) - 1, 30, "every line has come")
    assert written() == list(range(1, len(written()) + 1))

    # Nothing runs on.
    assert town.stop() == 0, "".join(town.said)
    assert "0 processes left" in "".join(town.said)


def test_a_second_city_in_the_same_folder_goes_on_where_the_first_was(
    open_city: OpenCity, tmp_path: Path
) -> None:
    first = open_city(kiosks=1, halls=0, folder=tmp_path)
    certificate = (tmp_path / "devices" / KIOSK / "data" / "pki" / "device.pem").read_bytes()
    assert first.stop() == 0
    second = open_city(kiosks=1, halls=0, folder=tmp_path)
    assert (tmp_path / "devices" / KIOSK / "data" / "pki" / "device.pem").read_bytes() == certificate
    assert second.count(KIOSK, "device_enrolled") == 1
    second.process.kill()
    second.process.wait(10)
    third = open_city(kiosks=1, halls=0, folder=tmp_path)
    assert json.loads((tmp_path / "addresses.json").read_text()) == third.addresses
    assert third.stop() == 0
