"""A whole visit on simulated hardware with the real adapters: IPP, serial lines, the provider over HTTP."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from contract.documents import PrintOutcome
from contract.jobs import Status
from edge_agent.documents import run
from edge_agent.documents.devices import connect
from edge_agent.documents.run import Kiosk
from edge_agent.documents.screen import Reason, ReceiptState, Step
from simulators.devices.document_reader import SimulatedDocumentReader
from simulators.devices.printer import Fault, Printers
from simulators.devices.receipt_printer import SimulatedReceiptPrinter
from simulators.services.payments import payments_app
from tests.edge_agent.documents.kiosk import CARD, Citizen, kiosk_settings, running
from tests.edge_agent.documents.worlds import PDF, MemoryCloud, MemoryLink


@pytest.fixture
def payments() -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        payments_app(), log_level="warning", log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.mark.parametrize("kind", ["cups", "own"])
def test_from_the_card_on_the_reader_to_the_paper_in_the_tray(
    kind: str, payments: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "WATCH_S", 0.5)
    reader, receipts = SimulatedDocumentReader(), SimulatedReceiptPrinter()
    with Printers(tmp_path / "printers", kind) as printers:  # type: ignore[arg-type] # one of its literals
        printer = printers.start("kiosk-01")
        settings = kiosk_settings(
            printer_uri=printer.uri,
            document_reader_port=reader.port,
            receipt_printer_port=receipts.port,
            terminal_url=payments,
        )
        assert settings.kiosk is not None
        cloud, link = MemoryCloud(), MemoryLink()
        kiosk = Kiosk(settings, link, cloud, connect(settings.kiosk, "kiosk-01", tmp_path))

        async def story() -> str:
            async with running(kiosk) as citizen:
                await citizen.ready()
                printer.set_fault(Fault.PAPER_OUT)
                await citizen.sees(Step.WELCOME, lambda: kiosk.screen.blocked == Reason.PAPER)
                printer.set_fault(None)
                await citizen.ready()
                return await visit(citizen, kiosk, cloud, reader, payments)

        document = asyncio.run(story())
        assert printer.tray.impressions() == {document: 1}
        assert [paper.read_bytes() for paper in printer.tray.papers()] == [PDF]
    (text,) = receipts.wait_for(1, 10.0)
    assert "4,00 €" in text
    assert "Certifikatë e pronësisë" in text
    assert link.outcomes(document) == [PrintOutcome.PRINTING, PrintOutcome.PRINTED]
    statement = httpx.get(f"{payments}/statement").json()
    assert statement["states"] == {"authorised": {"count": 1, "amount_cents": 400}}
    reader.close()
    receipts.close()


async def visit(
    citizen: Citizen, kiosk: Kiosk, cloud: MemoryCloud, reader: SimulatedDocumentReader, payments: str
) -> str:
    for button in ("language:sq", "kind:possession-sheet", "whom:myself"):
        await citizen.press(button)
    await asyncio.to_thread(reader.present, CARD.split("\r")[:-1])
    await citizen.sees(Step.SUBJECTS)
    await citizen.press(f"subject:{cloud.subjects[0].subject}")
    await citizen.sees(Step.PREVIEW)
    await citizen.press("pay")
    async with httpx.AsyncClient(base_url=payments) as client:
        card = f"/terminals/{'kiosk-01'}/card"
        while (await client.post(card, json={"outcome": "approve"})).status_code == 409:
            await asyncio.sleep(0.02)  # the terminal is not asking yet
    await citizen.sees(Step.PRINTING)
    (document,) = cloud.views
    assert (await kiosk.print_operation.perform(cloud.offer(document))).status == Status.SUCCEEDED
    await citizen.sees(Step.DONE)
    cloud.move(document, "deliver", "capture", "close")
    await citizen.sees(Step.DONE, lambda: kiosk.screen.receipt == ReceiptState.PRINTED)
    return document
