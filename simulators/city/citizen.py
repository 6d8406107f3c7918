"""A citizen at a kiosk: sees its screen, presses its buttons, lays a card on the reader, takes the paper."""

import asyncio
import re
from dataclasses import dataclass

import httpx

from simulators.city.city import City
from simulators.city.paper import code_on
from simulators.city.report import StepError
from simulators.city.visitor import Page, Visitor
from simulators.people import Person

KIND = "possession-sheet"
STEP_S = 30.0
"""How long a citizen waits for the next screen; printing has its own."""
PRINT_S = 90.0
ENDS = frozenset({"failed", "doubt", "locked", "trouble", "closed", "cancelled", "counter"})
"""Screens after which there is no paper to come."""
_SCREEN = re.compile(r'data-screen="([a-z-]+)"')
_VERSION = re.compile(r'data-version="([^"]*)"')
_CHOICE = re.compile(r'name="press" value="(subject:[^"]+)"')
_LANG = re.compile(r'<html lang="([^"]+)"')


@dataclass(frozen=True)
class Paper:
    """What the citizen goes home with."""

    code: str
    pdf: bytes
    receipt: str


class Citizen:
    """One person in front of one kiosk."""

    def __init__(self, city: City, device: str, person: Person, language: str) -> None:
        self.city = city
        self.device = device
        self.person = person
        self.language = language
        self.hardware = city.kiosks[device]
        self.url = f"http://127.0.0.1:{city.ports.kiosks[device]}"
        self._visitor = Visitor(language)
        self._client = httpx.AsyncClient(timeout=STEP_S)
        self._page: Page | None = None

    async def close(self) -> None:
        """Leave."""
        await self._client.aclose()
        await self._visitor.__aexit__()

    async def visit(self) -> Paper:
        """From the first screen to the paper in the hand.

        Raises:
            StepError: there was no paper; the text says what the kiosk showed.
        """
        await self.pay(await self.choose())
        return await self.take()

    async def choose(self) -> str:
        """Up to the preview with its price; gives what was chosen."""
        await self.see("welcome")
        await self.press(f"language:{self.language}")
        await self.see("kinds")
        if _first(_LANG, self.page) != self.language:
            raise StepError(f"{self.device} does not speak {self.language} after the button was pressed")
        await self.press(f"kind:{KIND}")
        await self.see("whom")
        await self.press("whom:myself")
        await self.see("identify")
        self.hardware.lay_on_reader(self.person)
        subject = ""
        if await self.see("subjects", "preview") == "subjects":
            subject = _first(_CHOICE, self.page)
            await self.press(subject)
            await self.see("preview")
        return subject

    async def pay(self, _subject: str) -> None:
        """Press the button with the price, hold the card to the terminal."""
        await self.press("pay")
        await self.see("paying")
        async with asyncio.timeout(STEP_S):
            while True:
                answer = await self._client.post(
                    f"{self.city.payments_url}/terminals/{self.device}/card", json={"outcome": "approve"}
                )
                if answer.status_code != httpx.codes.CONFLICT:
                    break
                await asyncio.sleep(0.1)  # the terminal does not ask for a card yet
        answer.raise_for_status()

    async def take(self) -> Paper:
        """Wait for paper and receipt, then go."""
        receipts = len(self.hardware.receipts.receipts())
        await self.see("done", within_s=PRINT_S)
        await asyncio.to_thread(self.hardware.receipts.wait_for, receipts + 1, STEP_S)
        pdf = self.hardware.printer.tray.papers()[-1].read_bytes()
        await self.see("done")
        await self.press("finish")
        await self.see("welcome")
        return Paper(code_on(pdf), pdf, self.hardware.receipts.receipts()[-1])

    # --- eyes and fingers ---

    @property
    def page(self) -> Page:
        """What is on the screen."""
        assert self._page is not None, "look first"
        return self._page

    async def see(self, *screens: str, within_s: float = STEP_S) -> str:
        """Wait for one of these screens, and give which it is.

        Raises:
            StepError: another end came first, or none of them in time.
        """
        try:
            async with asyncio.timeout(within_s):
                while True:
                    self._page = await self._visitor.open(f"{self.url}/")
                    screen = _first(_SCREEN, self._page)
                    if screen in screens:
                        return screen
                    if screen in ENDS:
                        raise StepError(f"{self.device} shows {screen}: {self._page.text[:300]}")
                    await self._changed(_first(_VERSION, self._page))
        except TimeoutError:
            shown = _first(_SCREEN, self.page)
            raise StepError(
                f"{self.device} shows {shown} and not {' or '.join(screens)} after {within_s:g} s"
            ) from None

    async def press(self, value: str) -> None:
        """Press the button with this value.

        Raises:
            StepError: the screen has no such button.
        """
        try:
            self._page = await self._visitor.send(self.page, "/press", button=("press", value))
        except LookupError as error:
            raise StepError(f"{self.device} has no button {value}: {error}") from None

    async def _changed(self, version: str) -> None:
        """The kiosk answers when it has something else to show."""
        await self._client.get(f"{self.url}/state", params={"version": version})


def _first(pattern: re.Pattern[str], page: Page) -> str:
    found = pattern.search(page.html)
    if found is None:
        raise StepError(f"{page.url} ({page.status}) is no screen of a kiosk: {page.text[:200]}")
    return found[1]
