"""What kiosks may ask for before there is a paper, and what nobody learns by asking."""

import pytest
import sqlalchemy as sa

from cloud.database.models.documents import Document, DocumentContent, DocumentLookup
from cloud.documents.problems import DocumentProblemError
from cloud.documents.store import DEVICE_FAILURES_MAX
from contract.documents import Choice, Kind, NewRequest, Payment, Problem, Whom
from tests.cloud.documents.desk import (
    CHILD,
    CITY,
    KIOSK,
    LANDLESS,
    MAN,
    STRANGER,
    WOMAN,
    Desk,
    document_id,
    of,
)
from tests.cloud.postgres import stored_in


def problem_of(error: pytest.ExceptionInfo[DocumentProblemError]) -> Problem:
    return error.value.problem


def lookups(desk: Desk) -> list[tuple[str, str]]:
    with desk.sessions() as session:
        rows = sa.select(DocumentLookup).order_by(DocumentLookup.id)
        return [(row.outcome, row.purpose) for row in session.scalars(rows)]


def test_a_citizen_is_identified_chooses_and_sees_price_and_paper(desk: Desk) -> None:
    view = desk.ask()
    assert view.state == "identified"
    held = {held.number for person in (MAN, WOMAN, CHILD) for held in CITY.lists_of(person.person)}
    assert {subject.subject for subject in view.subjects} <= held
    priced = desk.counter.choose(KIOSK, view.document, Choice(subject=view.subjects[0].subject))
    assert (priced.state, priced.price_cents) == ("priced", 400)
    assert any(MAN.name in row.value for row in priced.preview)
    assert priced.subjects == []
    assert desk.counter.view(KIOSK, view.document) == priced


def test_a_parent_is_offered_the_births_of_minor_children_alone(desk: Desk) -> None:
    view = desk.ask(kind=Kind.BIRTH_CERTIFICATE, whom=Whom.CHILD)
    (subject,) = view.subjects
    assert subject.subject == CITY.birth_of(CHILD.person).number
    priced = desk.counter.choose(KIOSK, view.document, Choice(subject=subject.subject))
    assert (priced.state, priced.price_cents) == ("priced", 200)
    values = {row.value for row in priced.preview}
    assert {CHILD.given_names, CHILD.surname, MAN.name} <= values


def test_only_what_was_offered_can_be_chosen_and_a_spouse_asks_alone(desk: Desk) -> None:
    view = desk.ask(kind=Kind.BIRTH_CERTIFICATE, whom=Whom.MYSELF)
    stranger = Choice(subject=CITY.birth_of(STRANGER.person).number)
    with pytest.raises(DocumentProblemError) as error:
        desk.counter.choose(KIOSK, view.document, stranger)
    assert problem_of(error) == Problem.UNKNOWN_SUBJECT
    with pytest.raises(DocumentProblemError) as error:
        desk.ask(2, kind=Kind.BIRTH_CERTIFICATE, whom=Whom.SPOUSE)
    assert problem_of(error) == Problem.NOTHING_TO_ISSUE


def test_the_same_question_again_gets_the_same_answer_and_asks_nobody(desk: Desk) -> None:
    first = desk.ask()
    asked = list(desk.registry.asked)
    assert desk.ask() == first
    assert desk.registry.asked == asked
    choice = Choice(subject=first.subjects[0].subject)
    priced = desk.counter.choose(KIOSK, first.document, choice)
    assert desk.counter.choose(KIOSK, first.document, choice) == priced
    assert desk.ask() == priced


def test_another_choice_after_the_price_is_refused(desk: Desk) -> None:
    view = desk.ask()
    first, second, *_ = view.subjects
    desk.counter.choose(KIOSK, view.document, Choice(subject=first.subject))
    with pytest.raises(DocumentProblemError) as error:
        desk.counter.choose(KIOSK, view.document, Choice(subject=second.subject))
    assert problem_of(error) is Problem.WRONG_STATE


def test_unknown_kinds_and_subjects_are_refused(desk: Desk) -> None:
    new = NewRequest(
        document=document_id(), visit="v", kind="coat-of-arms", language="sq", identification=of(MAN)
    )
    with pytest.raises(DocumentProblemError) as error:
        desk.counter.request(KIOSK, new)
    assert problem_of(error) is Problem.UNKNOWN_KIND
    view = desk.ask()
    (other, *_) = CITY.lists_of(STRANGER.person)
    with pytest.raises(DocumentProblemError) as error:
        desk.counter.choose(KIOSK, view.document, Choice(subject=other.number))
    assert problem_of(error) is Problem.UNKNOWN_SUBJECT
    assert desk.counter.view(KIOSK, view.document).state == "identified"


def test_the_registry_decides_who_may_ask(desk: Desk) -> None:
    view = desk.ask()
    desk.registry.forbids = True
    with pytest.raises(DocumentProblemError) as error:
        desk.counter.choose(KIOSK, view.document, Choice(subject=view.subjects[0].subject))
    assert problem_of(error) is Problem.NOT_ALLOWED
    after = desk.counter.view(KIOSK, view.document)
    assert (after.state, after.problem) == ("refused", "not-allowed")


def test_whoever_holds_nothing_hears_so(desk: Desk) -> None:
    with pytest.raises(DocumentProblemError) as error:
        desk.ask(person=LANDLESS)
    assert problem_of(error) is Problem.NOTHING_TO_ISSUE


@pytest.mark.parametrize(
    "wrong",
    [
        {"personal_number": "1000000000"},
        {"document_number": "100000000"},
        {"date_of_birth": "1901-01-01"},
        {"document_number": WOMAN.document_number},
    ],
)
def test_unknown_and_wrong_are_the_same_answer_and_the_same_work(desk: Desk, wrong: dict[str, str]) -> None:
    with pytest.raises(DocumentProblemError) as error:
        desk.ask(**wrong)
    assert problem_of(error) is Problem.NOT_IDENTIFIED
    assert desk.registry.asked == ["identify"]
    assert [outcome for outcome, _ in lookups(desk)] == ["unknown"]
    view = desk.counter.view(KIOSK, document_id())
    assert (view.state, view.problem) == ("refused", "not-identified")


def test_five_failures_lock_the_visit_and_not_the_person(desk: Desk) -> None:
    for number in range(1, 6):
        with pytest.raises(DocumentProblemError) as error:
            desk.ask(number, document_number="100000000")
        assert problem_of(error) is Problem.NOT_IDENTIFIED
    asked = len(desk.registry.asked)
    for number in (6, 7):
        with pytest.raises(DocumentProblemError) as error:
            desk.ask(number)
        assert problem_of(error) is Problem.VISIT_LOCKED
    assert len(desk.registry.asked) == asked, "a locked visit learns nothing: nobody is asked"
    assert desk.ask(8, visit="visit-2").state == "identified"
    assert [outcome for outcome, _ in lookups(desk)] == ["unknown"] * 5 + ["locked"] * 2 + ["found"]


def test_repeating_one_failed_question_does_not_count_twice(desk: Desk) -> None:
    for _ in range(10):
        with pytest.raises(DocumentProblemError) as error:
            desk.ask(document_number="100000000")
        assert problem_of(error) is Problem.NOT_IDENTIFIED
    assert desk.ask(2).state == "identified"


def test_a_kiosk_that_enumerates_over_many_visits_is_stopped(desk: Desk) -> None:
    problems = []
    for number in range(1, DEVICE_FAILURES_MAX + 5):
        with pytest.raises(DocumentProblemError) as error:
            desk.ask(number, visit=f"visit-{number}", personal_number=f"{1_000_000_000 + number}")
        problems.append(problem_of(error))
    assert problems.index(Problem.VISIT_LOCKED) == DEVICE_FAILURES_MAX
    desk.clock.forward(3601)
    assert desk.ask(999, visit="later").state == "identified"


def test_every_look_is_audited_with_its_purpose_and_without_personal_data(desk: Desk) -> None:
    desk.priced()
    assert [outcome for outcome, _ in lookups(desk)] == ["found", "read"]
    assert all("possession sheet" in purpose for _, purpose in lookups(desk))
    assert desk.registry.audits == ["1"]


def test_nothing_personal_stands_in_the_open(desk: Desk, tmp_path) -> None:  # type: ignore[no-untyped-def] # a path
    document = desk.paid()
    desk.sessions.kw["bind"].dispose()
    everything = stored_in(desk.sessions.kw["bind"])
    assert document.encode() in everything
    for secret in (MAN.given_names, MAN.surname, MAN.personal_number, MAN.document_number, MAN.person):
        assert secret.encode() not in everything, secret
    assert MAN.date_of_birth.isoformat().encode() not in everything


def test_a_registry_that_is_away_changes_nothing_and_can_be_asked_again(desk: Desk) -> None:
    desk.registry.down = True
    with pytest.raises(DocumentProblemError) as error:
        desk.ask()
    assert problem_of(error) is Problem.REGISTRY_UNAVAILABLE
    desk.registry.down = False
    view = desk.ask()
    assert view.state == "identified"
    desk.registry.down = True
    with pytest.raises(DocumentProblemError) as error:
        desk.counter.choose(KIOSK, view.document, Choice(subject=view.subjects[0].subject))
    assert problem_of(error) is Problem.REGISTRY_UNAVAILABLE
    assert desk.counter.view(KIOSK, view.document).state == "identified"
    assert [outcome for outcome, _ in lookups(desk)] == ["unavailable", "found", "read"]


def test_another_kiosk_has_no_such_request(desk: Desk) -> None:
    document = desk.priced().document
    for ask in (
        lambda: desk.counter.view("kiosk-02", document),
        lambda: desk.counter.choose("kiosk-02", document, Choice(subject="x")),
        lambda: desk.counter.pay("kiosk-02", document, Payment(authorisation="")),
        lambda: desk.counter.cancel("kiosk-02", document),
        lambda: desk.counter.paper("kiosk-02", document),
        lambda: desk.counter.view(KIOSK, document_id(77)),
    ):
        with pytest.raises(DocumentProblemError) as error:
            ask()
        assert problem_of(error) is Problem.NOT_FOUND


def test_a_request_that_nobody_pays_expires_and_its_contents_are_forgotten(desk: Desk) -> None:
    document = desk.priced().document
    desk.clock.forward(700)
    desk.documents.sweep()
    assert desk.settled(document).state == "expired"
    with desk.sessions() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(DocumentContent)) == 0


def test_time_is_noticed_before_the_sweep_notices_it(desk: Desk) -> None:
    document = desk.priced().document
    desk.clock.forward(700)
    desk.payments.authorise("auth-late", document, 400)
    with pytest.raises(DocumentProblemError) as error:
        desk.counter.pay(KIOSK, document, Payment(authorisation="auth-late"))
    assert problem_of(error) is Problem.WRONG_STATE
    assert desk.settled(document).payment == "released"
    assert desk.payments.state("auth-late") == "voided"


def test_a_cancelled_request_looks_for_money_that_a_dead_kiosk_took(desk: Desk) -> None:
    document = desk.priced().document
    desk.payments.authorise("auth-orphan", document, 400)
    assert desk.counter.cancel(KIOSK, document).state == "voided"
    assert desk.counter.cancel(KIOSK, document).state == "voided"
    assert desk.settled(document).payment == "released"
    assert desk.payments.state("auth-orphan") == "voided"


@pytest.mark.parametrize(
    ("authorisation", "reference", "cents"), [("auth-1", None, 300), ("auth-1", "another", 400)]
)
def test_a_payment_of_another_amount_or_reference_is_none(
    desk: Desk, authorisation: str, reference: str | None, cents: int
) -> None:
    document = desk.priced().document
    desk.payments.authorise(authorisation, reference or document, cents)
    with pytest.raises(DocumentProblemError) as error:
        desk.counter.pay(KIOSK, document, Payment(authorisation=authorisation))
    assert problem_of(error) is Problem.PAYMENT_NOT_CONFIRMED
    assert desk.row(document).state == "priced"
    expected = "voided" if reference is None else "authorised"
    assert desk.payments.state(authorisation) == expected, "only what was meant for this is given back"


@pytest.mark.parametrize("authorisation", ["", "auth-unknown"])
def test_no_payment_is_no_payment(desk: Desk, authorisation: str) -> None:
    document = desk.priced().document
    with pytest.raises(DocumentProblemError) as error:
        desk.counter.pay(KIOSK, document, Payment(authorisation=authorisation))
    assert problem_of(error) is Problem.PAYMENT_NOT_CONFIRMED


def test_a_payment_service_that_is_away_can_be_asked_again(desk: Desk) -> None:
    document = desk.priced().document
    desk.payments.down = True
    with pytest.raises(DocumentProblemError) as error:
        desk.pay(document)
    assert problem_of(error) is Problem.PAYMENTS_UNAVAILABLE
    desk.payments.down = False
    assert desk.pay(document).state == "authorised"


def test_numbers_are_given_once_and_in_order(desk: Desk) -> None:
    first, second = desk.paid(1), desk.paid(2)
    rows = [desk.row(first), desk.row(second)]
    assert [row.serial for row in rows] == ["PR-2026-000001", "PR-2026-000002"]
    assert len({row.code for row in rows}) == 2
    again = desk.counter.pay(KIOSK, first, Payment(authorisation=f"auth-{first}"))
    assert again.serial == "PR-2026-000001"
    with desk.sessions() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Document)) == 2
