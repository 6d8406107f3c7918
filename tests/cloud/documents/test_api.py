"""The documents API as a kiosk sees it: shapes, codes, limits, and who may not."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel

from cloud.database.models.devices import Device
from cloud.documents import api
from contract import documents as contract
from contract.documents import PrintOutcome, Problem
from contract.languages import LANGUAGES
from tests.cloud.documents.desk import KIOSK, LANDLESS, MAN, Desk, document_id, of

PATH = "/api/v1/documents"
DeviceApp = Callable[..., FastAPI]


@pytest.fixture
def clients(desk: Desk, device_app: DeviceApp) -> Callable[[str], TestClient]:
    """A kiosk's view of the device listener."""
    with desk.sessions.begin() as session:
        for device, kind in {KIOSK: "kiosk", "kiosk-02": "kiosk", "hall-01": "recorder"}.items():
            session.add(Device(device=device, kind=kind, site="x", registered_at=desk.clock()))
    router = api.router(desk.counter, desk.sessions)
    return lambda device: TestClient(device_app(router, device=device))


@pytest.fixture
def kiosk(clients: Callable[[str], TestClient]) -> TestClient:
    return clients(KIOSK)


def body(number: int = 1, **other: Any) -> dict[str, Any]:
    return {
        "document": document_id(number),
        "visit": "visit-1",
        "kind": "possession-sheet",
        "language": "sr-Cyrl",
        "identification": msgspec.to_builtins(of(MAN)),
    } | other


def test_a_whole_visit(kiosk: TestClient, desk: Desk) -> None:
    view = kiosk.post(PATH, json=body()).json()
    assert view["state"] == "identified"
    here = f"{PATH}/{view['document']}"
    view = kiosk.post(f"{here}/subject", json={"subject": view["subjects"][0]["subject"]}).json()
    assert (view["state"], view["price_cents"]) == ("priced", 400)
    assert view["preview"][-1] == {"label": "Такса", "value": "4,00 €"}
    desk.payments.authorise("auth-1", view["document"], 400)
    view = kiosk.post(f"{here}/payment", json={"authorisation": "auth-1"}).json()
    assert view["state"] == "authorised"
    assert view["serial"].startswith("PR-2026-")
    desk.wait(view["document"], "offered")
    answer = kiosk.get(f"{here}/pdf")
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.content == desk.counter.paper(KIOSK, view["document"])
    desk.evidence(view["document"], PrintOutcome.PRINTED)
    desk.wait(view["document"], "closed")
    assert kiosk.get(here).json()["state"] == "closed"
    assert kiosk.get(f"{here}/pdf").status_code == 409


def problem(answer: Any) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["detail"]
    return answer.status_code, said["code"]


def test_every_refusal_has_its_code(kiosk: TestClient, desk: Desk) -> None:
    assert problem(kiosk.post(PATH, json=body(kind="crown"))) == (422, Problem.UNKNOWN_KIND)
    wrong = msgspec.to_builtins(of(MAN, document_number="1"))
    assert problem(kiosk.post(PATH, json=body(identification=wrong))) == (403, Problem.NOT_IDENTIFIED)
    landless = msgspec.to_builtins(of(LANDLESS))
    assert problem(kiosk.post(PATH, json=body(2, identification=landless))) == (
        409,
        Problem.NOTHING_TO_ISSUE,
    )
    here = f"{PATH}/{document_id(3)}"
    assert problem(kiosk.get(here)) == (404, Problem.NOT_FOUND)
    kiosk.post(PATH, json=body(3))
    assert problem(kiosk.post(f"{here}/subject", json={"subject": "x"})) == (422, Problem.UNKNOWN_SUBJECT)
    assert problem(kiosk.post(f"{here}/payment", json={"authorisation": ""})) == (409, Problem.WRONG_STATE)
    assert problem(kiosk.get(f"{here}/pdf")) == (409, Problem.WRONG_STATE)
    desk.registry.down = True
    assert problem(kiosk.post(PATH, json=body(4))) == (503, Problem.REGISTRY_UNAVAILABLE)
    assert kiosk.post(f"{here}/cancel").json()["state"] == "voided"


def test_unknown_and_wrong_combination_cannot_be_told_apart(kiosk: TestClient) -> None:
    unknown = msgspec.to_builtins(of(MAN, personal_number="1000000001"))
    wrong = msgspec.to_builtins(of(MAN, date_of_birth="1990-01-01"))
    first = kiosk.post(PATH, json=body(1, identification=unknown))
    second = kiosk.post(PATH, json=body(2, identification=wrong))
    assert first.status_code == second.status_code
    assert first.content == second.content
    quiet = {"date"}
    assert {k: v for k, v in first.headers.items() if k not in quiet} == {
        k: v for k, v in second.headers.items() if k not in quiet
    }


def test_a_script_that_enumerates_learns_nothing(kiosk: TestClient) -> None:
    answers = set()
    for number in range(20):
        guess = msgspec.to_builtins(of(MAN, document_number=f"{100_000_000 + number}"))
        answer = kiosk.post(PATH, json=body(number, identification=guess))
        answers.add((answer.status_code, answer.json()["code"]))
    right = kiosk.post(PATH, json=body(99))
    assert answers == {(403, Problem.NOT_IDENTIFIED), (403, Problem.VISIT_LOCKED)}
    assert problem(right) == (403, Problem.VISIT_LOCKED), "even the right values say nothing any more"


@pytest.mark.parametrize(
    "change",
    [
        {"document": "1"},
        {"document": "../../etc"},
        {"visit": "a b"},
        {"visit": "x" * 65},
        {"language": "de"},
        {"kind": ""},
        {"identification": {"personal_number": "1", "document_number": "1", "date_of_birth": "2000-01-01"}},
        {
            "identification": {
                "personal_number": "1234567890",
                "document_number": "1",
                "date_of_birth": "1.1.00",
            }
        },
        {"identification": None},
    ],
)
def test_what_does_not_follow_the_contract_is_malformed_and_not_repeated(
    kiosk: TestClient, change: dict[str, Any]
) -> None:
    answer = kiosk.post(PATH, json=body(**change))
    assert problem(answer) == (422, Problem.MALFORMED)
    assert MAN.personal_number not in answer.text


def test_no_json_and_too_much_are_refused(kiosk: TestClient) -> None:
    assert kiosk.post(PATH, content=b"{").status_code in (400, 422)
    assert kiosk.post(PATH, json=body(visit="x" * 100_000)).status_code == 413


def test_only_the_kiosk_that_asked_gets_anything(clients: Callable[[str], TestClient], desk: Desk) -> None:
    document = desk.paid()
    here = f"{PATH}/{document}"
    other, recorder = clients("kiosk-02"), clients("hall-01")
    assert problem(other.get(here)) == (404, Problem.NOT_FOUND)
    assert problem(other.get(f"{here}/pdf")) == (404, Problem.NOT_FOUND)
    assert problem(other.post(PATH, json=body())) == (404, Problem.NOT_FOUND)
    for answer in (recorder.get(here), recorder.get(f"{here}/pdf"), recorder.post(PATH, json=body(9))):
        assert problem(answer) == (403, Problem.NOT_ALLOWED)
    assert clients("stranger").get(here).status_code == 403


@pytest.mark.parametrize(
    ("model", "struct"),
    [
        (api.Identification, contract.Identification),
        (api.NewRequest, contract.NewRequest),
        (api.Choice, contract.Choice),
        (api.Payment, contract.Payment),
        (api.Subject, contract.Subject),
        (api.PreviewRow, contract.PreviewRow),
        (api.View, contract.View),
    ],
)
def test_the_models_mirror_the_contract(model: type[BaseModel], struct: type[msgspec.Struct]) -> None:
    assert list(model.model_fields) == list(struct.__struct_fields__)


def test_the_languages_are_those_of_the_contract() -> None:
    assert api.Language.__args__ == LANGUAGES  # type: ignore[attr-defined] # a Literal has them
