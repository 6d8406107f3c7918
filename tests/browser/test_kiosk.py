"""The kiosk's page in a browser: every screen, four languages, three sizes, axe; visits by touch and keys."""

import asyncio
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from contract.documents import Kind, PreviewRow, Subject
from contract.languages import LANGUAGES
from edge_agent.documents import languages as kiosk_languages
from edge_agent.documents import run
from edge_agent.documents import visit as visit_core
from edge_agent.documents import visit_messages as m
from edge_agent.documents.pages import application
from edge_agent.documents.run import Kiosk
from edge_agent.documents.screen import Notice, Reason, ReceiptState, Screen, Step, Whom
from edge_agent.documents.terminal import CardState
from tests.browser.conftest import NewPage, Serve
from tests.browser.looking import DESKTOP, KIOSK, PHONE, axe_violations, problems, screenshot
from tests.edge_agent.documents.kiosk import CARD, Rig, kiosk_settings

TARGET_PX = 64
WAIT_MS = 15_000
SIZES = (KIOSK, PHONE, DESKTOP)
MUNICIPALITY = kiosk_settings().kiosk.municipality  # type: ignore[union-attr] # it has the table
BASE = Screen(
    step=Step.WELCOME,
    language="sq",
    blocked=None,
    kind="possession-sheet",
    whom=Whom.MYSELF,
    spoken="sq",
    subjects=(
        Subject(subject="a", label="00123, Prishtinë: 3 parcela"),
        Subject(subject="b", label="00987, Matiçan: 1 parcelë"),
    ),
    preview=(
        PreviewRow(label="Bartësit e së drejtës", value="Çlirimtare Rexhëpi-Krasniqi, Përparim Krasniqi"),
        PreviewRow(label="Zona kadastrale", value="Prishtinë"),
        PreviewRow(label="Fleta poseduese nr.", value="00123"),
        PreviewRow(label="Parcelat", value="P-71914059-01234-0, P-71914059-01235-0, P-71914059-01236-0"),
    ),
    price_cents=400,
    serial="PR-2026-000123",
    code="0ABC-1234",
    tries_left=5,
    notice=None,
    reason=None,
    at_printer=False,
    cut_off=False,
    confirmed=False,
    receipt=ReceiptState.NONE,
    slip_printed=None,
    choice=True,
    ends_at=None,
    warning=False,
)


def _gallery() -> dict[str, Screen]:
    shown = {step.value: replace(BASE, step=step) for step in Step}
    shown["counter"] = replace(BASE, step=Step.COUNTER, whom=Whom.PROXY)
    shown["counter-printed"] = replace(BASE, step=Step.COUNTER, whom=Whom.PROXY, slip_printed=True)
    shown["counter-not-printed"] = replace(BASE, step=Step.COUNTER, whom=Whom.PROXY, slip_printed=False)
    for blocked in (Reason.PAPER, Reason.PRINTER, Reason.LINK, Reason.BUSY, Reason.UPDATE):
        shown[f"closed-{blocked.value}"] = replace(BASE, blocked=blocked)
    for notice in (Notice.MISREAD, Notice.EXPIRED, Notice.UNKNOWN):
        shown[f"identify-{notice.value}"] = replace(BASE, step=Step.IDENTIFY, notice=notice, tries_left=3)
    for notice in (Notice.DECLINED, Notice.CARD_TIMEOUT):
        shown[f"preview-{notice.value}"] = replace(BASE, step=Step.PREVIEW, notice=notice)
    shown["preview-free"] = replace(BASE, step=Step.PREVIEW, price_cents=0, choice=False)
    shown["preview-idle"] = replace(BASE, step=Step.PREVIEW, warning=True, ends_at=20.0)
    shown["doubt-idle"] = replace(BASE, step=Step.DOUBT, confirmed=True, warning=True, ends_at=20.0)
    shown["confirming-cut-off"] = replace(BASE, step=Step.CONFIRMING, cut_off=True)
    shown["printing-at-printer"] = replace(BASE, step=Step.PRINTING, confirmed=True, at_printer=True)
    shown["printing-cut-off"] = replace(BASE, step=Step.PRINTING, confirmed=True, cut_off=True)
    for receipt in (ReceiptState.WAITING, ReceiptState.PRINTED, ReceiptState.MISSING):
        shown[f"done-{receipt.value}"] = replace(BASE, step=Step.DONE, confirmed=True, receipt=receipt)
    for reason in Reason:
        shown[f"failed-{reason.value}"] = replace(
            BASE, step=Step.FAILED, reason=reason, confirmed=reason == Reason.NOT_PRINTED
        )
    for whom in (Whom.CHILD, Whom.SPOUSE):
        shown[f"failed-{Reason.NOTHING_TO_ISSUE.value}-{whom.value}"] = replace(
            BASE, step=Step.FAILED, reason=Reason.NOTHING_TO_ISSUE, whom=whom
        )
    births = (
        Subject(subject="L-2016-000001", label="Çlirimtare Krasniqi · 14.03.2016"),
        Subject(subject="L-2019-000002", label="Përparim Krasniqi · 02.11.2019"),
    )
    shown["subjects-births"] = replace(
        BASE, step=Step.SUBJECTS, kind="birth-certificate", whom=Whom.CHILD, subjects=births
    )
    shown["doubt-confirmed"] = replace(BASE, step=Step.DOUBT, confirmed=True)
    return shown


GALLERY = _gallery()
MAIN = (
    "welcome",
    "identify-unknown",
    "preview",
    "printing-cut-off",
    "done-missing",
    "doubt-confirmed",
    "kinds",
    "closed-update",
)


class Picture:
    """Shows one screen; `edge_agent.documents.pages.Visits`."""

    def __init__(self) -> None:
        self.screen = BASE
        self.version = "picture"
        self.token = "t" * 32

    def seconds_left(self) -> int | None:
        return None if self.screen.ends_at is None else 17

    def press(self, event: m.Event) -> None:
        raise AssertionError("nobody presses a picture")

    async def changed(self, version: str) -> None:
        await asyncio.Event().wait()


@pytest.fixture
def picture(serve: Serve) -> tuple[Picture, str]:
    shown = Picture()
    app = application(
        shown,
        kinds=tuple(Kind),
        municipality=MUNICIPALITY,
        new_id=lambda: "0190a0a0-0000-7000-8000-000000000001",
        hosts=["127.0.0.1"],
    )
    return shown, serve(app).url


SMALL = """
least => [...document.querySelectorAll('button, a[href]')]
  .filter(e => e.checkVisibility())
  .map(e => [e.getBoundingClientRect(), e.value || e.textContent])
  .filter(([box]) => box.width < least - 0.5 || box.height < least - 0.5)
  .map(([box, name]) => `${name}: ${Math.round(box.width)} x ${Math.round(box.height)}`)
"""
CLIPPED = """
() => [...document.querySelectorAll('button, h1, h2, p, dd, li')]
  .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
  .map(e => e.textContent.trim().slice(0, 60))
"""


def hold(page: Page, name: str) -> None:
    """Size, targets, language, console, content policy."""
    assert problems(page) == [], name
    assert page.evaluate(SMALL, TARGET_PX) == [], name
    assert page.evaluate(CLIPPED) == [], f"{name}: text is cut off"


@pytest.mark.parametrize("name", GALLERY)
def test_every_screen_at_every_size(name: str, picture: tuple[Picture, str], new_page: NewPage) -> None:
    shown, url = picture
    shown.screen = GALLERY[name]
    page = new_page(KIOSK)
    page.goto(url)
    assert page.locator("h1").count() == 1
    for size in SIZES:
        page.set_viewport_size(size)
        hold(page, f"{name} {size}")
        if size is KIOSK or name in MAIN:
            screenshot(page, f"kiosk-{name}")
    page.set_viewport_size(KIOSK)
    assert axe_violations(page) == []
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight"), "a kiosk screen scrolls"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", MAIN)
def test_every_language_at_every_size(
    name: str, language: str, picture: tuple[Picture, str], new_page: NewPage
) -> None:
    shown, url = picture
    shown.screen = replace(GALLERY[name], language=language)
    page = new_page(KIOSK)
    page.goto(url)
    assert page.evaluate("document.documentElement.lang") == language
    for size in SIZES:
        page.set_viewport_size(size)
        hold(page, f"{name} {language} {size}")
        if size is SIZES[(MAIN.index(name) + LANGUAGES.index(language)) % len(SIZES)]:
            assert axe_violations(page) == []
    if language != "sq":
        page.set_viewport_size(KIOSK)
        screenshot(page, f"kiosk-{name}-{language}")


ENGLISH = re.compile(
    r"\b(the|and|your|you|please|document|is|was|not|this|wait|card|paper|printer|print|cancel|back|finish|for|"
    r"language|number|try|again|help|time|error|failed|service|of|out|here|receipt|code|step|price)\b",
    re.IGNORECASE,
)
OWN_TEXT = """
language => {
  const said = [document.title];
  const walk = element => {
    for (const node of element.childNodes) {
      if (node.nodeType === 3) said.push(node.textContent);
      else if (node.nodeType === 1 && !['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(node.tagName)) {
        if (node.lang && node.lang !== language) continue;
        for (const name of ['aria-label', 'alt', 'title']) said.push(node.getAttribute(name) ?? '');
        walk(node);
      }
    }
  };
  walk(document.body);
  return said.join(' ').replace(/\\s+/g, ' ');
}
"""


@pytest.mark.parametrize("language", ["sq", "sr-Latn", "sr-Cyrl"])
def test_no_english_word_on_an_albanian_or_serbian_screen(
    language: str, picture: tuple[Picture, str], new_page: NewPage
) -> None:
    shown, url = picture
    page = new_page(KIOSK)
    words = kiosk_languages.read(kiosk_languages.FOLDER / "sq.po")
    for name, screen in GALLERY.items():
        shown.screen = replace(screen, language=language, subjects=(), preview=())
        page.goto(url)
        said = page.evaluate(OWN_TEXT, language)
        found = [text for text in words if len(text) > 4 and text in said]
        assert not found, f"{name} in {language} says {found}"
        if language != "sr-Cyrl":
            assert not ENGLISH.findall(said), f"{name} in {language}: {ENGLISH.findall(said)} in {said}"
        else:
            assert not re.findall(r"\b[a-zA-Zčćžšđ]{3,}\b", said.replace(BASE.code, "")), said


# A visit in the browser, on the real page, visit and print operation with fakes behind them.


class InThread:
    """A kiosk whose event loop lives in a thread of its own, because Playwright's has ours."""

    def __init__(self, rig: Rig, **changes: Any) -> None:
        self.rig = rig
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._changes = changes
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        assert self._started.wait(20)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.kiosk.page_port}"

    def do(self, act: Callable[[], Any]) -> Any:
        """Call in the kiosk's loop; wait for a coroutine's end."""

        async def call() -> Any:
            made = act()
            return await made if asyncio.iscoroutine(made) else made

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(30)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(20)

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        self.kiosk: Kiosk = self.rig.kiosk(**self._changes)
        self._task = self._loop.create_task(self.kiosk.run())
        self._loop.call_soon(
            lambda: self._loop.create_task(self.kiosk.serving.wait()).add_done_callback(
                lambda _done: self._started.set()
            )
        )
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            assert not asyncio.all_tasks(self._loop), "the kiosk leaves nothing behind"
            self._loop.close()


Start = Callable[..., InThread]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(run, "WATCH_S", 0.2)
    monkeypatch.setattr(run, "WATCH_SOON_S", 0.1)
    running: list[InThread] = []

    def begin(rig: Rig, **changes: Any) -> InThread:
        running.append(InThread(rig, **changes))
        return running[-1]

    yield begin
    for kiosk in running:
        kiosk.stop()


def heading(page: Page, text: str) -> None:
    expect(page.locator("h1")).to_contain_text(text, timeout=WAIT_MS)


def walk_to_printing(page: Page, kiosk: InThread) -> str:
    rig = kiosk.rig
    page.goto(kiosk.url)
    heading(page, "Mirë se vini")
    page.get_by_role("button", name="Srpski").tap()
    heading(page, "Koji dokument vam treba?")
    page.get_by_role("button", name="Uverenje o vlasništvu").tap()
    page.get_by_role("button", name="Za sebe").tap()
    heading(page, "Stavite ličnu kartu")
    kiosk.do(lambda: rig.reader.present(CARD))
    heading(page, "O kojoj imovini je reč?")
    page.get_by_role("button", name="00123").tap()
    heading(page, "Da li je ovo dokument")
    expect(page.locator("dl")).to_contain_text("Arta Krasniqi")
    page.get_by_role("button", name="Plati 4,00 € karticom").tap()
    heading(page, "Prinesite karticu terminalu")
    kiosk.do(lambda: rig.terminal.present(CardState.AUTHORISED))
    heading(page, "Vaš dokument se priprema")
    return next(iter(rig.cloud.views))


def test_a_visit_by_touch_with_the_cloud_dying_in_the_middle(start: Start, new_page: NewPage) -> None:
    kiosk = start(Rig())
    page = new_page(KIOSK, has_touch=True)
    document = walk_to_printing(page, kiosk)
    rig = kiosk.rig
    job = kiosk.do(lambda: rig.cloud.offer(document))
    rig.cloud.down = True
    expect(page.get_by_text("Veza sa opštinom je prekinuta")).to_be_visible(timeout=WAIT_MS)
    rig.cloud.down = False
    expect(page.get_by_text("Veza sa opštinom je prekinuta")).to_be_hidden(timeout=WAIT_MS)
    kiosk.do(lambda: kiosk.kiosk.print_operation.perform(job))
    heading(page, "Molimo uzmite dokument")
    kiosk.do(lambda: rig.cloud.move(document, "deliver", "capture", "close"))
    expect(page.get_by_text("Molimo uzmite priznanicu")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="Završi").tap()
    heading(page, "Mirë se vini")
    assert "Krasniqi" not in page.content()
    assert rig.printer.sheets == {document: 1}
    assert problems(page) == []


def test_a_visit_by_keyboard_alone(start: Start, new_page: NewPage) -> None:
    kiosk = start(Rig())
    page = new_page(DESKTOP)
    page.goto(kiosk.url)
    heading(page, "Mirë se vini")

    def go_to(value: str) -> None:
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.value") == value:
                break
        else:
            raise AssertionError(f"Tab does not reach {value}")
        shadow = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert shadow == "solid", "the focus is seen"
        page.keyboard.press("Enter")

    go_to("language:en")
    heading(page, "Which document do you need?")
    go_to("kind:possession-sheet")
    heading(page, "For whom is the document?")
    go_to("whom:proxy")
    heading(page, "Please go to the counter")
    go_to("slip")
    expect(page.get_by_text("The list has been printed")).to_be_visible(timeout=WAIT_MS)
    go_to("finish")
    heading(page, "Mirë se vini")


def test_the_countdown_is_seen_and_more_time_is_given(
    start: Start, new_page: NewPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visit_core, "WARN_S", 5.0)
    monkeypatch.setattr(run, "WARN_S", 5.0)
    kiosk = start(Rig(), visit_idle_s=6.0)
    page = new_page(KIOSK)
    page.goto(kiosk.url)
    page.get_by_role("button", name="Shqip").click()
    warning = page.get_by_role("heading", name="A jeni ende këtu?")
    expect(warning).to_be_visible(timeout=WAIT_MS)
    expect(page.locator(".seconds")).to_have_text("4", timeout=WAIT_MS)
    assert axe_violations(page) == []
    page.get_by_role("button", name="Më duhet më shumë kohë").click()
    expect(warning).to_be_hidden(timeout=WAIT_MS)
    heading(page, "Cili dokument ju duhet?")
    heading(page, "Mirë se vini")


def test_an_update_closes_the_kiosk_and_opens_it_again(start: Start, new_page: NewPage) -> None:
    kiosk = start(Rig())
    page = new_page(KIOSK)
    page.goto(kiosk.url)
    heading(page, "Mirë se vini")
    assert kiosk.do(kiosk.kiosk.busy) == ""
    kiosk.do(kiosk.kiosk.close)
    expect(page.get_by_text("Ky kiosk po përditësohet.")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="English").click()
    expect(page.get_by_text("This kiosk is being updated.")).to_be_visible(timeout=WAIT_MS)
    assert kiosk.do(kiosk.kiosk.busy) == "", "to read it in another language begins no visit"
    assert problems(page) == []
    assert axe_violations(page) == []
    kiosk.do(kiosk.kiosk.open)
    expect(page.get_by_text("This kiosk is being updated.")).to_be_hidden(timeout=WAIT_MS)
    page.get_by_role("button", name="Shqip").click()
    heading(page, "Cili dokument ju duhet?")
    assert kiosk.do(kiosk.kiosk.busy) == "a visit is open at the kiosk"


def test_an_agent_that_is_gone_is_told_and_the_page_comes_back(start: Start, new_page: NewPage) -> None:
    kiosk = start(Rig())
    page = new_page(KIOSK)
    page.goto(kiosk.url)
    page.get_by_role("button", name="Shqip").click()
    heading(page, "Cili dokument ju duhet?")
    port = kiosk.kiosk.page_port
    kiosk.stop()
    expect(page.get_by_text("Kiosku nuk përgjigjet")).to_be_visible(timeout=WAIT_MS)
    page.get_by_role("button", name="Anulo").click()
    heading(page, "Cili dokument ju duhet?")  # and not the browser's own error page
    start(Rig(), page_port=port)
    heading(page, "Mirë se vini")
    expect(page.get_by_text("Kiosku nuk përgjigjet")).to_be_hidden(timeout=WAIT_MS)


def test_without_scripts_each_press_still_works(start: Start, new_page: NewPage) -> None:
    kiosk = start(Rig())
    page = new_page(KIOSK, java_script_enabled=False)
    page.goto(kiosk.url)
    page.get_by_role("button", name="English").click()
    heading(page, "Which document do you need?")
    page.get_by_role("button", name="Cancel").click()
    heading(page, "Cancelled")


def test_no_paper_is_seen_without_a_touch(start: Start, new_page: NewPage) -> None:
    kiosk = start(Rig())
    page = new_page(KIOSK)
    page.goto(kiosk.url)
    heading(page, "Mirë se vini")
    kiosk.rig.printer.reasons = ("media-empty",)
    heading(page, "Jashtë shërbimit")
    page.get_by_role("button", name="English").click()
    heading(page, "Out of service")
    expect(page.get_by_text("The printer has run out of paper.")).to_be_visible()
    kiosk.rig.printer.reasons = ()
    heading(page, "Welcome")


def test_a_second_tap_is_one_press(start: Start, new_page: NewPage) -> None:
    kiosk = start(Rig())
    page = new_page(KIOSK)
    page.goto(kiosk.url)
    page.get_by_role("button", name="Shqip").dblclick()
    heading(page, "Cili dokument ju duhet?")


def test_the_page_is_small_and_quick(picture: tuple[Picture, str], new_page: NewPage) -> None:
    """All of a screen is less than 40 kB; how quick it is, is only printed."""
    _shown, url = picture
    page = new_page(KIOSK)
    weights: list[int] = []
    page.on("response", lambda answer: weights.append(len(answer.body())) if answer.ok else None)
    began = time.monotonic()
    page.goto(url, wait_until="load")
    print(f"loaded in {time.monotonic() - began:.2f} s")
    assert sum(weights) < 40_000
