"""The kiosk's hardware as it is in the settings."""

from dataclasses import dataclass
from pathlib import Path

from edge_agent.documents.document_reader import DocumentReader
from edge_agent.documents.document_reader_serial import SerialDocumentReader
from edge_agent.documents.ledger import Ledger, SqliteLedger
from edge_agent.documents.printer import Printer
from edge_agent.documents.printer_ipp import IppPrinter
from edge_agent.documents.receipt_escpos import EscposReceiptPrinter
from edge_agent.documents.receipt_printer import ReceiptPrinter
from edge_agent.documents.terminal import Terminal
from edge_agent.documents.terminal_http import HttpTerminal
from edge_agent.settings import Kiosk as KioskSettings


@dataclass(frozen=True)
class Devices:
    """What stands in the housing of one kiosk."""

    printer: Printer
    reader: DocumentReader
    terminal: Terminal
    receipts: ReceiptPrinter
    ledger: Ledger


def connect(settings: KioskSettings, device: str, data_dir: Path) -> Devices:
    """The adapters of `settings`; nothing but the ledger is opened yet.

    Raises:
        SettingsError: an address is none.
        UnavailableError: the ledger cannot be opened.
    """
    return Devices(
        printer=IppPrinter(settings.printer_uri, device),
        reader=SerialDocumentReader(settings.document_reader_port),
        terminal=HttpTerminal(settings.terminal_url, device),
        receipts=EscposReceiptPrinter(settings.receipt_printer_port),
        ledger=SqliteLedger(data_dir / "documents.db"),
    )
