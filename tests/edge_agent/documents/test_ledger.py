"""The ledger: one suite on memory and on SQLite; what is written is there after a restart."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.documents.ledger import Claim, Ledger, MemoryLedger, SqliteLedger
from edge_agent.documents.printing import Record, State
from edge_agent.errors import UnavailableError

Open = Callable[[], Ledger]


@pytest.fixture(params=["memory", "sqlite"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same ledger again, as after a restart."""
    if request.param == "memory":
        kept = MemoryLedger()
        return lambda: kept
    return lambda: SqliteLedger(tmp_path / "kiosk" / "ledger.db")


def test_a_row_is_there_after_a_restart_and_is_written_anew(reopen: Open) -> None:
    ledger = reopen()
    assert ledger.read("d1") is None
    ledger.write(Record("d1", "j1", State.SPOOLING))
    ledger.close()
    ledger = reopen()
    assert ledger.read("d1") == Record("d1", "j1", State.SPOOLING)
    ledger.write(Record("d1", "j2", State.PRINTED, 7))
    assert ledger.read("d1") == Record("d1", "j2", State.PRINTED, 7)
    ledger.close()


def test_papers_whose_end_is_not_known_are_listed(reopen: Open) -> None:
    ledger = reopen()
    for state in State:
        ledger.write(Record(state.value, "j", state))
    assert {record.state for record in ledger.unsettled()} == {
        State.SPOOLING,
        State.PRINTING,
        State.IN_DOUBT,
    }
    ledger.close()


def test_a_payment_is_claimed_before_it_is_known_and_settled_once(reopen: Open) -> None:
    ledger = reopen()
    ledger.claim(Claim("d1"))
    ledger.claim(Claim("d2"))
    ledger.claim(Claim("d1", "auth-1"))
    ledger.close()
    ledger = reopen()
    assert ledger.claims() == [Claim("d1", "auth-1"), Claim("d2")]
    ledger.settle("d1")
    ledger.settle("d1")
    assert ledger.claims() == [Claim("d2")]
    ledger.close()


def test_the_file_holds_ids_and_states_only(tmp_path: Path) -> None:
    SqliteLedger(tmp_path / "ledger.db").close()
    database = sqlite3.connect(tmp_path / "ledger.db")
    columns = {
        (table, row[1])
        for table in ("papers", "claims")
        for row in database.execute(f"PRAGMA table_info({table})")
    }
    database.close()
    assert columns == {
        ("papers", "row"),
        ("papers", "document"),
        ("papers", "job"),
        ("papers", "state"),
        ("papers", "ipp_job_id"),
        ("claims", "row"),
        ("claims", "document"),
        ("claims", "authorisation"),
    }


def test_a_file_that_is_no_ledger_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(UnavailableError, match=r"ledger\.db"):
        SqliteLedger(path)


def test_ended_papers_make_place_and_open_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.documents.ledger.ROWS_MAX", 3)
    ledger = SqliteLedger(tmp_path / "ledger.db")
    ledger.write(Record("open", "j", State.IN_DOUBT))
    for i in range(6):
        ledger.write(Record(f"d{i}", "j", State.PRINTED))
    ledger.close()
    ledger = SqliteLedger(tmp_path / "ledger.db")
    assert [name for name in ("open", *(f"d{i}" for i in range(6))) if ledger.read(name)] == [
        "open",
        "d3",
        "d4",
        "d5",
    ]
    ledger.close()
