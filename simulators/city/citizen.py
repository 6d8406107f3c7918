"""A citizen at a kiosk: sees its screen, presses its buttons, lays a card on the reader, takes the paper."""

import asyncio
import re
from typing import Protocol, Self

import httpx

from contract.documents import Kind
from simulators.city.report import StepError
from simulators.city.visitor import Page, Visitor

KIND = Kind.POSSESSION_SHEET.value
STEP_S = 30.0
"""How long a citizen waits for the next screen; printing has its own."""
PRINT_S = 90.0
LOOK_S = 0.1
ENDS = frozenset({"failed", "doubt", "locked", "trouble", "closed", "cancelled", "counter"})
"""Screens after which there is no paper to come."""
_SCREEN = re.compile(r'data-screen="([a-z-]+)"')
_VERSION = re.compile(r'data-version="([^"]*)"')
_CHOICE = re.compile(r'name="press" value="(subject:[^"]+)"')
_LANG = re.compile(r'<html lang="([^"]+)"')


class Hands(Protocol):
    """What a citizen does besides touching the screen."""

    async def lay_card_on_reader(self) -> None:
        """The identity card."""

    async def hold_card_to_terminal(self) -> bool:
        """The payment card; False while the terminal asks for none."""


class Citizen:
    """One person in front of the kiosk `device`, whose touch page is at `url`."""

    def __init__(self, device: str, url: str, language: str, hands: Hands) -> None:
        self.device = device
        self.url = url
        self.language = language
        self.hands = hands
        self._visitor = Visitor(language)
        self._client = httpx.AsyncClient(timeout=STEP_S)
        self._page: Page | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()
        await self._visitor.__aexit__()

    async def choose(self, kind: str = KIND, whom: str = "myself") -> None:
        """From the first screen up to the preview with its price.

        Raises:
            StepError: there will be no paper; the text says what the kiosk showed.
        """
        await self.see("welcome")
        await self.press(f"language:{self.language}")
        await self.see("kinds")
        if _first(_LANG, self.page) != self.language:
            raise StepError(f"{self.device} does not speak {self.language} after the button was pressed")
        await self.press(f"kind:{kind}")
        await self.see("whom")
        await self.press(f"whom:{whom}")
        await self.see("identify")
        await self.hands.lay_card_on_reader()
        if await self.see("subjects", "preview") == "subjects":
            await self.press(_first(_CHOICE, self.page))
            await self.see("preview")

    async def pay(self) -> None:
        """Press the button with the price, hold the card to the terminal."""
        await self.press("pay")
        await self.see("paying")
        async with asyncio.timeout(STEP_S):
            while not await self.hands.hold_card_to_terminal():  # noqa: ASYNC110 - only the terminal knows
                await asyncio.sleep(LOOK_S)

    async def wait_for_paper(self, within_s: float = PRINT_S) -> None:
        """Stand there until the screen says that the paper is out."""
        await self.see("done", within_s=within_s)

    async def go(self) -> None:
        """Press the last button; the kiosk is free for the next one."""
        await self.see("done")
        await self.press("finish")
        await self.see("welcome")

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
