"""The document reader port: one suite on the fake and on a serial line with a simulated reader."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from contract.documents import Identification
from edge_agent.documents.document_reader import DocumentReader, MemoryDocumentReader
from edge_agent.documents.document_reader_serial import SerialDocumentReader
from edge_agent.documents.mrz import identification, parse
from edge_agent.errors import UnavailableError
from simulators.devices.document_reader import SimulatedDocumentReader
from simulators.mrz import td1
from simulators.people import generate

DEADLINE_S = 10.0
CARD = ("I<UTOD231458907<<<<<<<<<<<<<<<", "7408122F1204159UTO<<<<<<<<<<<6", "ERIKSSON<<ANNA<MARIA<<<<<<<<<<")
PASSPORT = ("P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "L898902C36UTO7408122F1204159ZE184226B<<<<<10")
TODAY = date(2026, 11, 23)


class Fake:
    def __init__(self) -> None:
        self.reader = MemoryDocumentReader()

    def connect(self) -> DocumentReader:
        return self.reader

    def present(self, lines: tuple[str, ...]) -> None:
        self.reader.present("".join(f"{line}\r" for line in lines))


class Simulated:
    def __init__(self, device: SimulatedDocumentReader) -> None:
        self.device = device
        self.present = device.present

    def connect(self) -> DocumentReader:
        return SerialDocumentReader(self.device.port)


Rig = Fake | Simulated


@pytest.fixture(params=["memory", "serial"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    if request.param == "memory":
        yield Fake()
        return
    device = SimulatedDocumentReader()
    yield Simulated(device)
    device.close()


class Ear:
    """Remembers what was heard; `next` waits for it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self.heard = self._queue.put_nowait

    async def next(self) -> str | None:
        return await asyncio.wait_for(self._queue.get(), DEADLINE_S)

    @property
    def nothing(self) -> bool:
        return self._queue.empty()


def play(rig: Rig, story: Callable[[DocumentReader, Ear], Awaitable[Any]]) -> None:
    async def run() -> None:
        reader = rig.connect()
        try:
            await story(reader, Ear())
        finally:
            reader.deafen()

    asyncio.run(run())


@pytest.mark.parametrize("lines", [CARD, PASSPORT])
def test_documents_are_heard_one_after_the_other(rig: Rig, lines: tuple[str, ...]) -> None:
    async def story(reader: DocumentReader, ear: Ear) -> None:
        reader.listen(ear.heard)
        for _ in range(3):
            rig.present(lines)
            text = await ear.next()
            assert text is not None
            assert text.split("\r")[:-1] == list(lines)
            assert parse(text, TODAY).document_number in ("D23145890", "L898902C3")

    play(rig, story)


def test_what_was_presented_before_is_not_heard(rig: Rig) -> None:
    async def story(reader: DocumentReader, ear: Ear) -> None:
        rig.present(CARD)
        reader.listen(ear.heard)
        rig.present(PASSPORT)
        text = await ear.next()
        assert text is not None
        assert text.startswith("P<UTO")
        assert ear.nothing

    play(rig, story)


def test_after_deafen_nothing_is_heard_until_it_listens_again(rig: Rig) -> None:
    async def story(reader: DocumentReader, ear: Ear) -> None:
        reader.listen(ear.heard)
        reader.deafen()
        reader.deafen()
        rig.present(CARD)
        reader.listen(ear.heard)
        rig.present(PASSPORT)
        text = await ear.next()
        assert text is not None
        assert text.startswith("P<UTO")

    play(rig, story)


def test_what_is_no_zone_is_heard_too_and_does_not_stick(rig: Rig) -> None:
    async def story(reader: DocumentReader, ear: Ear) -> None:
        reader.listen(ear.heard)
        rig.present(("NO ZONE",))
        assert await ear.next() == "NO ZONE\r"
        rig.present(CARD)
        text = await ear.next()
        assert text is not None
        parse(text, TODAY)

    play(rig, story)


def test_half_a_document_ends_with_a_pause() -> None:
    device = SimulatedDocumentReader()
    rig = Simulated(device)

    async def story(reader: DocumentReader, ear: Ear) -> None:
        reader.listen(ear.heard)
        device.present(CARD[:2])
        assert await ear.next() == f"{CARD[0]}\r{CARD[1]}\r"

    play(rig, story)
    device.close()


def test_endless_noise_is_cut_off() -> None:
    device = SimulatedDocumentReader()

    async def story(reader: DocumentReader, ear: Ear) -> None:
        reader.listen(ear.heard)
        os.write(device._line.device, b"A" * 2000)
        text = await ear.next()
        assert text is not None
        assert 512 < len(text) < 600

    play(Simulated(device), story)
    device.close()


def test_a_reader_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    async def story() -> None:
        with pytest.raises(UnavailableError, match="ttyUSB9"):
            SerialDocumentReader(tmp_path / "ttyUSB9").listen(lambda _text: None)

    asyncio.run(story())


def test_a_reader_that_is_unplugged_is_heard_as_lost() -> None:
    device = SimulatedDocumentReader()

    async def story(reader: DocumentReader, ear: Ear) -> None:
        reader.listen(ear.heard)
        device.close()
        assert await ear.next() is None

    play(Simulated(device), story)


def test_cards_of_the_simulated_people_identify_them() -> None:
    people = generate(seed=7, households=10).persons.values()
    assert people
    for person in people:
        found = identification(parse("\r".join(td1(person)), TODAY), TODAY)
        assert found == Identification(
            personal_number=person.personal_number,
            document_number=person.document_number,
            date_of_birth=person.date_of_birth.isoformat(),
        )
