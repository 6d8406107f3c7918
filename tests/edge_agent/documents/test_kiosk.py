"""A kiosk from the page to the paper on fakes: the calm story, refusals, faults, restarts, and a stranger."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest

from contract.documents import PrintOutcome
from contract.jobs import Status
from edge_agent.documents import run
from edge_agent.documents import visit as visit_core
from edge_agent.documents.ledger import Claim
from edge_agent.documents.printing import Record, State
from edge_agent.documents.receipt import Line
from edge_agent.documents.run import Kiosk
from edge_agent.documents.screen import Notice, Reason, ReceiptState, Step
from edge_agent.documents.terminal import Authorisation, CardState
from edge_agent.errors import SettingsError, UnavailableError
from tests.edge_agent.documents.kiosk import CARD, OTHER_CARD, Citizen, Rig, kiosk_settings, running
from tests.edge_agent.documents.worlds import PDF

Story = Callable[[Citizen, Rig], Awaitable[Any]]


def play(story: Story, rig: Rig | None = None, **changes: Any) -> Rig:
    around = rig or Rig()

    async def run() -> None:
        async with running(around.kiosk(**changes)) as citizen:
            await story(citizen, around)

    asyncio.run(run())
    return around


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The printer is looked at more often than on a real kiosk."""
    monkeypatch.setattr(run, "WATCH_S", 0.2)
    monkeypatch.setattr(run, "WATCH_SOON_S", 0.1)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def text(lines: list[Line]) -> str:
    return "\n".join(line.text for line in lines)


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("sq", ("Komuna e Prishtinës", "Certifikatë e pronësisë", "Paguar me kartë", "4,00 €")),
        ("sr-Cyrl", ("Opština Priština", "Uverenje o vlasništvu", "Plaćeno karticom", "4,00 €")),
        ("sr-Latn", ("Opština Priština", "Uverenje o vlasništvu", "Plaćeno karticom", "4,00 €")),
        ("en", ("Municipality of Pristina", "Certificate of ownership", "Paid by card", "4,00 €")),
    ],
)
def test_from_the_language_to_the_receipt(language: str, words: tuple[str, ...]) -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.walk_to(Step.PRINTING, rig, language)
        document = next(iter(rig.cloud.views))
        assert rig.cloud.paid == {document: f"auth-{document}"}
        assert rig.terminal.amounts == {document: 400}
        assert rig.ledger.claims() == [], "the payment is the cloud's now"
        job = rig.cloud.offer(document)
        outcome = await citizen.kiosk.print_operation.perform(job)
        assert outcome.status == Status.SUCCEEDED
        await citizen.sees(Step.DONE)
        rig.cloud.move(document, "deliver", "capture", "close")
        await citizen.sees(Step.DONE, lambda: citizen.kiosk.screen.receipt == ReceiptState.PRINTED)
        page = await citizen.page()
        assert f'lang="{language}"' in page
        assert "Arta Krasniqi" not in page
        await citizen.press("finish")
        await citizen.ready()

    rig = play(story)
    (document,) = rig.printer.papers
    assert rig.printer.papers[document] == PDF
    assert rig.link.outcomes(document) == [PrintOutcome.PRINTING, PrintOutcome.PRINTED]
    (receipt,) = rig.receipts.receipts
    for word in (*words, "PR-2026-000123", "dokumente.prishtina.example"):
        assert word in text(receipt)
    assert all(len(line.text) <= 42 for line in receipt)


def test_with_a_power_of_attorney_a_slip_is_printed() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.ready()
        for button in ("language:sr-Latn", "kind:possession-sheet", "whom:proxy"):
            await citizen.press(button)
        assert "overeno kod notara" in await citizen.page()
        await citizen.press("slip")
        await citizen.sees(Step.COUNTER, lambda: citizen.kiosk.screen.slip_printed is True)

    rig = play(story)
    assert "overeno kod notara" in text(rig.receipts.receipts[0])


def test_five_strangers_lock_the_visit_and_the_answer_tells_nothing() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.ready()
        for button in ("language:en", "kind:possession-sheet", "whom:myself"):
            await citizen.press(button)
        seen = set()
        for left in (4, 3, 2, 1):
            rig.reader.present(OTHER_CARD)
            await citizen.sees(
                Step.IDENTIFY,
                lambda left=left: citizen.kiosk.screen.tries_left == left,  # type: ignore[misc]
            )
            seen.add((await citizen.page()).split("Tries left")[0].split('role="alert"')[1])
        assert len(seen) == 1
        rig.reader.present(OTHER_CARD)
        await citizen.sees(Step.LOCKED)
        assert not rig.reader.listening

    play(story)


def test_a_document_that_cannot_be_read_can_be_laid_again() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.ready()
        for button in ("language:sq", "kind:possession-sheet", "whom:myself"):
            await citizen.press(button)
        rig.reader.present("garbage\r")
        await citizen.sees(Step.IDENTIFY, lambda: citizen.kiosk.screen.notice == Notice.MISREAD)
        rig.reader.present(CARD)
        await citizen.sees(Step.SUBJECTS)

    play(story)


def test_cancelling_at_the_terminal_lets_everything_go() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.walk_to(Step.PAYING, rig)
        (document,) = rig.cloud.views
        assert rig.ledger.claims() == [Claim(document)]
        await citizen.press("cancel")
        assert citizen.kiosk.screen.step == Step.CANCELLED
        await until(lambda: not rig.ledger.claims())
        assert rig.terminal.found[document].state == CardState.CANCELLED
        assert rig.cloud.views[document].state == "voided"

    play(story)


def test_a_card_that_was_quicker_than_cancelling_is_let_go() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.walk_to(Step.PAYING, rig)
        (document,) = rig.cloud.views
        rig.terminal.present(CardState.AUTHORISED)  # not seen yet by the visit
        citizen.kiosk.press(visit_core.m.CancelPressed())
        await until(lambda: not rig.ledger.claims())
        assert rig.terminal.found[document].state == CardState.VOIDED
        assert rig.cloud.paid == {}

    play(story)


def test_a_lost_answer_to_the_payment_does_not_pay_twice() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.walk_to(Step.PAYING, rig)
        (document,) = rig.cloud.views
        rig.cloud.deaf = True
        rig.terminal.present(CardState.AUTHORISED)
        await citizen.sees(Step.CONFIRMING, lambda: citizen.kiosk.screen.cut_off)
        assert "Pagesa juaj vetëm është rezervuar" in await citizen.page()
        rig.cloud.deaf = False
        await citizen.sees(Step.PRINTING)
        assert rig.cloud.paid == {document: f"auth-{document}"}
        assert [path for method, path in rig.cloud.asked if path.endswith("/payment")].count(
            f"/api/v1/documents/{document}/payment"
        ) == 2

    play(story)


def test_a_cloud_that_dies_while_printing_is_told_and_the_page_recovers() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.walk_to(Step.PRINTING, rig)
        (document,) = rig.cloud.views
        job = rig.cloud.offer(document)
        rig.cloud.down = True
        await citizen.sees(Step.PRINTING, lambda: citizen.kiosk.screen.cut_off)
        assert "Lidhja me komunën është ndërprerë" in await citizen.page()
        printing = asyncio.create_task(citizen.kiosk.print_operation.perform(job))
        rig.cloud.down = False
        assert (await printing).status == Status.SUCCEEDED
        await citizen.sees(Step.DONE)
        assert rig.printer.sheets == {document: 1}

    play(story)


@pytest.mark.parametrize(
    ("outcome", "step", "words"),
    [
        (State.NOT_PRINTED, Step.FAILED, "shuma e rezervuar lirohet"),
        (State.IN_DOUBT, Step.DOUBT, "Pagesa juaj është e sigurt"),
    ],
)
def test_a_paper_that_does_not_come_out_is_told(outcome: State, step: Step, words: str) -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.walk_to(Step.PRINTING, rig)
        (document,) = rig.cloud.views
        rig.ledger.write(Record(document, "earlier", outcome))
        await citizen.kiosk.print_operation.perform(rig.cloud.offer(document))
        await citizen.sees(step)
        page = await citizen.page()
        assert words in page
        assert citizen.kiosk.screen.code in page

    play(story)


def test_a_printer_without_paper_closes_the_kiosk_and_opens_it_again() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.ready()
        rig.printer.reasons = ("media-empty",)
        await citizen.sees(Step.WELCOME, lambda: citizen.kiosk.screen.blocked == Reason.PAPER)
        assert "Printerit i ka mbaruar letra" in await citizen.page()
        assert citizen.kiosk.readings == {
            "printer_state": 3,
            "printer_ready": False,
            "printer_paper_empty": True,
            "printer_jammed": False,
            "printer_toner_pct": 75.0,
        }
        rig.printer.reasons = ()
        await citizen.ready()

    play(story)


def test_without_a_link_no_visit_begins_and_no_card_is_asked_for() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.walk_to(Step.PREVIEW, rig)
        rig.link.connected = False
        await citizen.press("pay")
        assert (citizen.kiosk.screen.step, citizen.kiosk.screen.reason) == (Step.FAILED, Reason.LINK)
        await citizen.press("finish")
        assert citizen.kiosk.screen.blocked == Reason.LINK
        rig.link.connected = True
        for handler in rig.link.handlers:
            handler()
        await citizen.ready()
        assert rig.terminal.amounts == {}

    play(story)


def test_without_room_for_what_must_be_kept_the_kiosk_is_out_of_service() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.walk_to(Step.PREVIEW, rig)
        rig.link.full = True
        await citizen.press("pay")
        assert (citizen.kiosk.screen.step, citizen.kiosk.screen.reason) == (Step.FAILED, Reason.LINK)
        await citizen.press("finish")
        assert citizen.kiosk.screen.blocked == Reason.LINK
        assert rig.terminal.amounts == {}
        rig.link.full = False
        for handler in rig.link.handlers:
            handler()
        await citizen.ready()

    play(story)


def test_a_printer_that_does_not_answer_says_only_that_it_is_not_ready() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await until(lambda: bool(citizen.kiosk.readings))
        assert citizen.kiosk.readings == {"printer_ready": False}
        assert citizen.kiosk.screen.blocked == Reason.PRINTER

    rig = Rig()
    rig.printer.silent = True
    play(story, rig)


def test_a_ledger_that_cannot_be_written_stops_before_the_card() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.walk_to(Step.PREVIEW, rig)

        def refuse(claim: Claim) -> None:
            raise UnavailableError("ledger: disk full")

        rig.ledger.claim = refuse  # type: ignore[method-assign]
        await citizen.press("pay")
        assert (citizen.kiosk.screen.step, citizen.kiosk.screen.reason) == (Step.FAILED, Reason.INTERNAL)
        assert rig.terminal.amounts == {}

    play(story)


def test_an_untouched_visit_counts_down_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.walk_to(Step.PREVIEW, rig)
        old = await citizen.page()
        assert "Arta Krasniqi" in old
        await citizen.sees(Step.PREVIEW, lambda: citizen.kiosk.screen.warning)
        page = await citizen.page()
        assert "A jeni ende këtu?" in page
        await citizen.press("more-time")
        assert not citizen.kiosk.screen.warning
        await citizen.sees(Step.WELCOME)
        assert "Krasniqi" not in await citizen.page()
        (document,) = rig.cloud.views
        await until(lambda: rig.cloud.views[document].state == "voided")

    monkeypatch.setattr(visit_core, "WARN_S", 0.7)
    monkeypatch.setattr(run, "WARN_S", 0.7)
    play(story, visit_idle_s=1.5)


# Restarts.


def test_after_a_restart_a_payment_that_the_cloud_never_had_is_let_go() -> None:
    rig = Rig()
    rig.ledger.claim(Claim("doc-lost", ""))
    rig.terminal.found["doc-lost"] = Authorisation("auth-doc-lost", CardState.AUTHORISED)

    async def story(citizen: Citizen, rig: Rig) -> None:
        await until(lambda: not rig.ledger.claims())
        assert rig.terminal.found["doc-lost"].state == CardState.VOIDED

    play(story, rig)


def test_after_a_restart_a_payment_that_the_cloud_has_is_left_to_it() -> None:
    rig = Rig()

    async def first(citizen: Citizen, rig: Rig) -> None:
        await citizen.walk_to(Step.PRINTING, rig)

    play(first, rig)
    (document,) = rig.cloud.views
    rig.ledger.claim(Claim(document, f"auth-{document}"))  # as if the power had gone before it was struck out
    rig.cloud.offer(document)

    async def second(citizen: Citizen, rig: Rig) -> None:
        await until(lambda: not rig.ledger.claims())
        assert rig.terminal.found[document].state == CardState.AUTHORISED

    rig.cloud.move(document, "print")
    play(second, rig)


def test_a_paper_of_an_earlier_visit_makes_the_next_citizen_wait() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.ready()
        rig.printer.reasons = ()
        hold = asyncio.Event()
        take = rig.printer.print_pdf

        async def slow(name: str, pdf: bytes) -> int:
            await hold.wait()
            return await take(name, pdf)

        rig.printer.print_pdf = slow  # type: ignore[method-assign]
        await citizen.walk_to(Step.PREVIEW, rig)
        (document,) = rig.cloud.views
        rig.cloud.move(document, "authorise")
        job = rig.cloud.offer(document)
        rig.cloud.move(document, "print")
        await citizen.press("cancel")
        await citizen.press("finish")
        printing = asyncio.create_task(citizen.kiosk.print_operation.perform(job))
        await citizen.sees(Step.WELCOME, lambda: citizen.kiosk.screen.blocked == Reason.BUSY)
        assert "Po shtypet dokumenti i një vizite të mëparshme" in await citizen.page()
        hold.set()
        await printing
        await citizen.ready()

    play(story)


def test_for_an_update_the_kiosk_is_closed_only_when_nobody_is_there() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        kiosk = citizen.kiosk
        await citizen.ready()
        assert kiosk.busy() == ""
        await citizen.press("language:sq")
        await citizen.sees(Step.KINDS)
        assert "visit" in kiosk.busy()
        await citizen.press("cancel")
        await citizen.press("finish")
        await citizen.ready()
        assert kiosk.busy() == ""
        kiosk.close()
        assert "Ky kiosk po përditësohet" in await citizen.page()
        await citizen.press("language:sq")
        assert (kiosk.screen.step, kiosk.screen.blocked) == (Step.WELCOME, Reason.UPDATE)
        rig.printer.reasons = ()
        assert await kiosk.printer_trouble() == ""
        kiosk.open()
        await citizen.ready()
        await citizen.press("language:sq")
        await citizen.sees(Step.KINDS)

    play(story)


# The page as a stranger finds it.


def test_what_has_no_token_presses_nothing() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.ready()
        client = citizen._client
        for data in (
            {"press": "language:sq"},
            {"press": "language:sq", "token": "0" * 32},
            {"press": "language:xx", "token": citizen.kiosk.token},
            {"press": "x" * 5000, "token": citizen.kiosk.token},
            {"token": citizen.kiosk.token},
        ):
            answer = await client.post("/press", data=data)
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
            assert citizen.kiosk.screen.step == Step.WELCOME
        before = citizen.kiosk.token
        await citizen.press("language:sq")
        assert citizen.kiosk.token == before
        await citizen.press("cancel")
        await citizen.press("finish")
        assert citizen.kiosk.token != before, "an old page presses nothing in the next visit"

    play(story)


def test_another_host_name_is_refused_and_headers_are_strict() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.ready()
        client = citizen._client
        assert (await client.get("/", headers={"host": "evil.example"})).status_code == 400
        answer = await client.get("/")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert (await client.get("/nowhere")).headers["location"] == "/"
        assert (await client.get("/press")).headers["location"] == "/"
        for name in ("kiosk.css", "kiosk.js", "mark.svg"):
            assert (await client.get(f"/static/{name}")).status_code == 200

    play(story)


def test_the_question_for_changes_is_answered_when_there_is_one() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.ready()
        version = citizen.kiosk.version
        asked = asyncio.create_task(citizen._client.get(f"/state?version={version}"))
        await citizen.press("language:sq")
        answer = await asked
        assert answer.json()["version"] == citizen.kiosk.version != version
        began = time.monotonic()
        assert (await citizen._client.get("/state?version=of-another-boot")).json() != {}
        assert time.monotonic() - began < 10, "an unknown version is answered at once"

    play(story)


def test_nothing_personal_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.walk_to(Step.PREVIEW, rig)
        rig.reader.present(CARD)
        await citizen.press("cancel")

    play(story)
    said = "\n".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    for secret in ("1001234567", "K1234567", "Krasniqi", "1990-03-14", "900314"):
        assert secret not in said


# Settings.


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"timezone": "Europe/Nowhere"}, "timezone"),
        ({"language": "sr"}, "language"),
        ({"municipality": {"sq": "Komuna"}}, "municipality"),
        ({"kinds": ["passport"]}, "kinds"),
        ({"kinds": []}, "kinds"),
        ({"visit_idle_s": 20.0}, "visit_idle_s"),
    ],
)
def test_a_wrong_setting_says_which(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Rig().kiosk(**changes)


def test_a_port_that_is_taken_is_a_wrong_setting() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        settings = kiosk_settings()
        assert settings.kiosk is not None
        taken = msgspec.structs.replace(
            settings, kiosk=msgspec.structs.replace(settings.kiosk, page_port=citizen.kiosk.page_port)
        )
        other = Rig()
        kiosk = Kiosk(taken, other.link, other.cloud, rig.kiosk()._devices)
        with pytest.raises(SettingsError, match="page_port"):
            await kiosk.run()

    play(story)


def test_the_page_survives_a_browser_that_goes_away() -> None:
    async def story(citizen: Citizen, rig: Rig) -> None:
        await citizen.ready()
        with pytest.raises(httpx.ReadTimeout):
            await citizen._client.get(f"/state?version={citizen.kiosk.version}", timeout=0.2)
        await citizen.press("language:sq")

    play(story)
