"""Many change the same thing at once: on either database nothing is lost, doubled or let through."""

import base64
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from sqlalchemy.orm import Session, sessionmaker

from cloud import arrivals
from cloud.broker import Broker, Received, _Arrived
from cloud.captions.hub import Hub
from cloud.captions.run import Captions
from cloud.database.models.captions import CaptionRevision, Sitting
from cloud.database.models.devices import Device
from cloud.database.models.documents import DocumentLookup
from cloud.database.models.enrolment import DeviceCertificate, EnrolmentRefusal
from cloud.database.models.jobs import Job, JobExecution, JobWaiting
from cloud.database.writing import hold
from cloud.documents import store as document_store
from cloud.documents.problems import DocumentProblemError
from cloud.enrolment import est as enrolment
from cloud.enrolment import members, pki, refusals, registry
from cloud.errors import RefusedError
from cloud.jobs.requests import Requests
from cloud.jobs.service import PENDING_MAX, Jobs
from cloud.jobs.sweep import Sweep
from cloud.operators.accounts import Accounts
from cloud.operators.roles import Role
from cloud.settings import Broker as BrokerSettings
from cloud.watermark import Key
from contract.captions import CaptionSegment, CaptionState
from contract.documents import IDENTIFICATIONS_FAILED_MAX, Evidence, PrintOutcome
from contract.jobs import Status, Update
from contract.messages import Lane, encode, seal
from tests.cloud.conftest import Clock
from tests.cloud.documents.desk import KIOSK, STRANGER, Desk

MANY = 8
JOIN_S = 60.0
REFUSALS = (RefusedError, DocumentProblemError)
Sessions = sessionmaker[Session]


def at_once(count: int, do: Callable[[int], Any]) -> list[Any]:
    """What `do(0)`, `do(1)`, … give, or the refusals that they raise, when all of them begin together."""
    ready = threading.Barrier(count)
    results: list[Any] = [None] * count

    def one(number: int) -> None:
        ready.wait(JOIN_S)
        try:
            results[number] = do(number)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(JOIN_S)
        assert not thread.is_alive()
    faults = [each for each in results if isinstance(each, Exception) and not isinstance(each, REFUSALS)]
    assert faults == []
    return results


@pytest.fixture
def city(sessions: Sessions, clock: Clock) -> Sessions:
    """Two kiosks and a hall."""
    with sessions.begin() as session:
        for name, kind in {KIOSK: "kiosk", "kiosk-02": "kiosk", "hall-01": "recorder"}.items():
            session.add(Device(device=name, kind=kind, site="Square", registered_at=clock()))
    return sessions


def test_no_message_is_forgotten_in_a_watermark(city: Sessions, clock: Clock, tmp_path: Path) -> None:
    settings = BrokerSettings(host="localhost", port=1, tls=False)
    broker = Broker(settings, name="svc-control", pki=tmp_path, sessions=city, clock=clock)
    taken: list[int] = []

    def keep(message: Received) -> None:
        assert message.envelope is not None
        taken.append(message.envelope.seq)

    broker.subscribe("evidence", keep)
    body = encode(Evidence(document="d", job="j", outcome=PrintOutcome.PRINTED))
    at = int(clock().timestamp() * 1000)

    def deliver(number: int) -> None:
        for seq in (number + 1, MANY * 2 - number):
            payload = seal(body, boot="b", lane=Lane.EVENTS, seq=seq, at=at, sent=at, historical=False)
            ids = {"device": KIOSK, "document": "d"}
            broker._store(_Arrived(1, seq, 1, "evidence", ids, payload, clock()))

    at_once(MANY, deliver)
    with city() as session:
        mark = arrivals.load(session, Key(KIOSK, "b", Lane.EVENTS))
    assert mark is not None
    assert (mark.seq, mark.above) == (MANY * 2, ())
    assert sorted(taken) == list(range(1, MANY * 2 + 1)), "each is handled once"


def order(jobs: Jobs, sessions: Sessions, job: str, *devices: str) -> bool:
    with sessions.begin() as session:
        return jobs.create(
            session,
            job,
            {"operation": "restart-agent"},
            devices,
            in_progress_timeout_s=60,
            queued_expiry_s=600,
        )


@pytest.fixture
def jobs(city: Sessions, clock: Clock) -> Jobs:
    return Jobs(sessions=city, publish=lambda *_: None, clock=clock)


@pytest.mark.parametrize("devices", [[KIOSK], [KIOSK, "kiosk-02"]])
def test_a_job_that_is_ordered_twice_is_made_once(devices: list[str], jobs: Jobs, city: Sessions) -> None:
    made = at_once(MANY, lambda number: order(jobs, city, "job-1", devices[number % len(devices)]))
    assert sorted(made) == [False] * (MANY - 1) + [True]
    with city() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Job)) == 1
        assert session.scalar(sa.select(sa.func.count()).select_from(JobExecution)) == 1


def test_a_device_gets_no_more_than_it_may_have(jobs: Jobs, city: Sessions) -> None:
    for number in range(PENDING_MAX - 2):
        order(jobs, city, f"old-{number}", KIOSK)
    made = at_once(MANY, lambda number: order(jobs, city, f"new-{number}", KIOSK))
    assert made.count(True) == 2


def test_a_job_ends_once(jobs: Jobs, city: Sessions, clock: Clock) -> None:
    told: list[str] = []
    jobs.on_ended(lambda _job, _device, status: told.append(status.value))
    order(jobs, city, "job-1", KIOSK, "kiosk-02")
    clock.forward(601)

    def end(number: int) -> int:
        if number % 2:
            return Sweep(city, jobs)(clock())
        with city.begin() as session:
            return jobs.cancel(session, "job-1")

    ended = at_once(MANY, end)
    assert sum(ended) == 2, "two devices, two ends"
    with city() as session:
        rows = session.scalars(sa.select(JobExecution)).all()
    assert {row.version for row in rows} == {2}


def test_control_planes_that_roll_out_together_keep_the_rate_and_show_a_job_once(
    jobs: Jobs, city: Sessions, clock: Clock
) -> None:
    names = [f"kiosk-{number:02}" for number in range(10, 30)]
    with city.begin() as session:
        session.add_all(Device(device=name, kind="kiosk", site="x", registered_at=clock()) for name in names)
    with city.begin() as session:
        terms = {"in_progress_timeout_s": 60.0, "queued_expiry_s": 600.0}
        jobs.create(session, "job-1", {"operation": "restart-agent"}, names, per_minute=60, **terms)
    sweeps = [Sweep(city, jobs) for _ in range(MANY)]
    for _ in range(4):
        shown = at_once(MANY, lambda number: sweeps[number].roll(clock()))
        assert sum(shown) <= 3
        clock.forward(2)
    with city() as session:
        rows = session.scalars(sa.select(JobExecution)).all()
        waiting = session.scalar(sa.select(sa.func.count()).select_from(JobWaiting))
    assert len({row.device for row in rows}) == len(rows) == 7
    assert waiting == len(names) - 7


def test_a_cancel_in_the_middle_of_a_roll_out_leaves_nobody_waiting(
    jobs: Jobs, city: Sessions, clock: Clock
) -> None:
    names = [f"kiosk-{number:02}" for number in range(10, 18)]
    with city.begin() as session:
        session.add_all(Device(device=name, kind="kiosk", site="x", registered_at=clock()) for name in names)
    with city.begin() as session:
        terms = {"in_progress_timeout_s": 60.0, "queued_expiry_s": 600.0}
        jobs.create(session, "job-1", {"operation": "restart-agent"}, names, per_minute=60, **terms)
    clock.forward(2)
    sweep = Sweep(city, jobs)

    def act(number: int) -> int:
        if number % 2:
            return sweep.roll(clock())
        with city.begin() as session:
            return jobs.cancel(session, "job-1")

    ended = sum(at_once(MANY, act)[::2])
    assert ended == len(names)
    with city() as session:
        rows = session.scalars(sa.select(JobExecution)).all()
        job = session.scalars(sa.select(Job)).one()
    assert sorted(row.device for row in rows) == names
    assert {row.status for row in rows} == {"CANCELED"}
    assert (job.state, job.rollout_next_at) == ("CANCELED", None)


def test_the_last_two_devices_of_a_job_end_it_together(jobs: Jobs, city: Sessions, clock: Clock) -> None:
    requests = Requests(jobs, lambda *_: None)
    for number in range(4):
        order(jobs, city, f"job-{number}", KIOSK, "kiosk-02")

        def finish(device: int, job: str = f"job-{number}") -> None:
            ids = {"device": (KIOSK, "kiosk-02")[device], "job": job}
            with city.begin() as session:
                hold(session, [ids["device"]])
                body = encode(Update(status=Status.SUCCEEDED))
                requests.update(Received(ids["device"], ids, body, None, clock(), session))

        at_once(2, finish)
    with city() as session:
        assert set(session.scalars(sa.select(Job.state))) == {"COMPLETED"}


def test_a_hall_has_one_sitting(city: Sessions) -> None:
    captions = Captions(city, lambda *_: None, Hub())
    with city.begin() as session:
        planned = [
            captions.create(session, device="hall-01", title=f"Assembly {number}", lang="sq").session
            for number in range(MANY)
        ]

    def open_it(number: int) -> str:
        with city.begin() as session:
            return captions.change(session, planned[number], "open", reason="", note="").state

    assert at_once(MANY, open_it).count("open") == 1


def test_every_line_has_its_place(city: Sessions, clock: Clock) -> None:
    captions = Captions(city, lambda *_: None, Hub())
    with city.begin() as session:
        sitting = captions.create(session, device="hall-01", title="Assembly", lang="sq").session
    with city.begin() as session:
        captions.change(session, sitting, "open", reason="", note="")
    ids = {"device": "hall-01", "session": sitting, "channel": "floor"}

    def say(number: int) -> None:
        from cloud.captions.segments import take_final

        said = CaptionSegment(
            session=sitting, channel="floor", segment=number + 1, revision=1, state=CaptionState.FINAL,
            text="a", start_ms=0, end_ms=0, lang="sq", source="test",
        )  # fmt: skip
        with city.begin() as session:
            take_final(session, "hall-01", ids, encode(said), clock())

    at_once(MANY, say)
    with city() as session:
        assert session.get_one(Sitting, sitting).sequence == MANY
        places = session.scalars(sa.select(CaptionRevision.sequence)).all()
    assert sorted(places) == list(range(1, MANY + 1))


def test_who_guesses_in_parallel_gains_nothing(city: Sessions, clock: Clock, tmp_path: Path) -> None:
    desk = Desk(city, clock, str(tmp_path))

    def guess(number: int) -> Any:
        return desk.ask(number + 1, person=STRANGER, visit="one", document_number="WRONG0000")

    refused = at_once(IDENTIFICATIONS_FAILED_MAX + MANY, guess)
    assert all(isinstance(each, REFUSALS) for each in refused)
    with city() as session:
        rows = session.scalars(sa.select(DocumentLookup.outcome)).all()
    assert rows.count("unknown") == IDENTIFICATIONS_FAILED_MAX
    assert rows.count("locked") == MANY


def test_a_question_that_is_asked_often_opens_one_request(
    city: Sessions, clock: Clock, tmp_path: Path
) -> None:
    desk = Desk(city, clock, str(tmp_path))
    views = at_once(MANY, lambda _number: desk.ask(1))
    assert {view.state for view in views if not isinstance(view, Exception)} == {"identified"}


def test_a_serial_number_is_given_once(city: Sessions) -> None:
    def give(_number: int) -> str:
        with city.begin() as session:
            return document_store.next_serial(session, "PR", 2027)

    given = at_once(MANY, give)
    assert sorted(given) == [f"PR-2027-{number:06d}" for number in range(1, MANY + 1)]


def test_a_revoked_certificate_does_not_come_back_to_life(
    city: Sessions, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shown for the first time in the moment in which it is revoked."""
    monkeypatch.setattr(members, "serial_text", lambda _shown: "1")
    monkeypatch.setattr(members.pki, "common_name", lambda _shown: KIOSK)
    made = {"fingerprint": lambda _self, _hash: b"", "not_valid_before_utc": clock()}
    shown = type("Shown", (), made)()
    for _ in range(MANY):
        with city.begin() as session:
            session.execute(sa.delete(DeviceCertificate))
            session.add(
                DeviceCertificate(
                    serial="1", device=KIOSK, state="issued", by="token", fingerprint_sha256="",
                    issued_at=clock(), expires_at=clock() + timedelta(days=1),
                )
            )  # fmt: skip

        def meet(number: int) -> Any:
            with city.begin() as session:
                if number:
                    return members.revoke(session, KIOSK, "stolen", clock())
                return members.admit(session, shown, clock()).device

        at_once(2, meet)
        with city() as session:
            assert session.get_one(DeviceCertificate, "1").state == "revoked"


def test_refusals_devices_and_accounts_are_counted_and_made_once(city: Sessions, clock: Clock) -> None:
    at_once(MANY, lambda _number: refusals.count(city, refusals.Cause.TOO_OFTEN, clock()))
    with city() as session:
        assert session.get_one(EnrolmentRefusal, "too-often").count == MANY

    def register(_number: int) -> bool:
        with city.begin() as session:
            return registry.register(session, "kiosk-09", "kiosk", "Square", clock())

    assert at_once(MANY, register).count(True) == 1
    accounts = Accounts(city)
    assert (
        at_once(2, lambda _number: accounts.create("ana", "one-time", clock(), Role.CLERK)).count(True) == 1
    )


def test_a_renewal_that_is_asked_twice_at_once_is_answered_once(
    city: Sessions, clock: Clock, tmp_path: Path
) -> None:
    pki.prepare(tmp_path / "pki", ["localhost"], clock())
    desk = enrolment.Desk(pki.load(tmp_path / "pki"), city, clock)
    shown = desk.issuer.device(ec.generate_private_key(ec.SECP256R1()).public_key(), KIOSK, "kiosk", clock())
    with city.begin() as session:
        members.record(session, shown, KIOSK, "token", clock())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, KIOSK)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    body = base64.b64encode(
        request.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.DER)
    )
    clock.forward(60)
    given = at_once(MANY, lambda _number: desk.renew(shown, body))
    assert len({each.serial_number for each in given}) == 1
    with city() as session:
        states = session.scalars(
            sa.select(DeviceCertificate.state).order_by(DeviceCertificate.issued_at)
        ).all()
    assert states == ["trial", "issued"]


def test_of_two_certificates_that_are_proven_at_once_one_is_active(
    city: Sessions, clock: Clock, tmp_path: Path
) -> None:
    pki.prepare(tmp_path / "pki", ["localhost"], clock())
    issuer = pki.load(tmp_path / "pki")
    for _ in range(MANY):
        keys = [ec.generate_private_key(ec.SECP256R1()).public_key() for _ in range(2)]
        made = [issuer.device(key, KIOSK, "kiosk", clock()) for key in keys]
        with city.begin() as session:
            session.execute(sa.delete(DeviceCertificate))
            for each in made:
                members.record(session, each, KIOSK, "renewal", clock())

        def prove(number: int, made: list[x509.Certificate] = made) -> None:
            with city.begin() as session:
                members.admit(session, made[number], clock())
                members.prove(session, made[number], clock())

        told = at_once(2, prove)
        assert sum(isinstance(each, RefusedError) for each in told) == 1
        with city() as session:
            states = session.scalars(sa.select(DeviceCertificate.state)).all()
        assert sorted(states) == ["active", "superseded"]
