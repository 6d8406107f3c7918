"""One suite for the fake payments and for the adapter on the simulated provider."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from cloud.documents.payments_http import PaymentsHttp
from cloud.documents.ports import Payments
from cloud.errors import RefusedError, UnavailableError
from simulators.services.payments import payments_app
from tests.ports.documents_fakes import FakePayments
from tests.ports.serving import served

CENTS = 400

Authorise = Callable[[str], str]
"""Lets a citizen pay for a reference; gives the authorisation."""


@pytest.fixture
def provider() -> Iterator[str]:
    with served(payments_app()) as url:
        yield url


@pytest.fixture(params=["fake", "http"])
def both(request: pytest.FixtureRequest) -> Iterator[tuple[Payments, Authorise]]:
    if request.param == "fake":
        fake = FakePayments()

        def pay_fake(reference: str) -> str:
            fake.authorise(f"auth-{reference}", reference, CENTS)
            return f"auth-{reference}"

        yield fake, pay_fake
        return
    url = request.getfixturevalue("provider")
    adapter = PaymentsHttp(url)

    def pay(reference: str) -> str:
        question = {"reference": reference, "amount_cents": CENTS, "wait_s": 0}
        waiting = httpx.post(f"{url}/terminals/kiosk-01/authorisations", json=question).json()
        httpx.post(f"{url}/terminals/kiosk-01/card", json={"outcome": "approve"}).raise_for_status()
        return str(waiting["authorisation"])

    yield adapter, pay
    adapter.close()


def state(payments: Payments, authorisation: str) -> str:
    found = payments.authorisation(authorisation)
    assert found is not None
    return found.state


def test_what_is_held_is_told(both: tuple[Payments, Authorise]) -> None:
    payments, pay = both
    authorisation = pay("doc-1")
    found = payments.authorisation(authorisation)
    assert found is not None
    assert (found.authorisation, found.reference, found.amount_cents, found.state) == (
        authorisation,
        "doc-1",
        CENTS,
        "authorised",
    )
    assert payments.last_for("doc-1") == found


def test_what_is_not_there_is_none(both: tuple[Payments, Authorise]) -> None:
    payments, _pay = both
    assert payments.authorisation("auth-99999999") is None
    assert payments.last_for("doc-99") is None


def test_money_is_taken_once_however_often_it_is_asked_for(both: tuple[Payments, Authorise]) -> None:
    payments, pay = both
    authorisation = pay("doc-1")
    payments.capture(authorisation, "doc-1")
    payments.capture(authorisation, "doc-1")
    assert state(payments, authorisation) == "captured"
    with pytest.raises(RefusedError):
        payments.void(authorisation, "doc-1")


def test_money_that_went_back_is_not_taken(both: tuple[Payments, Authorise]) -> None:
    payments, pay = both
    authorisation = pay("doc-1")
    payments.void(authorisation, "doc-1")
    payments.void(authorisation, "doc-1")
    assert state(payments, authorisation) == "voided"
    with pytest.raises(RefusedError):
        payments.capture(authorisation, "doc-1")


def test_an_unknown_authorisation_is_refused(both: tuple[Payments, Authorise]) -> None:
    payments, _pay = both
    with pytest.raises(RefusedError):
        payments.capture("auth-99999999", "doc-1")


def test_the_statement_shows_one_capture(provider: str) -> None:
    adapter = PaymentsHttp(provider)
    question = {"reference": "doc-7", "amount_cents": CENTS, "wait_s": 0}
    waiting = httpx.post(f"{provider}/terminals/kiosk-01/authorisations", json=question).json()
    httpx.post(f"{provider}/terminals/kiosk-01/card", json={"outcome": "approve"}).raise_for_status()
    for _ in range(3):
        adapter.capture(waiting["authorisation"], "doc-7")
    adapter.close()
    assert httpx.get(f"{provider}/statement").json() == {
        "states": {"captured": {"count": 1, "amount_cents": CENTS}},
        "captured_references": ["doc-7"],
    }


def test_a_provider_that_is_down_is_unavailable(provider: str) -> None:
    adapter = PaymentsHttp(provider)
    httpx.post(f"{provider}/fault", json={"mode": "down"})
    with pytest.raises(UnavailableError):
        adapter.capture("auth-1", "doc-1")
    adapter.close()
