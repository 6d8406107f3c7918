"""From payment to paper: what the workflow does, and what evidence, jobs, people and time bring about."""

import hashlib

import pytest
import sqlalchemy as sa
from dbos import DBOS

from cloud.database.models.devices import Device
from cloud.database.models.documents import DocumentContent, DocumentEvidence
from cloud.database.models.jobs import Job, JobExecution
from cloud.documents.core import Attention, Decided, Noted, Waived
from cloud.documents.problems import DocumentProblemError
from cloud.errors import MalformedError, RefusedError
from contract.documents import Choice, Kind, Payment, PrintOutcome, Whom
from contract.errors import MalformedError as ContractMalformedError
from contract.jobs import Status
from tests.cloud.documents.desk import KIOSK, MAN, Desk, document_id
from tests.cloud.waiting import until

PRINTING, PRINTED = PrintOutcome.PRINTING, PrintOutcome.PRINTED
NOT_PRINTED, IN_DOUBT = PrintOutcome.NOT_PRINTED, PrintOutcome.IN_DOUBT


def money(desk: Desk, document: str) -> str:
    return desk.payments.state(f"auth-{document}")


def parts(desk: Desk, document: str) -> set[str]:
    with desk.sessions() as session:
        rows = sa.select(DocumentContent.part).where(DocumentContent.document == document)
        return set(session.scalars(rows))


def end_job(desk: Desk, document: str, status: Status, *, started: bool) -> None:
    """What the jobs do when a print job ends."""
    job = f"print-{document}"
    with desk.sessions.begin() as session:
        if session.get(Device, KIOSK) is None:
            session.add(Device(device=KIOSK, kind="kiosk", site="Hall", registered_at=desk.clock()))
        session.add(
            Job(
                job=job,
                operation="print-document",
                document={},
                created_at=desk.clock(),
                created_by="documents",
                queued_expiry_s=180,
                in_progress_timeout_s=180,
                retries=0,
                state="IN_PROGRESS",
                targets=1,
                wish={},
            )
        )
        session.flush()
        session.add(
            JobExecution(
                job=job,
                device=KIOSK,
                number=1,
                status=status.value,
                version=2,
                details={},
                queued_at=desk.clock(),
                started_at=desk.clock() if started else None,
                updated_at=desk.clock(),
                retries_left=0,
                told=False,
            )
        )
    desk.documents.news.on_job_ended(job, KIOSK, status)


def decide(desk: Desk, document: str, decision: Decided | Waived | Noted) -> None:
    with desk.sessions.begin() as session:
        version = desk.documents.news.decide(session, document, decision)
    desk.documents.news.decided(document, version)


def test_a_paid_paper_is_rendered_sealed_offered_once_and_captured_when_it_is_printed(desk: Desk) -> None:
    document = desk.paid()
    pdf = desk.counter.paper(KIOSK, document)
    assert b"sealed 1" in pdf
    row = desk.row(document)
    assert (row.sha256, row.size) == (hashlib.sha256(pdf).hexdigest(), len(pdf))
    assert desk.jobs.offered == {document: (KIOSK, row.sha256, row.size)}
    assert money(desk, document) == "authorised"
    desk.evidence(document, PRINTING)
    assert desk.counter.paper(KIOSK, document) == pdf, "it may be fetched again until the job has ended"
    assert money(desk, document) == "authorised"
    desk.evidence(document, PRINTED, ipp_job_id=7, ipp_job_state=9, sheets=1)
    assert desk.wait(document, "closed").payment == "captured"
    assert money(desk, document) == "captured"
    assert desk.path(document) == [
        "identified",
        "priced",
        "authorised",
        "rendered",
        "sealed",
        "offered",
        "printing",
        "delivered",
        "captured",
        "closed",
    ]
    assert parts(desk, document) == {"sheet", "sealed"}


def test_a_birth_certificate_goes_the_same_way(desk: Desk) -> None:
    view = desk.ask(kind=Kind.BIRTH_CERTIFICATE, whom=Whom.MYSELF)
    desk.counter.choose(KIOSK, view.document, Choice(subject=view.subjects[0].subject))
    desk.payments.authorise("auth-birth", view.document, 200)
    desk.counter.pay(KIOSK, view.document, Payment(authorisation="auth-birth"))
    desk.wait(view.document, "offered")
    desk.wait_offered(view.document)
    pdf = desk.counter.paper(KIOSK, view.document)
    assert b"%PDF birth-certificate" in pdf
    assert MAN.personal_number.encode() in pdf
    desk.evidence(view.document, PRINTED, ipp_job_id=7, ipp_job_state=9, sheets=1)
    assert desk.wait(view.document, "closed").payment == "captured"


def test_the_paper_is_out_of_reach_before_and_after_the_job(desk: Desk) -> None:
    document = desk.priced().document
    with pytest.raises(DocumentProblemError):
        desk.counter.paper(KIOSK, document)
    desk.pay(document)
    desk.wait(document, "offered")
    end_job(desk, document, Status.SUCCEEDED, started=True)
    with pytest.raises(DocumentProblemError):
        desk.counter.paper(KIOSK, document)


def test_paying_again_does_nothing_twice(desk: Desk) -> None:
    document = desk.paid()
    for _ in range(3):
        desk.counter.pay(KIOSK, document, Payment(authorisation=f"auth-{document}"))
    desk.settled(document)
    assert (desk.render.calls, desk.seal.calls, desk.jobs.calls) == (1, 1, 1)


@pytest.mark.parametrize("evidence", [PRINTED, NOT_PRINTED, IN_DOUBT])
def test_evidence_that_comes_twice_does_nothing_twice(desk: Desk, evidence: PrintOutcome) -> None:
    document = desk.paid()
    desk.evidence(document, evidence)
    state = desk.settled(document).state
    desk.evidence(document, evidence)
    assert desk.settled(document).state == state
    assert desk.row(document).attention is None


def test_no_paper_no_money(desk: Desk) -> None:
    document = desk.paid()
    desk.evidence(document, PRINTING)
    desk.evidence(document, NOT_PRINTED)
    row = desk.settled(document)
    assert (row.state, row.payment, row.reason) == ("failed", "released", "not-printed")
    assert money(desk, document) == "voided"


@pytest.mark.parametrize(
    ("status", "started", "state", "payment"),
    [
        (Status.TIMED_OUT, False, "failed", "voided"),
        (Status.CANCELED, False, "failed", "voided"),
        (Status.REJECTED, False, "failed", "voided"),
        (Status.TIMED_OUT, True, "in_doubt", "authorised"),
        (Status.CANCELED, True, "in_doubt", "authorised"),
        (Status.SUCCEEDED, True, "in_doubt", "authorised"),
        (Status.FAILED, True, "in_doubt", "authorised"),
    ],
)
def test_a_job_that_ends_without_evidence(
    desk: Desk, status: Status, started: bool, state: str, payment: str
) -> None:
    document = desk.paid()
    end_job(desk, document, status, started=started)
    assert desk.row(document).state == "offered", "evidence has a last time to come"
    desk.clock.forward(61)
    desk.documents.sweep()
    assert desk.settled(document).state == state
    assert money(desk, document) == payment
    assert desk.jobs.calls == 1, "never a second try"


def test_late_evidence_ends_the_doubt(desk: Desk) -> None:
    document = desk.paid()
    desk.evidence(document, PRINTING)
    desk.clock.forward(241)
    desk.documents.sweep()
    assert desk.row(document).state == "in_doubt"
    desk.clock.forward(86_400)
    desk.evidence(document, PRINTED)
    assert desk.wait(document, "closed").payment == "captured"


@pytest.mark.parametrize(
    ("delivered", "state", "payment"), [(True, "closed", "captured"), (False, "voided", "voided")]
)
def test_a_person_ends_the_doubt(desk: Desk, delivered: bool, state: str, payment: str) -> None:
    document = desk.paid()
    desk.evidence(document, IN_DOUBT)
    decide(desk, document, Decided(delivered))
    assert desk.settled(document).state == state
    assert money(desk, document) == payment
    with pytest.raises(RefusedError):
        decide(desk, document, Decided(delivered))


def test_paper_that_shows_up_after_the_end_calls_a_person(desk: Desk) -> None:
    document = desk.paid()
    desk.evidence(document, NOT_PRINTED)
    desk.settled(document)
    desk.evidence(document, PRINTED)
    row = desk.settled(document)
    assert (row.state, row.attention) == ("failed", Attention.PAPER_AFTER_END)
    decide(desk, document, Noted())
    assert desk.row(document).attention is None


def test_a_capture_that_fails_is_repeated_until_it_succeeds(desk: Desk) -> None:
    document = desk.paid()
    desk.payments.down = True
    desk.evidence(document, PRINTED)
    assert desk.wait(document, "uncollected").payment == "held"
    for seconds in (61, 121):
        desk.clock.forward(seconds)
        desk.documents.sweep()
        desk.settled(document)
    assert desk.row(document).tries == 2
    desk.payments.down = False
    desk.clock.forward(241)
    desk.documents.sweep()
    assert desk.settled(document).state == "closed"
    assert money(desk, document) == "captured"


def test_a_capture_that_is_refused_waits_for_a_person(desk: Desk) -> None:
    document = desk.paid()
    desk.payments.refuses = True
    desk.evidence(document, PRINTED)
    desk.settled(document)
    row = desk.row(document)
    assert (row.state, row.attention, row.deadline) == ("uncollected", Attention.PAYMENT_NOT_CAPTURED, None)
    decide(desk, document, Waived())
    assert desk.row(document).state == "closed"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("render", "not-rendered"), ("seal", "not-sealed"), ("offer", "not-offered")],
)
def test_a_paper_that_cannot_be_made_gives_the_money_back(desk: Desk, fault: str, reason: str) -> None:
    desk.render.broken = fault == "render"
    desk.seal.broken = fault == "seal"
    desk.jobs.refuses = fault == "offer"
    document = desk.priced().document
    desk.pay(document)
    desk.wait(document, "failed")
    row = desk.settled(document)
    assert (row.reason, row.payment) == (reason, "released")
    assert money(desk, document) == "voided"
    assert desk.counter.view(KIOSK, document).state == "failed"


def test_evidence_is_kept_with_what_the_printer_said(desk: Desk) -> None:
    document = desk.paid()
    desk.evidence(
        document, PRINTING, ipp_job_id=3, ipp_job_state=5, reasons=["job-printing" * 20] * 30, sheets=0
    )
    with desk.sessions() as session:
        (row,) = session.scalars(sa.select(DocumentEvidence))
        assert (row.outcome, row.ipp_job_id, row.ipp_job_state, row.sheets) == ("printing", 3, 5, 0)
        assert len(row.reasons) == 20
        assert max(map(len, row.reasons)) == 64


def test_foreign_and_broken_evidence_is_refused(desk: Desk) -> None:
    document = desk.paid()
    for body in ({"device": "kiosk-02"}, {"job": "print-else"}):
        with pytest.raises(RefusedError):
            desk.evidence(document, PRINTED, **body)
    with pytest.raises(RefusedError):
        desk.evidence(document_id(77), PRINTED)
    with pytest.raises(MalformedError):
        desk.evidence(document, PRINTED, ipp_job_id=2**40)
    with pytest.raises(ContractMalformedError):
        desk.evidence(document, "burnt")  # type: ignore[arg-type] # a device may send anything
    assert desk.row(document).state == "offered"


def test_evidence_before_anything_is_ignored(desk: Desk) -> None:
    document = desk.priced().document
    desk.evidence(document, PRINTED)
    assert desk.row(document).state == "priced"


def test_a_run_that_was_never_begun_is_taken_up_at_start_up(desk: Desk) -> None:
    document = desk.priced().document
    begin = desk.counter._begin
    desk.counter._begin = lambda *_: None  # the process dies between the commit and the start
    desk.pay(document)
    desk.counter._begin = begin
    assert desk.row(document).state == "authorised"
    desk.documents.reconcile()
    desk.wait(document, "offered")
    desk.documents.reconcile()
    desk.settled(document)
    assert desk.jobs.calls == 1 or len(desk.jobs.offered) == 1


def test_a_run_that_died_of_a_fault_of_ours_gives_the_money_back_in_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_: object) -> bytes:
        raise KeyError("planted")

    monkeypatch.setattr(desk.documents, "_render", fault)
    document = desk.priced().document
    desk.pay(document)
    desk.clock.forward(121)
    desk.documents.sweep()
    desk.wait(document, "failed")
    until(lambda: True if desk.row(document).payment == "released" else None)
    assert money(desk, document) == "voided"


def test_contents_are_purged_after_their_day(desk: Desk) -> None:
    document = desk.paid()
    desk.evidence(document, PRINTED)
    desk.wait(document, "closed")
    desk.documents.sweep()
    assert parts(desk, document)
    desk.clock.forward(31 * 86_400)
    desk.documents.sweep()
    assert parts(desk, document) == set()
    assert desk.row(document).sha256, "what verification needs stays"


def test_old_runs_are_forgotten(desk: Desk) -> None:
    document = desk.paid()
    desk.evidence(document, PRINTED)
    desk.settled(document)
    assert DBOS.list_workflows(workflow_id_prefix=document)
    desk.clock.at = desk.clock.at.replace(year=desk.clock.at.year + 10)
    desk.documents.sweep()
    assert DBOS.list_workflows(workflow_id_prefix=document) == []
