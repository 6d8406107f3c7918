"""The start page: a door for everybody, hands at a kiosk, plugs to pull; in every language."""

import re
from dataclasses import dataclass, field

import httpx
import pytest
from babel.messages.extract import extract_from_dir
from playwright.sync_api import expect

from cloud.web import languages
from contract.languages import LANGUAGES
from simulators.start_page import app as start_page
from simulators.start_page.app import start_page_app
from simulators.start_page.desk import Action, Citizen, Lamp, RefusedError
from tests.browser.conftest import NewPage, Serve
from tests.browser.looking import SIZES, look_ok


@dataclass
class FakeDesk:
    """A city that only remembers what was asked of it."""

    one_time_password: str | None = "korrik-blu-42"
    pages_url: str = "http://127.0.0.1:1"
    kiosks: dict[str, str] = field(
        default_factory=lambda: {f"kiosk-{n:02d}": f"http://127.0.0.1:1/{n}" for n in range(1, 17)}
    )
    halls: tuple[str, ...] = ("hall-01", "hall-02")
    citizens: tuple[Citizen, ...] = (
        Citizen("p1", "Përparim Çerkini", "04.05.1970", 2),
        Citizen("p2", "Љиљана Ђорђевић", "01.02.1981", 1),
    )
    states: dict[str, str] = field(
        default_factory=lambda: {
            "control-plane": "up",
            "ingest": "up",
            "broker": "up",
            "registry": "up",
            "payments": "up",
            "kiosk-01": "up",
            "hall-01": "up",
        }
    )
    done: list[tuple[str, str, str]] = field(default_factory=list)

    def lamps(self) -> list[Lamp]:
        return [Lamp(name, state) for name, state in self.states.items()]

    async def do(self, action: Action, device: str, person: str) -> None:
        if action is Action.REGISTRY_UP:
            raise RefusedError
        if action is Action.REGISTRY_DOWN:
            self.states["registry"] = "broken"
        self.done.append((action, device, person))


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("size", SIZES)
def test_it_is_fit_to_look_at(lang: str, size: str, serve: Serve, new_page: NewPage) -> None:
    page = new_page(SIZES[size])
    page.goto(f"{serve(start_page_app(FakeDesk())).url}/{lang}")
    assert page.locator("html").get_attribute("lang") == lang
    look_ok(page, f"start-{lang}")


def test_a_person_can_play_the_citizen_and_pull_plugs(serve: Serve, new_page: NewPage) -> None:
    desk = FakeDesk()
    page = new_page(locale="en-GB")
    page.goto(serve(start_page_app(desk)).url)
    expect(page.get_by_text("korrik-blu-42")).to_be_visible()
    page.get_by_label("You stand at").select_option("kiosk-03")
    page.get_by_label("You are").select_option(label="Љиљана Ђорђевић, 01.02.1981: 1 possession list")
    page.get_by_role("button", name="Lay the identity card").click()
    expect(page.get_by_role("status")).to_contain_text("Look at the kiosk")
    assert page.get_by_label("You stand at").input_value() == "kiosk-03"
    page.get_by_role("button", name="Hold the payment card").click()
    page.get_by_role("button", name="Unplug the microphone of hall-02").click()
    assert desk.done == [
        ("present-document", "kiosk-03", "p2"),
        ("pay", "kiosk-03", "p2"),
        ("unplug-microphone", "hall-02", ""),
    ]
    page.get_by_role("button", name="Cadastre back in service").click()
    expect(page.get_by_role("status")).to_contain_text("cannot be done")
    desk.states["registry"] = "broken"
    expect(page.locator("[data-lamp=registry]")).to_have_text("out of order")


def test_only_the_page_itself_pulls_plugs(serve: Serve) -> None:
    desk = FakeDesk()
    url = serve(start_page_app(desk)).url
    form = {"action": "kill-control-plane"}
    assert httpx.post(f"{url}/en/do", data=form, headers={"Origin": "http://evil.example"}).status_code == 403
    assert httpx.post(f"{url}/en/do", data=form, headers={"Host": "evil.example"}).status_code == 400
    assert httpx.post(f"{url}/en/do", data={"action": "rm"}).headers["location"].endswith("&refused#notice")
    assert httpx.get(f"{url}/fr").headers["location"] == "/"
    assert desk.done == []


def test_every_text_is_translated() -> None:
    texts = {
        message if isinstance(message, str) else message[0]
        for _, _, message, _, _ in extract_from_dir(
            str(start_page.HERE),
            method_map=[("**.py", "python"), ("**/templates/**.html", "jinja2.ext:babel_extract")],
            keywords={"_": None, "N_": None, "ngettext": (1, 2)},
        )
    }
    assert len(texts) > 60
    known = languages.load([start_page.HERE / "translations"])
    for code in ("sq", "sr-Cyrl", "sr-Latn"):
        missing = {
            text
            for text in texts
            if known[code].gettext(text) == text and known[code].ngettext(text, text, 2) == text
        }
        assert missing == {"Civic Fleet"}, code
    assert re.search("[а-я]", "".join(known["sr-Latn"].gettext(text) for text in texts)) is None
