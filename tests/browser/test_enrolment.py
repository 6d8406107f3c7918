"""The operators' page of enrolment, in a browser."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import FastAPI
from playwright.sync_api import expect
from sqlalchemy.orm import sessionmaker

from cloud.database.engine import connect
from cloud.database.metadata import complete
from cloud.database.models.devices import Device
from cloud.database.models.enrolment import DeviceCertificate
from cloud.database.models.operators import Operator, OperatorSession
from cloud.enrolment import authority, drops
from cloud.enrolment import pages as enrolment_pages
from cloud.enrolment.authority import Authority
from cloud.enrolment.causes import Cause
from cloud.enrolment.ends import End, What
from cloud.enrolment.issuers import Issuers
from cloud.enrolment.office import Office
from cloud.enrolment.refusals import count
from cloud.operators import access
from cloud.web.application import build_pages
from cloud.web.pages import LANGUAGE_COOKIE, Pages
from contract.languages import LANGUAGES
from tests.browser.conftest import NewPage, Serve
from tests.browser.looking import SIZES, look_ok, screenshot

TOKEN = "a session of a test"
ROOT = authority.found("Civic Fleet Root", datetime.now(UTC))


def signer(number: int) -> Authority:
    """An authority below the root that has less than a year left."""
    key = ec.generate_private_key(ec.SECP256R1())
    begun = datetime.now(UTC) + timedelta(days=60 * number) - authority.ISSUING_AGE
    return ROOT.issuing(key, f"Civic Fleet Authority {number}", begun)


SIGNERS = [signer(number) for number in (4, 3, 2, 1)]
PRESENT, IN_USE, UNUSED, DISTRUSTED = (each.certificate for each in SIGNERS)

NEAR = tuple(
    End(what, name, datetime.now(UTC) + timedelta(days=days))
    for what, name, days in (
        (What.ISSUER, "Civic Fleet Authority 4", 240),
        (What.ROOT, "Civic Fleet Root", 700),
        (What.SERVERS, "broker", 20),
        (What.REVOCATIONS, "Civic Fleet Authority 3", 5),
    )
)


def certified(device: str, number: int) -> bytes:
    """A certificate (DER) for `device`, of any authority but the one that nobody uses any more."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    by = [SIGNERS[0], SIGNERS[1], SIGNERS[3]][number % 3]
    return by.device(key, device, "kiosk", now()).public_bytes(Encoding.DER)


STATES = ["active", "issued", "trial", "superseded", "revoked", "expired"]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FastAPI]:
    """Devices with certificates in every state, and some refusals; `ana` is signed in under `TOKEN`."""
    engine = connect(f"sqlite:///{tmp_path / 'fleet.db'}")
    complete().create_all(engine)
    sessions = sessionmaker(engine, expire_on_commit=False)
    with sessions.begin() as session:
        operator = Operator(
            name="ana", password_hash="", role="administrator", must_change_password=False, created_at=now()
        )
        session.add(operator)
        for i, state in enumerate([*STATES, None]):
            device = f"kiosk-{i:02}"
            session.add(Device(device=device, kind="kiosk", site="Dardania", registered_at=now()))
            session.flush()
            if state is not None:
                made = {"by": "token", "fingerprint_sha256": "", "issued_at": now()}
                until = now() + timedelta(days=30)
                session.add(
                    DeviceCertificate(
                        serial=f"{i:x}",
                        device=device,
                        state=state,
                        expires_at=until,
                        certificate=certified(device, i),
                        **made,
                    )
                )
        session.add(
            OperatorSession(
                token_sha256=access.token_digest(TOKEN),
                operator_id=operator.id,
                created_at=now(),
                seen_at=now(),
            )
        )
    for cause in Cause:
        count(sessions, cause, now())
    with sessions.begin() as session:
        drops.ask(session, "kiosk-04", now())
    known = Issuers(PRESENT, ROOT.certificate, (IN_USE, UNUSED), (DISTRUSTED,))
    router = enrolment_pages.router(
        Office(sessions, lambda _at: None, lambda _session, _device: None, lambda: known, lambda: NEAR)
    )
    made_app = build_pages("test", [router], pages=Pages(), secure=False)
    access.protect(made_app, sessions, now=now, secure=False)
    yield made_app
    engine.dispose()


@pytest.mark.parametrize("size", ["phone", "desktop"])
@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_token_is_issued_and_a_device_revoked(
    app: FastAPI, serve: Serve, new_page: NewPage, lang: str, size: str
) -> None:
    page = new_page(SIZES[size])
    url = serve(app).url
    page.context.add_cookies(
        [
            {"name": name, "value": value, "url": url}
            for name, value in ((access.cookie_name(False), TOKEN), (LANGUAGE_COOKIE, lang))
        ]
    )
    page.goto(f"{url}/enrolment")
    look_ok(page, f"enrolment-{lang}")
    page.locator("#authorities").evaluate("each => each.scrollIntoView()")
    screenshot(page, f"enrolment-authorities-{lang}")
    page.locator("input[name=device]").fill("kiosk-77")
    page.locator("input[name=site]").fill("Ulpiana")
    page.locator("form.grid button").click()
    expect(page.locator("code.token")).to_be_visible()
    look_ok(page, f"enrolment-token-{lang}")
    page.get_by_role("link", name="kiosk-00").click()
    look_ok(page, f"enrolment-device-{lang}")
    page.locator("summary").first.click()
    page.locator("button.danger").first.click()
    expect(page.locator(".chip.good")).to_have_count(1)
    expect(page.locator("[data-refresh] .notice")).to_be_visible()
    page.locator("summary").first.click()
    page.locator("input[name=confirm]").fill("kiosk-01")
    page.locator("button.danger").first.click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.civic_errors.clear()  # type: ignore[attr-defined] # the browser notes the 422 itself
    look_ok(page, f"enrolment-unconfirmed-{lang}")
    page.locator("input[name=confirm]").fill("kiosk-00")
    page.locator("button.danger").first.click()
    expect(page.locator("form[action$=readmit]")).to_be_visible()
    look_ok(page, f"enrolment-out-of-service-{lang}")
    page.goto(f"{url}/enrolment")
    page.locator("input[name=device]").fill("svc-control")
    page.locator("input[name=site]").fill("x")
    page.locator("form.grid button").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.civic_errors.clear()  # type: ignore[attr-defined] # the browser notes the 422 itself
    look_ok(page, f"enrolment-refused-{lang}")
