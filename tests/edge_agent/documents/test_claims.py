"""Letting go of a payment: who has it decides, and every order of faults ends with nobody holding it."""

import asyncio
import itertools

import pytest

from contract.documents import View
from edge_agent.documents.claims import release
from edge_agent.documents.ledger import Claim, MemoryLedger
from edge_agent.documents.requests import ProblemError, Requests
from edge_agent.documents.terminal import Authorisation, CardState
from edge_agent.documents.terminal_memory import MemoryTerminal
from edge_agent.errors import UnavailableError
from tests.edge_agent.documents.worlds import MemoryCloud

DOC = "doc-1"


def world(
    state: str | None, card: CardState | None, claimed: bool = True
) -> tuple[MemoryCloud, MemoryTerminal, MemoryLedger]:
    cloud, terminal, ledger = MemoryCloud(), MemoryTerminal(), MemoryLedger()
    if state is not None:
        cloud.views[DOC] = View(document=DOC, kind="possession-sheet", state=state)
    if card is not None:
        terminal.found[DOC] = Authorisation(f"auth-{DOC}", card)
    if claimed:
        ledger.claim(Claim(DOC))
    return cloud, terminal, ledger


def run(cloud: MemoryCloud, terminal: MemoryTerminal, ledger: MemoryLedger) -> None:
    asyncio.run(release(DOC, requests=Requests(cloud), terminal=terminal, ledger=ledger))


@pytest.mark.parametrize(
    ("state", "card", "after"),
    [
        (None, CardState.AUTHORISED, CardState.VOIDED),
        ("identified", CardState.AUTHORISED, CardState.VOIDED),
        ("priced", CardState.AUTHORISED, CardState.VOIDED),
        ("expired", CardState.AUTHORISED, CardState.VOIDED),
        ("failed", CardState.AUTHORISED, CardState.VOIDED),
        ("printing", CardState.AUTHORISED, CardState.AUTHORISED),
        ("captured", CardState.CAPTURED, CardState.CAPTURED),
        ("in_doubt", CardState.AUTHORISED, CardState.AUTHORISED),
        ("priced", CardState.DECLINED, CardState.DECLINED),
    ],
)
def test_what_the_cloud_does_not_have_is_let_go(state: str | None, card: CardState, after: CardState) -> None:
    cloud, terminal, ledger = world(state, card)
    run(cloud, terminal, ledger)
    assert terminal.found[DOC].state == after
    assert ledger.claims() == []


def test_without_a_claim_only_the_request_is_given_up_and_a_silent_cloud_is_left_alone() -> None:
    cloud, terminal, ledger = world("priced", None, claimed=False)
    run(cloud, terminal, ledger)
    assert cloud.views[DOC].state == "voided"
    cloud.down = terminal.down = True
    run(cloud, terminal, ledger)


@pytest.mark.parametrize(("cloud_down", "terminal_down"), [(True, False), (False, True), (True, True)])
def test_who_does_not_answer_is_asked_again_later(cloud_down: bool, terminal_down: bool) -> None:
    cloud, terminal, ledger = world("priced", CardState.AUTHORISED)
    cloud.down, terminal.down = cloud_down, terminal_down
    with pytest.raises(UnavailableError):
        run(cloud, terminal, ledger)
    assert ledger.claims() == [Claim(DOC)]
    cloud.down = terminal.down = False
    run(cloud, terminal, ledger)
    assert (terminal.found[DOC].state, ledger.claims()) == (CardState.VOIDED, [])


def test_lost_answers_change_nothing() -> None:
    cloud, terminal, ledger = world("priced", CardState.AUTHORISED)
    cloud.deaf = True
    with pytest.raises(UnavailableError):
        run(cloud, terminal, ledger)
    assert cloud.views[DOC].state == "voided"
    cloud.deaf = False
    for _again in itertools.repeat(None, 2):
        run(cloud, terminal, ledger)
    assert (terminal.found[DOC].state, ledger.claims()) == (CardState.VOIDED, [])


def test_another_refusal_keeps_the_claim() -> None:
    cloud, terminal, ledger = world("priced", CardState.AUTHORISED)
    cloud.refuse = "malformed"
    with pytest.raises(ProblemError):
        run(cloud, terminal, ledger)
    assert ledger.claims() == [Claim(DOC)]
