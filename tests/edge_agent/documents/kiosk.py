"""A whole kiosk on fakes for tests: the real page, the real visit, the real print operation."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from contract.languages import LANGUAGES
from edge_agent.documents.devices import Devices
from edge_agent.documents.document_reader import MemoryDocumentReader
from edge_agent.documents.ledger import MemoryLedger
from edge_agent.documents.printer_memory import MemoryPrinter
from edge_agent.documents.receipt_printer import MemoryReceiptPrinter
from edge_agent.documents.run import Kiosk
from edge_agent.documents.screen import Step
from edge_agent.documents.terminal import CardState
from edge_agent.documents.terminal_memory import MemoryTerminal
from edge_agent.settings import Broker, Cloud, Settings
from edge_agent.settings import Kiosk as KioskSettings
from tests.edge_agent.documents.test_mrz import td1
from tests.edge_agent.documents.worlds import PERSON, MemoryCloud, MemoryLink

DEADLINE_S = 20.0
CARD = td1(PERSON[1], PERSON[0], "900314", "350101")
OTHER_CARD = td1("K7654321", "1009876543", "800101", "350101")


def kiosk_settings(**changes: Any) -> Settings:
    """Settings whose hardware addresses are never used: the fakes stand in."""
    return Settings(
        device="kiosk-01",
        kind="kiosk",
        site="city-hall",
        data_dir=Path("unused"),
        broker=Broker(host="localhost"),
        cloud=Cloud(
            bootstrap_url="https://localhost", device_url="https://localhost", ca_file=Path("ca.pem")
        ),
        kiosk=KioskSettings(
            **{
                "page_port": 0,
                "printer_uri": "ipp://localhost/ipp/print",
                "document_reader_port": Path("reader"),
                "receipt_printer_port": Path("receipts"),
                "terminal_url": "http://localhost",
                "verify_url": "https://dokumente.prishtina.example/sq/verify",
                **changes,
            }
        ),
    )


@dataclass
class Rig:
    """Everything around the kiosk, to be broken."""

    cloud: MemoryCloud = field(default_factory=MemoryCloud)
    link: MemoryLink = field(default_factory=MemoryLink)
    printer: MemoryPrinter = field(default_factory=MemoryPrinter)
    reader: MemoryDocumentReader = field(default_factory=MemoryDocumentReader)
    terminal: MemoryTerminal = field(default_factory=MemoryTerminal)
    receipts: MemoryReceiptPrinter = field(default_factory=MemoryReceiptPrinter)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)

    def kiosk(self, **changes: Any) -> Kiosk:
        """A kiosk in this rig; a second one is the first after a restart."""
        devices = Devices(
            printer=self.printer,
            reader=self.reader,
            terminal=self.terminal,
            receipts=self.receipts,
            ledger=self.ledger,
        )
        return Kiosk(kiosk_settings(**changes), self.link, self.cloud, devices)


class Citizen:
    """Uses the page as a browser does."""

    def __init__(self, kiosk: Kiosk, client: httpx.AsyncClient) -> None:
        self.kiosk = kiosk
        self._client = client

    async def page(self) -> str:
        """The page as it stands."""
        answer = await self._client.get("/")
        assert answer.status_code == 200
        return answer.text

    async def press(self, button: str) -> None:
        """Press a button that the page has."""
        page = await self.page()
        assert f'value="{button}"' in page, f"no button {button} on the screen {self.kiosk.screen.step}"
        token = re.search(r'name="token" value="(\w+)"', page)
        assert token is not None
        answer = await self._client.post("/press", data={"press": button, "token": token.group(1)})
        assert answer.status_code == 303

    async def sees(self, step: Step, when: Callable[[], bool] = lambda: True) -> None:
        """Wait until the screen is at `step` and `when` holds."""
        async with asyncio.timeout(DEADLINE_S):
            while not (self.kiosk.screen.step == step and when()):
                await self.kiosk.changed(self.kiosk.version)

    async def ready(self) -> None:
        """Wait until the kiosk is in service."""
        await self.sees(Step.WELCOME, lambda: self.kiosk.screen.blocked is None)

    async def walk_to(self, step: Step, rig: Rig, language: str = "sq") -> None:
        """From the first screen to the price, to the card, or into printing."""
        await self.ready()
        await self.press(f"language:{language}")
        await self.press("kind:possession-sheet")
        await self.press("whom:myself")
        rig.reader.present(CARD)
        await self.sees(Step.SUBJECTS)
        await self.press(f"subject:{rig.cloud.subjects[0].subject}")
        await self.sees(Step.PREVIEW)
        if step == Step.PREVIEW:
            return
        await self.press("pay")
        await self.sees(Step.PAYING)
        if step == Step.PAYING:
            return
        rig.terminal.present(CardState.AUTHORISED)
        await self.sees(Step.PRINTING)


@asynccontextmanager
async def running(kiosk: Kiosk) -> AsyncIterator[Citizen]:
    """The kiosk runs, and a citizen stands before it."""
    task = asyncio.create_task(kiosk.run())
    try:
        await asyncio.wait_for(kiosk.serving.wait(), DEADLINE_S)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{kiosk.page_port}") as client:
            yield Citizen(kiosk, client)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


__all__ = ["CARD", "LANGUAGES", "OTHER_CARD", "Citizen", "Rig", "kiosk_settings", "running"]
