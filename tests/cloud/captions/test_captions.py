"""Sittings and segments in the database: versions, jobs, idempotence, what is shown."""

import math
import random
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session, sessionmaker

from cloud.captions import segments, sittings
from cloud.captions.hub import Event
from cloud.captions.run import Captions
from cloud.database.models.captions import Sitting
from cloud.errors import MalformedError, RefusedError
from contract.captions import CaptionState
from tests.cloud.captions.conftest import Clerk, Jobs, Recorder


def _shown(captions: Captions, session: str) -> list[str]:
    with captions.sessions() as database:
        return [row.text for row in segments.shown(database, sittings.find(database, session))]


def test_each_change_is_one_job_with_a_higher_version(clerk: Clerk, jobs: Jobs) -> None:
    session = clerk.plan()
    assert jobs.created == []
    clerk.do(session, "open")
    clerk.do(session, "pause")
    clerk.do(session, "open")
    clerk.do(session, "close-to-public", "sensitive-information")
    clerk.do(session, "end")
    told = [(device, document.state, document.version) for _, device, document in jobs.created]
    assert told == [
        ("hall-01", state, version)
        for version, state in enumerate(["open", "paused", "open", "closed_to_public", "ended"], start=1)
    ]
    assert [sittings.told_by(job) for job, _, _ in jobs.created] == [(session, n) for n in range(1, 6)]
    assert sittings.told_by("print-x-1") is None
    assert sittings.told_by("set-sitting-x") is None
    assert len({document.opened_at for _, _, document in jobs.created}) == 1
    with clerk.captions.sessions() as database:
        at = [change.at.timestamp() * 1000 for change in sittings.changes(database, session)][1:]
    # Rounded up: what is dated from there on lies in the part, to the last microsecond.
    assert all(
        change <= document.changed_at < change + 1
        for change, (_, _, document) in zip(at, jobs.created, strict=True)
    )


def test_a_recorder_that_answers_nothing_is_told_until_the_sitting_goes_on(clerk: Clerk, jobs: Jobs) -> None:
    session = clerk.plan()
    clerk.do(session, "open")
    for number in range(3):
        clerk.captions.recorder_unheard(jobs.created[-1][0])
        assert jobs.created[-1][0] == f"set-sitting-{session}-1r{number + 1}"
        assert sittings.told_by(jobs.created[-1][0]) == (session, 1)
    assert len({document for _, _, document in jobs.created}) == 1, "it is the same word each time"
    last = jobs.created[-1][0]
    clerk.do(session, "pause")
    count = len(jobs.created)
    clerk.captions.recorder_unheard(last)
    clerk.captions.recorder_unheard("op-1")
    assert len(jobs.created) == count, "what is overtaken is told no more"
    assert sittings.next_job(sittings.job_id(session, 2, sittings.AGAIN_MAX)) is None


def test_only_older_versions_of_the_same_sitting_are_overtaken() -> None:
    jobs = [
        "set-sitting-a-1",
        "set-sitting-a-2r1",
        "set-sitting-a-3",
        "set-sitting-b-1",
        "op-1",
        "set-sitting-x",
    ]
    assert sittings.overtaken(jobs, "a", 3) == ["set-sitting-a-1", "set-sitting-a-2r1"]


def test_a_sitting_that_never_began_tells_the_recorder_nothing(clerk: Clerk, jobs: Jobs) -> None:
    clerk.do(clerk.plan(), "cancel")
    assert jobs.created == []


def test_plans_are_held_against_the_city(clerk: Clerk) -> None:
    with pytest.raises(RefusedError, match="no hall"):
        clerk.plan("kiosk-01")
    with pytest.raises(MalformedError, match="title"):
        clerk.plan(title=" ")
    with pytest.raises(MalformedError, match="language"):
        clerk.plan(lang="fr")
    with pytest.raises(RefusedError, match="no such sitting"):
        clerk.do("nowhere", "open")


def test_a_hall_holds_one_sitting_and_the_other_hall_another(clerk: Clerk) -> None:
    clerk.open("hall-01")
    clerk.open("hall-02")
    second = clerk.plan("hall-01")
    with pytest.raises(RefusedError, match="end it first"):
        clerk.do(second, "open")


def test_a_final_is_stored_once_and_the_highest_revision_is_shown(clerk: Clerk, recorder: Recorder) -> None:
    session = clerk.open()
    recorder.final(session, 1, "one")
    recorder.final(session, 1, "one")
    recorder.final(session, 2, "two", revision=3)
    recorder.final(session, 2, "two, late", revision=2)
    recorder.final(session, 1, "one, better", revision=2)
    assert _shown(recorder.captions, session) == ["one, better", "two"]
    with recorder.captions.sessions() as database:
        sitting = sittings.find(database, session)
        assert sitting.sequence == 4
        fresh = segments.shown(database, sitting, after=2)
        assert [(row.segment, row.revision) for row in fresh] == [(1, 2)]


@pytest.mark.parametrize("seed", range(10))
def test_any_order_and_any_repetition_end_in_the_same_text(
    seed: int, clerk: Clerk, recorder: Recorder
) -> None:
    session = clerk.open()
    sent = [(number, revision) for number in range(1, 6) for revision in range(1, 4)] * 2
    random.Random(seed).shuffle(sent)
    for number, revision in sent:
        recorder.final(session, number, f"{number}.{revision}", revision=revision)
    assert _shown(recorder.captions, session) == [f"{number}.3" for number in range(1, 6)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": CaptionState.PARTIAL},
        {"state": CaptionState.CORRECTED},
        {"segment": 0},
        {"revision": -1},
        {"start_ms": 5, "end_ms": 4},
        {"start_ms": -1},
        {"end_ms": 10**12},
        {"text": "x" * 2001},
        {"lang": "tlh"},
        {"source": "s" * 65},
        {"channel": "gallery"},
    ],
)
def test_what_no_recorder_may_send_is_refused(
    wrong: dict[str, object], clerk: Clerk, recorder: Recorder
) -> None:
    session = clerk.open()
    with pytest.raises(MalformedError):
        recorder.final(session, 1, **({"text": "x"} | wrong))  # type: ignore[arg-type] # wrong on purpose
    assert _shown(recorder.captions, session) == []


def test_words_that_come_late_out_of_an_earlier_part_are_not_shown(
    clerk: Clerk, captions: Captions, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted: list[Event] = []
    session = clerk.open()
    recorder.partial(session, 1, "x")
    clerk.do(session, "close-to-public", "sensitive-information")
    clerk.do(session, "open")
    monkeypatch.setattr(captions.hub, "post", posted.append)
    recorder.partial(session, 1, "said in the closed part")
    assert posted == []
    with captions.sessions() as database:
        sitting = sittings.find(database, session)
        again = sittings.changes(database, session)[-1].at
        assert sitting.opened_at is not None
        open_again_ms = math.ceil((again - sitting.opened_at) / timedelta(milliseconds=1))
    recorder.partial(session, 2, "public again", start_ms=open_again_ms, end_ms=open_again_ms)
    assert [event.segment for event in posted] == [2]


def test_a_foreign_hall_puts_no_words_into_a_sitting(clerk: Clerk, captions: Captions) -> None:
    session = clerk.open("hall-01")
    with pytest.raises(MalformedError, match="no sitting of this hall"):
        Recorder(captions, "hall-02").final(session, 1, "foreign")
    with pytest.raises(MalformedError, match="no sitting"):
        Recorder(captions, "hall-02").partial(session, 1, "foreign")
    with pytest.raises(MalformedError, match="no sitting of this hall"):
        Recorder(captions).final("nowhere", 1, "lost")


def test_words_said_in_a_closed_part_are_not_stored(
    clerk: Clerk, recorder: Recorder, sessions: sessionmaker[Session]
) -> None:
    session = clerk.open()
    clerk.do(session, "close-to-public", "public-order")
    with sessions.begin() as database:
        sitting = database.get_one(Sitting, session)
        assert sitting.opened_at is not None
        closed_after_ms = int(
            (sittings.changes(database, session)[-1].at - sitting.opened_at) / timedelta(milliseconds=1)
        )
    with pytest.raises(MalformedError, match="not open to the public"):
        recorder.final(session, 1, "secret", start_ms=closed_after_ms + 1, end_ms=closed_after_ms + 500)
    with pytest.raises(MalformedError, match="not open to the public"):
        recorder.final(session, 1, "half secret", start_ms=0, end_ms=closed_after_ms + 500)
    recorder.final(session, 1, "public", start_ms=0, end_ms=0)
    assert _shown(recorder.captions, session) == ["public"]


def test_the_recorders_answer_counts_for_its_version_only(clerk: Clerk, captions: Captions) -> None:
    session = clerk.open(lang="sq")
    captions.recorder_answered(session, 1, "no-model")
    captions.recorder_answered(session, 9, "running")
    with captions.sessions() as database:
        sitting = sittings.find(database, session)
        assert captions.silence(database, sitting) == "no-recogniser"
    clerk.do(session, "pause")
    with captions.sessions() as database:
        assert sittings.find(database, session).recogniser is None
