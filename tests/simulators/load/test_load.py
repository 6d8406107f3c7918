"""Many devices with certificates of their own on one broker: it goes, it comes back, and nothing is lost."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from contract.messages import Lane
from edge_agent.link.journal import Deletion, Message
from simulators.__main__ import main
from simulators.load.__main__ import allow_files, lines, names
from simulators.load.fleet import Speech
from simulators.load.place import Ledger, Place, laid
from simulators.load.run import Outcome, Plan, play
from simulators.load.tally import TalliedJournal, peak_per_s, percentile

FEW = 40
MANY = 500


def plan(end: Literal["none", "kill"]) -> Plan:
    return Plan(Speech(0.5, jitter=True, seed=3, ack_timeout_s=2.0), seconds=1.5, end=end, outage_s=1.0)


def quiet(_line: str) -> None:
    """Say nothing."""


@pytest.mark.system
def test_nothing_is_lost_or_doubled_when_the_broker_is_killed(tmp_path: Path) -> None:
    async def live() -> tuple[Outcome, Outcome]:
        async with laid(tmp_path, names(FEW)) as place:
            killed = await play(place, plan("kill"), quiet)
            spoil(place)
            return killed, await play(place, plan("none"), quiet)

    outcome, spoilt = asyncio.run(live())
    assert outcome.whole, outcome
    assert outcome.storm is not None
    assert outcome.storm.waiting > FEW / 2, "the devices went on speaking while it was away"
    assert outcome.recorded > 3 * FEW
    assert outcome.storm.connects_peak_per_s <= FEW
    assert {"broker", "ingest", "generator"} == set(outcome.storm.cpu_s)
    assert any("lost 0, duplicated 0" in line for line in lines(outcome))
    assert (spoilt.lost, spoilt.duplicated) == (1, 1), "the store is looked into, the generator not believed"
    assert not spoilt.whole


def spoil(place: Place) -> None:
    """Plant a bug: the store forgets a sample of one device, and has one of another that was never sent."""
    read = place.ledger
    looks: list[None] = []

    def spoilt() -> Ledger:
        looks.append(None)
        if len(looks) == 2:  # the first look is before the devices speak
            with closing(sqlite3.connect(place.cloud / "telemetry.db")) as database, database:
                found = "SELECT id FROM series WHERE metric = 'uptime_s' ORDER BY device LIMIT 2"
                (first,), (second,) = database.execute(found).fetchall()
                oldest = "SELECT min(at) FROM points WHERE series = ?1"
                database.execute(f"DELETE FROM points WHERE series = ?1 AND at = ({oldest})", (first,))
                database.execute("INSERT INTO points VALUES (?, 1, 0.0)", (second,))
        return read()

    place.ledger = spoilt  # type: ignore[method-assign] # on purpose


@pytest.mark.system
@pytest.mark.long
@pytest.mark.parametrize("end", ["term", "kill"])
def test_five_hundred_links_lose_nothing_when_the_broker_ends(
    end: Literal["term", "kill"], tmp_path: Path
) -> None:
    allow_files(MANY)

    async def live() -> Outcome:
        async with laid(tmp_path, names(MANY)) as place:
            speech = Speech(every_s=10.0, jitter=True, seed=3)
            return await play(place, Plan(speech, seconds=30.0, end=end, outage_s=10.0), quiet)

    outcome = asyncio.run(live())
    print("\n".join(lines(outcome)))
    assert outcome.whole, outcome


@pytest.mark.parametrize("words", [["--devices", "0"], ["--devices", "9999"], ["--seconds", "0"]])
def test_a_load_has_bounds(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load", *words]) == 64
    assert "1 to 2000 devices" in capsys.readouterr().err


def test_lags_are_of_what_the_cloud_acknowledged_and_drops_are_counted_apart() -> None:
    now = [1000]
    changes: list[None] = []
    journal = TalliedJournal(lambda: now[0], lambda: changes.append(None))
    journal.begin("b", 1000)

    def message(seq: int, at: int) -> Message:
        return Message("b", Lane.TELEMETRY, seq, False, at, "t", b"{}")

    journal.write([message(1, 1000), message(2, 1010), message(3, 1020)], [])
    assert journal.oldest_ms == 1000
    now[0] = 1100
    journal.write([], [Deletion("b", Lane.TELEMETRY, 2, 2)])
    journal.write(
        [message(4, 1100)], [Deletion("b", Lane.TELEMETRY, 0, 1), Deletion("b", Lane.TELEMETRY, 0, 3)]
    )
    assert (journal.recorded, journal.acknowledged, journal.dropped) == (4, 2, 1)
    assert list(journal.lags_ms) == [100, 80]
    assert journal.oldest_ms == 1100
    assert len(changes) == 3


def test_peaks_and_percentiles() -> None:
    assert peak_per_s([0.0, 0.2, 0.9, 1.1, 5.0, 5.1], 0.0) == 3
    assert peak_per_s([0.0, 0.2, 0.9, 1.1, 5.0, 5.1], 1.0) == 2
    assert peak_per_s([], 0.0) == 0
    assert [percentile(range(100), each) for each in (0, 50, 99, 100)] == [0, 50, 99, 99]
    assert percentile([], 50) == 0
