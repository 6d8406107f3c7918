"""The story that `--once` plays: everybody does once what the city is for, through the same pages as people.

Each step has its time and a sentence; one that fails does not stop the others that can still be played.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import httpx

from simulators.city.city import ADMIN, City, Password
from simulators.city.report import Report, StepError
from simulators.city.visitor import Page, Visitor
from simulators.city.words import word_error

STAFF_PAGES = ("/sittings", "/audit")
HALL_LANGUAGE = "en"
TITLE = "Kuvendi i Komunës: mbledhja e provës"
WORD_ERROR_MAX = 0.15
QUIET_S = 8.0
"""After the last word of the debate, so long may the last line take."""
LOOK_S = 0.25
"""Between two looks at something that only a page tells."""

Do = Callable[[], Coroutine[Any, Any, str]]


@dataclass
class Captions:
    """What a viewer has read: the highest revision of each line."""

    lines: dict[int, tuple[int, str]] = field(default_factory=dict)
    partials: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    first: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def text(self) -> str:
        """Everything, in order."""
        return " ".join(text for _, (_, text) in sorted(self.lines.items()))

    def take(self, event: str, data: dict[str, Any]) -> None:
        """One server-sent event."""
        if event == "partial":
            self.partials += 1
            self.first.set()
        elif event == "final":
            known = self.lines.get(data["segment"], (-1, ""))
            self.lines[data["segment"]] = max(known, (data["revision"], data["text"]))
            self.first.set()
        elif event == "sitting" and data["state"] == "ended":
            self.ended.set()


class Story:
    """One play of the story in one city."""

    def __init__(self, city: City, report: Report) -> None:
        self.city = city
        self.report = report
        self.url = city.ports.pages_url
        self.staff = Visitor("sq")
        self.session = ""
        self.captions = Captions()

    async def play(self) -> None:
        """All of it."""
        if not await self.step("the city starts", 120, self.start):
            return
        async with self.staff:
            await self.step("strangers are refused", 20, self.strangers)
            if await self.step("the administrator signs in and chooses a password", 30, self.sign_in):
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.sitting())
                    group.create_task(self.meanwhile())

    async def step(self, name: str, within_s: float, do: Do) -> bool:
        """One step of the report."""
        return await self.report.step(name, within_s, do, self.city.tell)

    # --- beginning ---

    async def start(self) -> str:
        """Every program runs, every device has its certificate and is connected."""
        await self.city.start()
        return f"{len(self.city.children)} programs run"

    async def strangers(self) -> str:
        """Staff pages send a stranger to the sign-in page, changes are refused."""
        async with Visitor("en") as stranger:
            for path in STAFF_PAGES:
                page = await stranger.open(self.url + path)
                if "/sign-in" not in page.url:
                    raise StepError(f"{path} answers a stranger with {page.status}")
        async with httpx.AsyncClient() as client:
            for path in ("/sittings", "/jobs"):
                answer = await client.post(self.url + path)
                if answer.status_code not in (303, 403, 405):
                    raise StepError(f"POST {path} answers a stranger with {answer.status_code}")
        return "no page of the staff opens without signing in"

    async def sign_in(self) -> str:
        """With the one-time password, which must be changed at once; or with the one chosen earlier."""
        password = self.city.password
        if password is None:
            raise StepError("nobody knows the administrator's password; begin with an empty --data folder")
        page = await self.staff.open(f"{self.url}{STAFF_PAGES[0]}")
        page = await self.staff.send(page, "/sign-in", {"name": ADMIN, "password": password.text})
        if password.one_time:
            if not page.url.endswith("/password"):
                raise StepError(f"the one-time password led to {page.url} ({page.status})")
            chosen = secrets.token_urlsafe(18)
            page = await self.staff.send(
                page, "/password", {"old": password.text, "new": chosen, "again": chosen}
            )
            self.city.set_password(Password(chosen, one_time=False))
        page = await self.staff.open(self.url + STAFF_PAGES[0])
        if "/sign-in" in page.url or page.status != httpx.codes.OK:
            raise StepError(f"after signing in the page is {page.url} ({page.status})")
        return "signed in, the one-time password is spent"

    # --- the sitting, in real time ---

    async def sitting(self) -> None:
        """A clerk opens a sitting, people speak, others read along; then it ends."""
        if not self.city.plan.hall_ids:
            return
        hall = self.city.plan.hall_ids[0]
        reading = asyncio.create_task(self._read_along())
        if await self.step("the clerk opens a sitting", 60, lambda: self.open_sitting(hall)):
            await self.step(
                "what is said is read along and is right", self._debate_s + 60, lambda: self.debate(hall)
            )
            await self.step("a closed part says why and is silent", 40, lambda: self.closed_part(hall))
            await self.step("the sitting ends for everybody", 30, self.end_sitting)
        reading.cancel()

    @property
    def _debate_s(self) -> float:
        return self.city.debate_ms / 1000

    async def open_sitting(self, hall: str) -> str:
        """Planned and opened on the clerk's page; the recorder writes along."""
        ready = self.city.ready_recognisers(hall)
        page = await self.staff.open(f"{self.url}/sittings")
        page = await self.staff.send(
            page, "/sittings", {"title": TITLE, "device": hall, "lang": HALL_LANGUAGE}
        )
        self.session = _session_of(page)
        page = await self.staff.send(page, f"/{self.session}/open")
        if page.status != httpx.codes.OK:
            raise StepError(f"opening answered {page.status}")
        await self.city.recogniser_ready(hall, ready + 1)
        return f"{hall} writes along"

    async def debate(self, hall: str) -> str:
        """The debate is spoken in real time; the lines that a viewer got are held against what was said."""
        self.city.begin_debate(hall)
        began = time.monotonic()
        await self.captions.first.wait()
        first_s = time.monotonic() - began
        await asyncio.sleep(max(0.0, self._debate_s - first_s))
        await self._until(self._quiet, QUIET_S + 30)
        error = word_error(self.city.spoken, self.captions.text)
        self.report.caption_word_error = round(error, 4)
        if error > WORD_ERROR_MAX:
            raise StepError(f"word error {error:.1%}; written: {self.captions.text[:400]!r}")
        return (
            f"word error {error:.1%} over {self._debate_s:.0f} s, {len(self.captions.lines)} lines, "
            f"{self.captions.partials} partials, first words after {first_s:.1f} s"
        )

    async def _quiet(self) -> bool:
        """Whether no line has come for a while."""
        lines = dict(self.captions.lines)
        await asyncio.sleep(QUIET_S)
        return lines == self.captions.lines

    async def closed_part(self, hall: str) -> str:
        """People go on speaking in a closed part; not one word comes out."""
        page = await self.staff.open(f"{self.url}/sittings")
        await self.staff.send(
            page, f"/{self.session}/close-to-public", {"reason": "court-proceedings", "note": ""}
        )
        lines, partials = dict(self.captions.lines), self.captions.partials
        async with Visitor("sq") as viewer:
            shown = await viewer.open(f"{self.url}/sq/captions/{self.session}")
        if "procedura gjyqësore" not in shown.text:
            raise StepError("the page does not say the legal reason in Albanian")
        self.city.begin_debate(hall)
        await asyncio.sleep(QUIET_S)
        if (lines, partials) != (self.captions.lines, self.captions.partials):
            raise StepError("words came out of a closed part")
        return f"the page gives the legal reason; 0 words in {QUIET_S:g} s of speech"

    async def end_sitting(self) -> str:
        """Every viewer is told; the whole text stays."""
        page = await self.staff.open(f"{self.url}/sittings")
        await self.staff.send(page, f"/{self.session}/end")
        await self.captions.ended.wait()
        async with Visitor("sr-Latn") as viewer:
            whole = await viewer.open(f"{self.url}/sr-Latn/captions/{self.session}/transcript")
        missing = [text for _, text in self.captions.lines.values() if text not in whole.text]
        if missing:
            raise StepError(f"{len(missing)} lines are not in the whole text")
        return f"{len(self.captions.lines)} lines stay in the whole text"

    async def _read_along(self) -> None:
        """A viewer in a browser: comes back with the last id whenever the stream breaks."""
        last = "0"
        async with httpx.AsyncClient(timeout=httpx.Timeout(10.0, read=60.0)) as client:
            while not self.captions.ended.is_set():
                if not self.session:
                    await asyncio.sleep(LOOK_S)
                    continue
                url = f"{self.url}/api/v1/captions/{self.session}/floor/events"
                try:
                    async with client.stream("GET", url, headers={"Last-Event-ID": last}) as answer:
                        event = ""
                        async for line in answer.aiter_lines():
                            name, _, value = line.partition(": ")
                            if name == "id":
                                last = value
                            elif name == "event":
                                event = value
                            elif name == "data":
                                self.captions.take(event, json.loads(value))
                except httpx.HTTPError:
                    pass  # the server is away: come back, as a browser does
                await asyncio.sleep(LOOK_S)

    # --- meanwhile ---

    async def meanwhile(self) -> None:
        """What the others do while people speak in the hall."""

    # --- instruments ---

    async def _until(self, holds: Callable[[], Coroutine[Any, Any, bool]], within_s: float) -> None:
        """Wait until something holds.

        Raises:
            TimeoutError: it did not in time.
        """
        async with asyncio.timeout(within_s):
            while not await holds():  # noqa: ASYNC110 - only the page can tell
                await asyncio.sleep(LOOK_S)


def _session_of(page: Page) -> str:
    """The sitting that the clerk's page shows first with a button to open it."""
    for form in page.forms:
        parts = form.action.split("/")
        if form.action.endswith("/open"):
            return parts[-2]
    raise StepError(f"{page.url} ({page.status}) offers no sitting to open")


async def play(city: City, report: Report) -> None:
    """Play the story in `city` and write what happens into `report`."""
    await Story(city, report).play()
