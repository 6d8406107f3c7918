"""What must hold in every world, at each moment or at its end."""

from collections.abc import Iterator

from cloud.documents.core import Attention
from cloud.jobs.core import PENDING
from simulators.world.cloud import Cloud, settled
from simulators.world.device import Device
from simulators.world.printer import Printer


def always(devices: list[Device], printers: list[Printer], cloud: Cloud) -> Iterator[str]:
    """Safety: may be asked at any moment."""
    for printer in printers:
        for document, sheets in printer.sheets.items():
            if sheets > 1:
                yield f"{document} was printed {sheets} times"
    by_name = {device.name: device for device in devices}
    for (name, key), count in cloud.db.stored.items():
        if count > 1:
            yield f"{name} {key} was stored {count} times"
        if key not in by_name[name].disk.ever:
            yield f"{name} {key} is stored, and the device never had it on its disk"
    stored = set(cloud.db.stored)
    for device in devices:
        if len(device.disk.messages) > device.bounds.rows_max:
            yield f"{device.name} keeps {len(device.disk.messages)} messages"
        for key in device.disk.promised:
            if key not in device.disk.messages and (device.name, key) not in stored:
                yield f"{device.name} {key} was promised, and it is neither on the disk nor stored"
        for key in device.disk.ever - device.disk.promised - device.disk.dropped:
            if key not in device.disk.messages and (device.name, key) not in stored:
                yield f"{device.name} {key} is gone, and nobody counted it"
    for document in cloud.payments.captured & cloud.payments.released:
        yield f"{document} was captured and released"


def healed(devices: list[Device], printers: list[Printer], cloud: Cloud) -> Iterator[str]:
    """Liveness, and what is true of money and paper once everything has come to its end."""
    for device in devices:
        if not device.on or device.reconnection.state != "up":
            yield f"{device.name} is not connected"
        elif device.outbox.rows:
            yield f"{device.name} still keeps {device.outbox.rows} messages"
    for job, execution in cloud.db.executions.items():
        if execution.status in PENDING:
            yield f"job {job} is still {execution.status}"
    sheets: dict[str, int] = {}
    for printer in printers:
        for document, count in printer.sheets.items():
            sheets[document] = sheets.get(document, 0) + count
    for document, facts in cloud.db.facts.items():
        printed = sheets.get(document, 0) > 0
        captured = document in cloud.payments.captured
        if not settled(facts):
            yield f"{document} is still {facts.state} with its payment {facts.payment}"
        if captured and not printed:
            yield f"{document} was charged, and there is no paper"
        if printed and not captured and facts.attention is not Attention.PAPER_AFTER_END:
            yield f"{document} was printed, not charged, and nobody was told"
        if not captured and document in cloud.payments.held and document not in cloud.payments.released:
            yield f"{document} is not charged, and its money is still held"
