"""The story that `--once` plays: everybody does once what the city is for, through the same pages as people.

Each step has its time and a sentence; one that fails does not stop the others that can still be played.
"""

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

from contract.documents import Kind, Whom
from contract.enrolment import EST_PREFIX
from contract.ids import RANDOM_BYTES, uuid7
from simulators.city.citizen import KIND, Citizen
from simulators.city.city import ADMIN, City, Password
from simulators.city.hardware import CityHands
from simulators.city.paper import code_on
from simulators.city.report import Report, StepError
from simulators.city.story_firmware import FirmwareStory
from simulators.city.story_identity import IdentityStory
from simulators.city.story_recordings import recording_arrives
from simulators.city.story_transcripts import draft_is_right
from simulators.city.story_updates import UpdateStory
from simulators.city.visitor import Page, Visitor
from simulators.city.words import word_error
from simulators.people import Person

STAFF_PAGES = ("/status", "/devices", "/jobs", "/updates", "/documents", "/sittings", "/audit")
HALL_LANGUAGE = "en"
TITLE = "Kuvendi i Komunës: mbledhja e provës"
WORD_ERROR_MAX = 0.15
NO_MODEL = "ende nuk ka njohje të të folurit"
"""Of the captions page in Albanian."""
QUIET_S = 8.0
"""After the last word of the debate, so long may the last line take."""
LOOK_S = 0.25
"""Between two looks at something that only a page tells."""

RECEIPT_S = 30.0
POINTS_MIN = 5
"""Values that each device has told at least, by its first sample."""
VISITORS = (("sq", "Albanian"), ("sr-Latn", "Serbian"), ("en", "English"))
PENDING = ("QUEUED", "IN_PROGRESS")
_ROW = re.compile(r'<th scope="row"><a href="/devices/([a-z0-9-]+)">(.*?)</tr>', re.DOTALL)
_GOOD = '"chip good"'
_STORED = re.compile(r"([\d,]+) values stored so far")
_SERIAL = re.compile(r"\bPR-\d{4}-\d{6}\b")

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
        self.staff = Visitor("en")
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
                if self.city.plan.kiosk_ids:
                    device = self.city.plan.kiosk_ids[0]
                    await self.step(f"the agent of {device} restarts", 60, partial(self.restart, device))
                await self.step("the agents of all devices restart", 120, self.restart_all)
                updates = UpdateStory(self.city, self.staff, self.step)
                await updates.play()
                await FirmwareStory(self.city, updates).play()
                await IdentityStory(self.city, self.staff, self.step).play()
                await self.step("every job has ended", 30, self.jobs_over)
                await self.step("at the end every device is there and well", 60, self.look_at_fleet)

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
            if await self.step("the sitting ends for everybody", 30, self.end_sitting):
                arrives = partial(recording_arrives, self.city.folder, hall, self.session)
                if await self.step("the sitting's recording arrives whole", 60, arrives):
                    transcribed = partial(self.transcript, hall)
                    await self.step("the draft has the right words and names", 180, transcribed)
            await self.step("a sitting in Albanian says why it has no text", 40, self.no_model)
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

    async def transcript(self, hall: str) -> str:
        """A worker has written down what was recorded, and who said it."""
        debate = self.city.plan.cache / "debate" / "debate.json"
        error, sentence = await draft_is_right(self.staff, self.url, hall, self.session, debate)
        self.report.transcript_word_error = round(error, 4)
        return sentence

    async def no_model(self) -> str:
        """No engine is run on a language that it does not know; readers are told so in theirs."""
        page = await self.staff.open(f"{self.url}/sittings")
        hall = self.city.plan.hall_ids[-1]
        page = await self.staff.send(page, "/sittings", {"title": TITLE, "device": hall, "lang": "sq"})
        session = _session_of(page)
        await self.staff.send(page, f"/{session}/open")
        async with Visitor("sq") as viewer:

            async def told() -> bool:
                return NO_MODEL in (await viewer.open(f"{self.url}/sq/captions/{session}")).text

            await self._until(told, 30)
        page = await self.staff.open(f"{self.url}/sittings")
        await self.staff.send(page, f"/{session}/end")
        return f"{hall} writes nothing, and the page says so in Albanian"

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
        await self.step("the operator sees every device and its health", 60, self.look_at_fleet)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.documents())
            group.create_task(self.operations())
        await self.step("what is malformed or foreign is refused with a sentence", 60, self.refusals)

    async def look_at_fleet(self) -> str:
        """The device list and the status page, until every device is there and has told its health."""
        wanted = set(self.city.plan.kiosk_ids + self.city.plan.hall_ids)

        async def all_there() -> bool:
            page = await self.staff.open(f"{self.url}/devices")
            there = {row[0] for row in _ROW.findall(page.html) if _GOOD in row[1]}
            self.report.devices_enrolled = len(there & wanted)
            status = await self.staff.open(f"{self.url}/status")
            found = _STORED.search(status.text)
            self.report.telemetry_points = int(found[1].replace(",", "")) if found else 0
            return there >= wanted and self.report.telemetry_points >= POINTS_MIN * len(wanted)

        await self._until(all_there, 50)
        return (
            f"{self.report.devices_enrolled} of {len(wanted)} devices enrolled and connected, "
            f"{self.report.telemetry_points} values stored"
        )

    # --- documents ---

    async def documents(self) -> None:
        """Citizens at several kiosks at once, each in another language; then their papers are verified."""
        holders = list(self.city.citizens().values())
        played = zip(self.city.plan.kiosk_ids, VISITORS, holders, strict=False)
        async with asyncio.TaskGroup() as group:
            for device in self.city.plan.kiosk_ids[len(VISITORS) :][:1]:
                group.create_task(
                    self.step(
                        f"a parent at {device} gets a child's birth certificate",
                        150,
                        partial(self.parent, device),
                    )
                )
            for device, (language, name), person in played:
                group.create_task(
                    self.step(
                        f"a citizen at {device} gets a paper in {name}",
                        150,
                        partial(self.citizen, device, person, language),
                    )
                )
        await self.step("every printed paper is paid for, once", 60, self.money)

    async def parent(self, device: str) -> str:
        """Somebody with a minor child asks for the child's paper; the registry knows that they may."""
        people = self.city.people.persons.values()
        child = next(person for person in people if person.parents)
        person = self.city.people.persons[child.parents[0]]
        return await self.citizen(device, person, "sq", Kind.BIRTH_CERTIFICATE, Whom.CHILD)

    async def citizen(
        self, device: str, person: Person, language: str, kind: str = KIND, whom: str = Whom.MYSELF
    ) -> str:
        """One visit; then anybody verifies the paper by the code on it."""
        hardware = self.city.kiosks[device]
        hands = CityHands(hardware, self.city.terminal_url(device), person)
        receipts = len(hardware.receipts.receipts())
        async with Citizen(device, self.city.kiosk_url(device), language, hands) as citizen:
            await citizen.choose(kind, whom)
            await citizen.pay()
            await citizen.wait_for_paper()
            told = await asyncio.to_thread(hardware.receipts.wait_for, receipts + 1, RECEIPT_S)
            await citizen.go()
        pdf = hardware.printer.tray.papers()[-1].read_bytes()
        impressions = hardware.printer.tray.impressions()
        if set(impressions.values()) != {1}:
            raise StepError(f"{device} printed {dict(impressions)}")
        self.report.documents_printed += 1
        serial = await self.verify(code_on(pdf), language)
        if serial not in told[-1]:
            raise StepError(f"the receipt does not name {serial}")
        return f"{len(pdf)} bytes sealed and printed, receipt taken, {serial} verified by its code"

    async def verify(self, code: str, language: str) -> str:
        """The QR code's address, and the code typed in by hand, in the reader's language."""
        async with Visitor(language) as anybody:
            scanned = await anybody.open(f"{self.url}/v/{code.replace('-', '')}")
            typed = await anybody.open(f"{self.url}/{language}/verify")
            typed = await anybody.send(typed, "/verify", {"code": code.lower()})
        serials = {found[0] for page in (scanned, typed) if (found := _SERIAL.search(page.text))}
        if len(serials) != 1 or httpx.codes.OK not in (scanned.status, typed.status):
            raise StepError(f"{scanned.url} ({scanned.status}) does not say which paper it is")
        return serials.pop()

    async def money(self) -> str:
        """The provider's statement says the same as the printers' trays."""
        async with httpx.AsyncClient() as client:

            async def settled() -> bool:
                told = (await client.get(f"{self.city.payments_url}/statement")).json()
                references = told["captured_references"]
                if len(set(references)) != len(references):
                    raise StepError("money was taken twice for one paper")
                self.report.documents_captured = len(references)
                return len(references) >= self.report.documents_printed

            await self._until(settled, 50)
        if (
            self.report.documents_captured != self.report.documents_printed
            or not self.report.documents_printed
        ):
            raise StepError(
                f"{self.report.documents_printed} papers printed, {self.report.documents_captured} paid"
            )
        return f"{self.report.documents_captured} payments captured"

    # --- jobs ---

    async def operations(self) -> None:
        """An operator orders jobs on one device and on all."""
        one = self.city.plan.kiosk_ids[-1] if self.city.plan.kiosk_ids else self.city.plan.hall_ids[-1]
        everybody = len(self.city.plan.kiosk_ids + self.city.plan.hall_ids)
        await self.step(
            f"diagnostics of {one} are collected", 60, partial(self.job, "collect-diagnostics", one, 1)
        )
        await self.step(
            "diagnostics of all devices are collected",
            90,
            partial(self.job, "collect-diagnostics", "all", everybody),
        )

    async def job(self, operation: str, target: str, devices: int) -> str:
        """Order one on the page, watch it until every device has succeeded."""
        page = await self.staff.open(f"{self.url}/jobs")
        page = await self.staff.send(page, "/jobs", {"operation": operation, "target": target})
        job = page.url.rsplit("/", 1)[1]
        shown: list[dict[str, Any]] = []

        async def ended() -> bool:
            nonlocal shown
            told = await self.staff.json(f"{self.url}/api/v1/jobs/{job}")
            shown = told["executions"]
            return all(each["status"] not in PENDING for each in shown)

        await self._until(ended, 120)
        bad = [f"{each['device']} {each['status']}" for each in shown if each["status"] != "SUCCEEDED"]
        if bad or len(shown) != devices:
            raise StepError(f"{job}: {len(shown)} of {devices} devices; not well: {', '.join(bad[:5])}")
        return f"{len(shown)} of {devices} succeeded"

    async def restart(self, device: str) -> str:
        """The agent ends, is started again, and connects."""
        starts = self.city.children[device].starts
        connected = self.city.linked(device)
        detail = await self.job("restart-agent", device, 1)
        await self.city.link_up(device, connected + 1)
        if self.city.children[device].starts != starts + 1:
            raise StepError(f"{device} was started {self.city.children[device].starts - starts} times")
        return f"{detail}; the agent is a new process and connected"

    async def restart_all(self) -> str:
        """Every agent of the fleet, once the sitting is over."""
        devices = self.city.plan.kiosk_ids + self.city.plan.hall_ids
        connected = {device: self.city.linked(device) for device in devices}
        detail = await self.job("restart-agent", "all", len(devices))
        await asyncio.gather(*(self.city.link_up(device, connected[device] + 1) for device in devices))
        return f"{detail}; all are connected again"

    async def jobs_over(self) -> str:
        """No job is left without an end."""
        ends = 0
        cursor = ""
        while True:
            told = await self.staff.json(f"{self.url}/api/v1/jobs?limit=100{cursor}")
            for job in told["jobs"]:
                pending = [status for status in job["devices"] if status in PENDING]
                if pending:
                    raise StepError(f"{job['job']} has not ended: {job['devices']}")
                ends += sum(job["devices"].values())
            if told["next"] is None:
                break
            cursor = f"&cursor={told['next']}"
        self.report.jobs_ended = ends
        return f"{ends} executions, every one with an end"

    # --- bad input ---

    async def refusals(self) -> str:
        """What a stranger or a broken device sends: refused, with a sentence, and nobody else notices."""
        said = [
            await self._wrong_token(),
            *await self._wrong_documents(),
            await self._wrong_code(),
            await self._wrong_form(),
        ]
        return "; ".join(said)

    async def _wrong_token(self) -> str:
        """A one-time token that does not exist."""
        async with httpx.AsyncClient(verify=self.city.trust()) as client:
            answer = await client.post(
                f"{self.city.bootstrap_url}{EST_PREFIX}/simpleenroll",
                content=b"AAAA",
                auth=("kiosk-01", "0" * 32),
                headers={"Content-Type": "application/pkcs10"},
            )
        return _refused("a wrong token", answer, 403)

    async def _wrong_documents(self) -> list[str]:
        """A type that there is not, and a parcel that nobody offered, with a kiosk's own certificate."""
        device = self.city.plan.kiosk_ids[-1]
        person = next(iter(self.city.citizens().values()))
        document = uuid7(int(time.time() * 1000), secrets.token_bytes(RANDOM_BYTES))
        body = {
            "document": document,
            "visit": secrets.token_hex(8),
            "kind": "passport",
            "language": "sq",
            "identification": {
                "personal_number": person.personal_number,
                "document_number": person.document_number,
                "date_of_birth": person.date_of_birth.isoformat(),
            },
        }
        url = f"{self.city.device_url}/api/v1/documents"
        async with httpx.AsyncClient(verify=self.city.trust(device)) as client:
            kind = await client.post(url, json=body)
            begun = await client.post(url, json=body | {"kind": KIND})
            begun.raise_for_status()
            parcel = await client.post(f"{url}/{document}/subject", json={"subject": "UL-0-00000"})
            ended = await client.post(f"{url}/{document}/cancel")
            ended.raise_for_status()
        return [
            _refused("an unknown type of document", kind, 422, "unknown-kind"),
            _refused("an unknown parcel", parcel, 422, "unknown-subject"),
        ]

    async def _wrong_code(self) -> str:
        """A code that is on no paper."""
        async with Visitor("sr-Cyrl") as anybody:
            page = await anybody.open(f"{self.url}/v/{'0' * 26}")
        if _SERIAL.search(page.text) or page.status not in (httpx.codes.OK, httpx.codes.NOT_FOUND):
            raise StepError(f"an unknown code is answered with {page.status}: {page.text[:200]}")
        return "an unknown code is no paper"

    async def _wrong_form(self) -> str:
        """A change without the form's token."""
        answer = await self.staff.post(f"{self.url}/jobs", {"operation": "restart-agent", "target": "all"})
        if answer.status != httpx.codes.FORBIDDEN:
            raise StepError(f"a change without its token is answered with {answer.status}")
        return "a change without the form's token is refused"

    # --- instruments ---

    async def _until(self, holds: Callable[[], Coroutine[Any, Any, bool]], within_s: float) -> None:
        """Wait until something holds.

        Raises:
            TimeoutError: it did not in time.
        """
        async with asyncio.timeout(within_s):
            while not await holds():  # noqa: ASYNC110 - only the page can tell
                await asyncio.sleep(LOOK_S)


def _refused(what: str, answer: httpx.Response, status: int, code: str = "") -> str:
    """A problem document with a sentence is the right answer."""
    told = answer.json() if "json" in answer.headers.get("content-type", "") else {}
    if answer.status_code != status or not told.get("detail") or (code and told.get("code") != code):
        raise StepError(f"{what} is answered with {answer.status_code}: {answer.text[:200]}")
    return f"{what} is refused"


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
