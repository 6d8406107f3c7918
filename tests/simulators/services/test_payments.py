"""The simulated provider: idempotent, bounded, remembers over a restart, and tells what it took."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from simulators.services.payments import CARD_S, payments_app

KEY = {"Idempotency-Key": "doc-1"}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def play(
    story: Callable[[httpx.AsyncClient], Awaitable[Any]],
    clock: Clock | None = None,
    journal: Path | None = None,
) -> None:
    async def run() -> None:
        app = payments_app(clock or Clock(), journal)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://payments") as client:
            await story(client)

    asyncio.run(run())


async def authorised(client: httpx.AsyncClient, reference: str, terminal: str = "t1") -> str:
    ask = {"reference": reference, "amount_cents": 400, "wait_s": 0}
    begun = (await client.post(f"/terminals/{terminal}/authorisations", json=ask)).json()
    assert begun["state"] == "waiting"
    await client.post(f"/terminals/{terminal}/card", json={"outcome": "approve"})
    authorisation: str = begun["authorisation"]
    return authorisation


def test_money_is_taken_once_however_often_it_is_asked() -> None:
    async def story(client: httpx.AsyncClient) -> None:
        authorisation = await authorised(client, "doc-1")
        for _ in range(3):
            answer = await client.post(f"/authorisations/{authorisation}/capture", headers=KEY)
            assert (answer.status_code, answer.json()["state"]) == (200, "captured")
        assert (await client.post(f"/authorisations/{authorisation}/void", headers=KEY)).status_code == 409
        assert (await client.get("/statement")).json() == {
            "states": {"captured": {"count": 1, "amount_cents": 400}},
            "captured_references": ["doc-1"],
        }

    play(story)


def test_held_money_is_let_go_and_cannot_be_taken_then() -> None:
    async def story(client: httpx.AsyncClient) -> None:
        authorisation = await authorised(client, "doc-1")
        assert (await client.get(f"/authorisations/{authorisation}")).json() == {
            "authorisation": authorisation,
            "terminal": "t1",
            "reference": "doc-1",
            "amount_cents": 400,
            "state": "authorised",
        }
        assert (await client.post(f"/authorisations/{authorisation}/void", headers=KEY)).status_code == 200
        assert (await client.post(f"/authorisations/{authorisation}/capture", headers=KEY)).status_code == 409

    play(story)


def test_a_long_question_is_answered_when_the_card_comes_and_times_out_by_the_clock() -> None:
    clock = Clock()

    async def story(client: httpx.AsyncClient) -> None:
        ask = {"reference": "doc-1", "amount_cents": 400, "wait_s": 30}
        asked = asyncio.create_task(client.post("/terminals/t1/authorisations", json=ask))
        while (await client.post("/terminals/t1/card", json={"outcome": "decline"})).status_code == 409:
            await asyncio.sleep(0)
        assert (await asked).json()["state"] == "declined"
        await client.post("/terminals/t1/authorisations", json={**ask, "wait_s": 0})
        clock.now = CARD_S
        late = await client.post("/terminals/t1/authorisations", json=ask)
        assert late.json()["state"] == "timeout"

    play(story, clock)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reference": "", "amount_cents": 400},
        {"reference": "x" * 65, "amount_cents": 400},
        {"reference": "doc-1", "amount_cents": 0},
        {"reference": "doc-1", "amount_cents": 4.0},
        {"reference": "doc-1", "amount_cents": True},
        {"reference": "doc-1", "amount_cents": 100_001},
        {"reference": "doc-1", "amount_cents": 400, "wait_s": -1},
        {"reference": "doc-1", "amount_cents": 400, "wait_s": "long"},
    ],
)
def test_what_cannot_be_asked_is_refused_with_a_sentence(body: dict[str, Any]) -> None:
    async def story(client: httpx.AsyncClient) -> None:
        answer = await client.post("/terminals/t1/authorisations", json=body)
        assert answer.status_code == 422
        assert answer.json()["detail"]
        assert (await client.get("/statement")).json()["states"] == {}

    play(story)


def test_other_refusals() -> None:
    async def story(client: httpx.AsyncClient) -> None:
        assert (await client.post("/terminals/t1/card", json={"outcome": "steal"})).status_code == 422
        assert (await client.post("/terminals/t1/card", content=b"{nonsense")).status_code == 422
        assert (await client.get("/authorisations/auth-9")).status_code == 404
        assert (await client.get("/authorisations?reference=doc-9")).status_code == 404
        authorisation = await authorised(client, "doc-1")
        assert (await client.post(f"/authorisations/{authorisation}/capture")).status_code == 400
        ask = {"reference": "doc-1", "amount_cents": 500, "wait_s": 0}
        assert (await client.post("/terminals/t1/authorisations", json=ask)).status_code == 409

    play(story)


def test_a_provider_that_is_down_says_so_and_comes_back() -> None:
    async def story(client: httpx.AsyncClient) -> None:
        assert (await client.post("/fault", json={"mode": "broken"})).status_code == 422
        await client.post("/fault", json={"mode": "down"})
        assert (await client.get("/authorisations/auth-1")).status_code == 503
        assert (await client.get("/statement")).status_code == 200
        await client.post("/fault", json={"mode": "ok"})
        assert (await client.get("/authorisations/auth-1")).status_code == 404

    play(story)


def test_the_books_are_there_after_a_restart(tmp_path: Path) -> None:
    journal = tmp_path / "payments.jsonl"
    kept: list[str] = []

    async def before(client: httpx.AsyncClient) -> None:
        kept.append(await authorised(client, "doc-1"))
        await client.post(
            "/terminals/t2/authorisations", json={"reference": "d", "amount_cents": 1, "wait_s": 0}
        )

    async def after(client: httpx.AsyncClient) -> None:
        assert (await client.get(f"/authorisations/{kept[0]}")).json()["state"] == "authorised"
        assert (await client.get("/authorisations?reference=d")).json()["state"] == "timeout"
        assert await authorised(client, "doc-2") != kept[0]

    play(before, journal=journal)
    play(after, journal=journal)
