"""What everybody may see of a paper, and what staff can decide."""

import hashlib
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cloud.database.models.operators import AuditEntry
from cloud.documents import codes, staff, verify
from cloud.documents.file_hash import FILE_BYTES_MAX
from cloud.documents.issue import spaced
from contract.documents import PrintOutcome
from contract.languages import LANGUAGES
from tests.cloud.conftest import Staff
from tests.cloud.documents.desk import KINDS, KIOSK, MAN, Desk

PagesApp = Callable[..., FastAPI]
SignIn = Callable[[FastAPI], Staff]


@pytest.fixture
def app(desk: Desk, pages_app: PagesApp) -> FastAPI:
    return pages_app(verify.router(desk.sessions, KINDS, clock=desk.clock), staff.router(desk.documents))


@pytest.fixture
def anybody(app: FastAPI) -> TestClient:
    return TestClient(app, follow_redirects=False, headers={"Accept-Language": "en"})


@pytest.fixture
def printed(desk: Desk) -> tuple[str, bytes]:
    """A paper that was handed out: its code and its PDF."""
    document = desk.paid()
    pdf = desk.counter.paper(KIOSK, document)
    desk.evidence(document, PrintOutcome.PRINTED)
    desk.wait(document, "closed")
    return str(desk.row(document).code), pdf


def test_the_qr_code_leads_to_the_page_in_the_readers_language(
    anybody: TestClient, printed: tuple[str, bytes]
) -> None:
    code, _ = printed
    for accepted, lang in {
        "sq": "sq",
        "sr-Latn": "sr-Latn",
        "sr": "sr-Cyrl",
        "en-GB": "en",
        "de": "sq",
    }.items():
        answer = anybody.get(f"/v/{code}", headers={"Accept-Language": accepted})
        assert (answer.status_code, answer.headers["location"]) == (303, f"/{lang}/verify/{code}")
    assert anybody.get("/verify").headers["location"] == "/en/verify"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_page_says_what_it_is_and_not_what_it_says(
    lang: str, anybody: TestClient, printed: tuple[str, bytes], desk: Desk
) -> None:
    code, pdf = printed
    answer = anybody.get(f"/{lang}/verify/{code}")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    for value in (
        KINDS.by_name["possession-sheet"].title[lang],
        "PR-2026-000001",
        "23.11.2026",
        "22.05.2027",
        hashlib.sha256(pdf).hexdigest(),
    ):
        assert value in answer.text, value
    for secret in (MAN.surname, MAN.given_names, "UL-7", "P-7", MAN.personal_number):
        assert secret not in answer.text, secret


def test_the_end_of_validity_is_said(anybody: TestClient, printed: tuple[str, bytes], desk: Desk) -> None:
    code, _ = printed
    assert "is valid" in anybody.get(f"/en/verify/{code}").text
    desk.clock.forward(180 * 86_400)
    assert "is valid" in anybody.get(f"/en/verify/{code}").text
    desk.clock.forward(86_400)
    assert "its validity has ended" in anybody.get(f"/en/verify/{code}").text


def test_a_code_may_be_typed_as_people_type(anybody: TestClient, printed: tuple[str, bytes]) -> None:
    code, _ = printed
    typed = spaced(code).lower().replace("0", "o").replace("1", "l")
    answer = anybody.get("/en/verify", params={"code": f" {typed} "})
    assert answer.headers["location"] == f"/en/verify/{code}"


@pytest.mark.parametrize("typed", ["x", "0" * 26, "../../etc/passwd", "%00", "ë" * 26])
def test_whatever_is_no_code_of_ours_is_the_same_page(anybody: TestClient, typed: str) -> None:
    expected = anybody.get("/en/verify/" + "Z" * 26)
    answer = anybody.get("/en/verify", params={"code": typed})
    answer = anybody.get(answer.headers["location"])
    asked = answer.url.path.removeprefix("/en/verify/")
    assert answer.status_code == 404
    assert answer.text.replace(f"/verify/{asked}", "") == expected.text.replace("/verify/" + "Z" * 26, "")


@pytest.mark.parametrize("state", ["priced", "failed"])
def test_a_paper_that_never_was_is_unknown(anybody: TestClient, desk: Desk, state: str) -> None:
    document = desk.paid()
    desk.evidence(document, PrintOutcome.NOT_PRINTED)
    code = desk.settled(document).code
    assert anybody.get(f"/en/verify/{code}").status_code == 404


def test_who_tries_too_many_codes_waits(anybody: TestClient, printed: tuple[str, bytes], desk: Desk) -> None:
    code, _ = printed
    statuses = [
        anybody.get(f"/en/verify/{codes.encode(bytes(15) + bytes([n]))}").status_code for n in range(100, 125)
    ]
    assert statuses == [404] * 20 + [429] * 5
    assert anybody.get(f"/en/verify/{code}").status_code == 429
    desk.clock.forward(601)
    assert anybody.get(f"/en/verify/{code}").status_code == 200


def upload(anybody: TestClient, code: str, data: bytes) -> str:
    answer = anybody.post(f"/en/verify/{code}", files={"file": ("paper.pdf", data, "application/pdf")})
    assert answer.status_code == 200, answer.text
    (shown,) = [
        name for name in ("same", "different", "missing") if f'data-compared="{name}">' in answer.text
    ]
    return shown


def test_without_scripts_the_file_is_compared_by_us(anybody: TestClient, printed: tuple[str, bytes]) -> None:
    code, pdf = printed
    assert upload(anybody, code, pdf) == "same"
    assert upload(anybody, code, pdf + b" ") == "different"
    assert upload(anybody, code, b"") == "missing"
    assert upload(anybody, code, b"x" * (FILE_BYTES_MAX - 1)) == "different"


def test_too_much_and_nonsense_are_refused(anybody: TestClient, printed: tuple[str, bytes]) -> None:
    code, _ = printed
    here = f"/en/verify/{code}"
    assert anybody.post(here, files={"file": ("x", b"x" * (FILE_BYTES_MAX + 1))}).status_code == 413
    assert anybody.post(here, files={"file": ("x", b"x" * (FILE_BYTES_MAX + 50_000))}).status_code == 413
    assert anybody.post(here, content=b"x" * 100).status_code == 400
    broken = {"content-type": "multipart/form-data; boundary=b"}
    assert anybody.post(here, content=b"nonsense", headers=broken).status_code == 400
    long_header = b"--b\r\nContent-Disposition: form-data; name=" + b"x" * 60_000
    assert anybody.post(here, content=long_header, headers=broken).status_code in (200, 400)
    assert anybody.post("/en/verify/" + "Z" * 26, files={"file": ("x", b"x")}).status_code == 404


def test_strangers_see_no_list(anybody: TestClient) -> None:
    assert anybody.get("/documents").status_code == 303
    assert anybody.post("/documents/x/deliver").status_code == 303


def test_staff_see_states_and_what_waits_for_them_but_no_names(
    app: FastAPI, sign_in: SignIn, desk: Desk
) -> None:
    browser = sign_in(app)
    assert "Nothing waits for a decision" in browser.client.get("/documents").text
    document = desk.paid()
    desk.priced(2)
    desk.evidence(document, PrintOutcome.PRINTING, ipp_job_id=4, ipp_job_state=5, reasons=["media-jam"])
    desk.evidence(document, PrintOutcome.IN_DOUBT, reasons=["job-completed-with-errors"], sheets=0)
    page = browser.client.get("/documents").text
    for text in (
        "In doubt",
        "media-jam",
        "being printed",
        "the kiosk does not know",
        "Waiting for payment",
        document,
        KIOSK,
    ):
        assert text in page, text
    for secret in (MAN.surname, MAN.given_names, MAN.personal_number):
        assert secret not in page
    assert (
        "Waiting for payment" not in browser.client.get("/documents?state=in_doubt").text.split("<tbody>")[-1]
    )
    assert browser.client.get("/documents?state=nonsense").status_code == 404


@pytest.mark.parametrize(
    ("decision", "state", "money"), [("deliver", "closed", "captured"), ("void", "voided", "voided")]
)
def test_staff_end_a_doubt_and_it_is_written_down(
    app: FastAPI, sign_in: SignIn, desk: Desk, decision: str, state: str, money: str
) -> None:
    browser = sign_in(app)
    document = desk.paid()
    desk.evidence(document, PrintOutcome.IN_DOUBT)
    here = f"/documents/{document}/{decision}"
    assert browser.client.post(here).status_code == 403, "without the CSRF token"
    assert desk.row(document).state == "in_doubt"
    answer = browser.client.post(here, data={"csrf": browser.csrf})
    assert (answer.status_code, answer.headers["location"]) == (303, "/documents")
    assert desk.wait(document, state)
    desk.settled(document)
    assert desk.payments.state(f"auth-{document}") == money
    with desk.sessions() as session:
        (entry,) = session.scalars(sa.select(AuditEntry))
    assert (entry.actor, entry.action, entry.subject) == ("ana", f"{decision}-document", document)
    assert entry.details == {"evidence": ["in-doubt"]}
    again = browser.client.post(here, data={"csrf": browser.csrf})
    assert again.status_code == 409
    assert browser.client.post("/documents/x/deliver", data={"csrf": browser.csrf}).status_code == 409
    assert browser.client.post(f"/documents/{document}/eat", data={"csrf": browser.csrf}).status_code == 404


def test_codes_are_128_bits_and_forgiving() -> None:
    assert codes.encode(bytes(16)) == "0" * 26
    assert codes.encode(b"\xff" * 16) == "7" + "Z" * 25
    code = codes.encode(bytes(range(16)))
    assert codes.normal(spaced(code).lower()) == code
    assert codes.normal("I" * 26) == codes.normal("l" * 26) == "1" * 26
    assert codes.normal("U" * 26) is None
    assert codes.normal("0" * 25) is None
    assert codes.normal("-" * 1000) is None
