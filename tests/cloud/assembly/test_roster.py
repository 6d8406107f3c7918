"""Who sits where: what a person types or imports is checked, and every change is written down."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session, sessionmaker

from cloud.assembly import roster
from cloud.assembly.pages import router
from cloud.assembly.problems import RosterError
from cloud.assembly.roster import Member, parse
from cloud.database.models.devices import Device
from cloud.database.models.operators import AuditEntry
from cloud.errors import MalformedError
from tests.cloud.conftest import Staff

TABLE = "seat,name,group,chair\n1,Besa Provi,,yes\n12,Љиљана Пробић,Lista e Re,\n"


@pytest.fixture
def staff(
    sessions: sessionmaker[Session], pages_app: Callable[..., FastAPI], sign_in: Callable[..., Staff]
) -> Staff:
    with sessions.begin() as database:
        for device, kind in (("hall-01", "recorder"), ("kiosk-01", "kiosk")):
            at = datetime.now(UTC)
            database.add(Device(device=device, kind=kind, site="x", registered_at=at))
    return sign_in(pages_app(router(sessions)))


def seated(sessions: sessionmaker[Session]) -> dict[str, tuple[str, bool]]:
    with sessions() as database:
        return {each.seat: (each.name, each.chair) for each in roster.seats(database, "hall-01")}


def test_a_table_is_read_whole() -> None:
    assert parse(TABLE) == [
        Member("1", "Besa Provi", "", chair=True),
        Member("12", "Љиљана Пробић", "Lista e Re", chair=False),
    ]
    assert parse("\ufeff" + TABLE.replace(",", ";").replace("\n", "\r\n")) == parse(TABLE)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("", "the first line must be seat,name,group,chair"),
        ("\nname,seat\n", "line 2: The first line must be"),
        (TABLE + "12,Somebody,,\n", "line 4: Seat 12 stands there twice"),
        (TABLE + "\n13,Somebody,,yes\n", "line 5: One person at most presides"),
        (TABLE + "13,Somebody\n", "line 4: A line has 4 columns"),
        (TABLE + "13,Somebody,,maybe\n", "line 4: Whether somebody presides is yes or no, not 'maybe'"),
        (TABLE + "a seat,Somebody,,\n", "line 4: A seat is .* not 'a seat'"),
        (TABLE + "13,,,\n", "line 4: A name has 1 to"),
        (TABLE + '13,"Some', "line 4: The table cannot be read as CSV"),
        ("seat,name,group,chair\n", "A hall has 1 to 500 seats"),
        ("x" * 60_000, "more than 50000 characters"),
    ],
)
def test_a_table_that_is_wrong_says_where(table: str, sentence: str) -> None:
    with pytest.raises(RosterError, match=f"(?i){sentence}"):
        parse(table)


@given(st.text(max_size=300))
def test_any_text_is_a_table_or_refused(text: str) -> None:
    try:
        members = parse(text)
    except MalformedError:
        return
    assert members
    assert len({each.seat for each in members}) == len(members)


def test_staff_import_edit_and_remove(staff: Staff, sessions: sessionmaker[Session]) -> None:
    def post(path: str, **fields: str) -> int:
        return staff.client.post(f"/assembly/hall-01/{path}", data={"csrf": staff.csrf, **fields}).status_code

    assert post("import", table=TABLE) == 303
    assert seated(sessions) == {"1": ("Besa Provi", True), "12": ("Љиљана Пробић", False)}
    assert post("seats", seat="12", name="Љиљана  Пробић", chair="yes") == 303
    assert seated(sessions) == {"12": ("Љиљана Пробић", True), "1": ("Besa Provi", False)}, "one chair only"
    assert post("seats/1/remove") == 303
    assert post("seats/1/remove") == 409
    assert post("import", table="nonsense") == post("seats", seat="a seat", name="Besa") == 400
    assert seated(sessions) == {"12": ("Љиљана Пробић", True)}, "a wrong table changes nothing"
    page = staff.client.get("/assembly?hall=hall-01&seat=12").text
    assert 'value="Љиљана Пробић"' in page
    with sessions() as database:
        entries = [
            (each.action, each.subject, each.details) for each in database.scalars(sa.select(AuditEntry))
        ]
    assert entries == [
        ("import-seats", "hall-01", {"seats": 2}),
        ("put-seat", "hall-01", {"seat": "12", "chair": True}),
        ("remove-seat", "hall-01", {"seat": "1"}),
    ], "no name in the audit"


def test_what_was_not_taken_stays_on_the_page_with_the_reason(staff: Staff) -> None:
    table = TABLE + "13,Somebody,,maybe\n"
    page = staff.client.post("/assembly/hall-01/import", data={"csrf": staff.csrf, "table": table})
    assert "Line 4: Whether somebody presides is yes or no, not &#39;maybe&#39;." in page.text
    assert "13,Somebody,,maybe\n</textarea>" in page.text
    form = {"csrf": staff.csrf, "seat": "a seat", "name": "Besa Provi", "group": "Lista e Re"}
    page = staff.client.post("/assembly/hall-01/seats", data=form)
    assert "not &#39;a seat&#39;." in page.text
    assert all(f'value="{form[name]}"' in page.text for name in ("seat", "name", "group"))


def test_only_halls_have_seats(staff: Staff) -> None:
    form = {"csrf": staff.csrf, "seat": "1", "name": "x"}
    assert staff.client.get("/assembly?hall=kiosk-01").status_code == 404
    assert staff.client.post("/assembly/kiosk-01/seats", data=form).status_code == 404
    assert staff.client.post("/assembly/hall-01/seats", data={"seat": "1", "name": "x"}).status_code == 403
    staff.client.cookies.clear()
    assert staff.client.get("/assembly").status_code == 303
