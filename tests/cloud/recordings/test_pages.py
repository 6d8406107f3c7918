"""The pages of recordings: what staff see and download, and what they may ask for."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.operators import AuditEntry
from cloud.database.models.transcription import TranscriptionRun
from cloud.recordings import runs
from cloud.recordings.cards import card
from cloud.recordings.listening import OutOfRangeError, Part, part_of
from cloud.recordings.orders import Orders
from cloud.recordings.pages import Desk, router
from cloud.recordings.turns import Reason
from tests.cloud.conftest import Clock, Staff
from tests.cloud.recordings.drafts import CLOSED, drafted, uploaded
from tests.cloud.recordings.halls import RECORDING, store

ONE = f"/recordings/{RECORDING}"


@dataclass
class Hall:
    """The pages, and what was put into the workers' queue."""

    sessions: sessionmaker[Session]
    folder: Path
    clock: Clock
    queued: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.objects = store(self.folder / "objects")
        self.orders = Orders(self.sessions, lambda *run: self.queued.append(run), lambda *_: None, self.clock)
        self.desk = Desk(self.sessions, self.objects, self.orders, card("whisper-base"))

    def draft(self, turns: Sequence[tuple[int, str]] = CLOSED) -> None:
        with self.sessions.begin() as database:
            drafted(database, self.objects, self.clock(), self.folder, turns)


@pytest.fixture
def hall(sessions: sessionmaker[Session], clock: Clock, tmp_path: Path) -> Hall:
    return Hall(sessions, tmp_path, clock)


@pytest.fixture
def staff(hall: Hall, pages_app: Callable[..., FastAPI], sign_in: Callable[..., Staff]) -> Staff:
    return sign_in(pages_app(router(hall.desk)))


def test_strangers_see_nothing(hall: Hall, staff: Staff) -> None:
    hall.draft()
    staff.client.cookies.clear()
    for path in ("", ONE.removeprefix("/recordings")):
        assert staff.client.get(f"/recordings{path}").status_code == 303
    for path in ("/sound.ogg", "/transcript.vtt", "/speaking.csv", "/progress"):
        assert staff.client.get(ONE + path).status_code == 303


def test_the_list_says_how_far_each_is(hall: Hall, staff: Staff) -> None:
    assert "Nothing was recorded yet" in staff.client.get("/recordings").text
    hall.draft()
    page = staff.client.get("/recordings").text
    assert "Mbledhja e provës" in page
    assert "Draft, not reviewed" in page


def test_the_draft_names_speakers_times_and_doubts(hall: Hall, staff: Staff) -> None:
    hall.draft()
    page = staff.client.get(ONE).text
    assert "Draft, not reviewed." in page
    speakers = re.findall(r'<p class="speaker">(.*?)</p>', page)
    assert [re.sub("<[^>]*>", "", each).strip() for each in speakers] == [
        "Fjolla Testi Chair",
        "Љиљана Пробић",
        "Unknown speaker",
        "Seat X9",
    ]
    assert page.count('<span lang="en">') == 5
    assert page.count('<span class="chip warn">uncertain</span>') == 1
    # The sound has no pause: what is said at 64.2 s of the sitting is at 16.2 s of it.
    assert 'data-start="16200"' in page
    assert "It will be dry &lt;soon&gt; &amp; safe." in page
    assert "0.0 % of the words wrong, measured on 2026-11-27" in page
    assert "no real hall" in page


def test_the_draft_says_where_the_public_was_excluded(hall: Hall, staff: Staff) -> None:
    hall.draft()
    page = staff.client.get(ONE).text
    assert "Closed to the public from 10:00:20 to 10:01:00. What was said is neither" in page
    before, after = page.split("Closed to the public from")
    assert "Somebody without a microphone." in before
    assert "It will be dry" in after


def test_a_draft_and_a_copy_of_everything_are_never_shown(hall: Hall, staff: Staff) -> None:
    """An older release made them: the recorder had heard late that the second speaker's part was closed."""
    hall.draft([(4000, "closed_to_public"), (12_000, "open"), (13_000, "paused"), (63_000, "open")])
    page = staff.client.get(ONE).text
    for secret in ("The roof of the school", "Children sit in cold rooms", "Somebody without a microphone"):
        assert secret not in page
        assert secret not in staff.client.get(f"{ONE}/transcript.vtt").text
    assert "Good morning to all of you." in page
    # 1992 ms before the closed part and 992 ms after it are left, and the last line begins 1200 ms later.
    assert 'data-start="4184"' in page
    assert "There is no copy to listen to." in page
    assert staff.client.get(f"{ONE}/sound.ogg").status_code == 404
    rows = csv.DictReader(io.StringIO(staff.client.get(f"{ONE}/speaking.csv").text))
    assert {row["seat"] for row in rows} == {"C1", "X9"}


def test_the_chair_is_counted_apart(hall: Hall, staff: Staff) -> None:
    hall.draft()
    answer = staff.client.get(f"{ONE}/speaking.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["content-type"].startswith("text/csv")
    assert {row["seat"]: row["role"] for row in rows} == {
        "A1": "member",
        "X9": "member",
        "": "unknown",
        "C1": "chair",
    }
    by_seat = {row["seat"]: row for row in rows}
    assert by_seat["A1"]["spoken_s"] == "2.960"
    assert (by_seat["A1"]["turns"], by_seat["A1"]["words"]) == ("1", "12")
    assert by_seat["C1"]["opened_at"] == "2026-11-23T09:00:00Z"
    page = staff.client.get(ONE).text
    assert page.index("The chair, counted apart") > page.rindex("Seat X9")


def test_a_name_is_no_formula_in_a_spreadsheet(hall: Hall, staff: Staff) -> None:
    from cloud.assembly.roster import Member, put

    hall.draft()
    with hall.sessions.begin() as database:
        put(database, "hall-01", Member("A1", "=cmd()", "", chair=False))
    assert "'=cmd()" in staff.client.get(f"{ONE}/speaking.csv").text


def test_the_text_with_times_is_webvtt(hall: Hall, staff: Staff) -> None:
    hall.draft()
    answer = staff.client.get(f"{ONE}/transcript.vtt")
    assert answer.headers["content-type"] == "text/vtt; charset=utf-8"
    head, note, *cues = answer.text.strip().split("\n\n")
    assert (head, note) == ("WEBVTT", "NOTE Draft made by a machine, not reviewed.")
    pattern = re.compile(
        r"\d+\n(\d\d:\d\d:\d\d\.\d{3}) --> (\d\d:\d\d:\d\d\.\d{3})\n(?:<v [^>\n]+>)?[^<>\n]+"
    )
    times = [pattern.fullmatch(cue).groups() for cue in cues]  # type: ignore[union-attr] # None fails here
    assert all(start < end for start, end in times)
    assert times == sorted(times)
    assert cues[0].endswith("<v Fjolla Testi>Good morning to all of you.")
    assert cues[-1].endswith("<v X9>It will be dry &lt;soon&gt; &amp; safe.")


def test_the_sound_is_served_in_ranges(hall: Hall, staff: Staff) -> None:
    hall.draft()
    whole = staff.client.get(f"{ONE}/sound.ogg")
    assert whole.headers["content-type"] == "audio/ogg"
    assert whole.content[:4] == b"OggS"
    part = staff.client.get(f"{ONE}/sound.ogg", headers={"Range": "bytes=100-199"})
    assert part.status_code == 206
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    assert part.content == whole.content[100:200]
    rest = staff.client.get(f"{ONE}/sound.ogg", headers={"Range": f"bytes={len(whole.content)}-"})
    assert rest.status_code == 416


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None),
        ("bytes=0-", Part(0, 1000, 1000)),
        ("bytes=900-2000", Part(900, 1000, 1000)),
        ("bytes=-100", Part(900, 1000, 1000)),
        ("bytes=-5000", Part(0, 1000, 1000)),
        ("bytes=5-1", None),
        ("bytes=0-1,5-6", None),
        ("lines=1-2", None),
        ("bytes=-", None),
    ],
)
def test_ranges(header: str | None, part: Part | None) -> None:
    assert part_of(header, 1000) == part


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=-0", "bytes=5000-6000"])
def test_ranges_outside(header: str) -> None:
    with pytest.raises(OutOfRangeError):
        part_of(header, 1000)


def test_a_recording_that_is_uploaded_is_asked_for_once(hall: Hall) -> None:
    with hall.sessions.begin() as database:
        uploaded(database, hall.objects, hall.clock())
    hall.orders.uploaded(RECORDING)
    hall.orders.uploaded(RECORDING)
    assert hall.queued == [(RECORDING, 1)]
    hall.orders.sweep()
    assert hall.queued == [(RECORDING, 1)] * 2, "the engine knows no such run, so it is handed over again"


def test_the_sweep_finds_what_nobody_told_of(hall: Hall) -> None:
    with hall.sessions.begin() as database:
        uploaded(database, hall.objects, hall.clock())
    hall.orders.sweep()
    assert hall.queued == [(RECORDING, 1)]


def test_a_run_that_the_engine_gave_up_is_failed(hall: Hall, staff: Staff) -> None:
    hall.orders = Orders(hall.sessions, lambda *_: None, lambda *_: "ERROR", hall.clock)
    with hall.sessions.begin() as database:
        uploaded(database, hall.objects, hall.clock())
    hall.orders.uploaded(RECORDING)
    hall.orders.sweep()
    assert "The transcription failed. An unforeseen error." in staff.client.get(ONE).text


def test_a_person_asks_again_after_a_failure(hall: Hall, staff: Staff) -> None:
    with hall.sessions.begin() as database:
        uploaded(database, hall.objects, hall.clock())
    hall.orders.uploaded(RECORDING)
    busy = staff.client.post(f"{ONE}/transcribe", headers=staff.headers)
    assert busy.status_code == 409
    with hall.sessions.begin() as database:
        run = runs.load(database, RECORDING, 1)
        runs.begin(database, run, hall.clock())
        runs.end(database, run, "fail", Reason.CHANGED, segment=2, now=hall.clock())
    page = staff.client.get(ONE).text
    assert "is not what the recorder sent" in page
    assert "It is segment 2." in page
    assert staff.client.post(f"{ONE}/transcribe", headers=staff.headers).status_code == 303
    assert hall.queued == [(RECORDING, 1), (RECORDING, 2)]
    with hall.sessions() as database:
        assert database.scalar(sa.select(sa.func.count()).select_from(TranscriptionRun)) == 2
        (entry,) = database.scalars(sa.select(AuditEntry))
    assert (entry.action, entry.subject) == ("transcribe-recording", RECORDING)


def test_a_language_that_was_not_measured_says_so(hall: Hall, staff: Staff) -> None:
    with hall.sessions.begin() as database:
        uploaded(database, hall.objects, hall.clock(), lang="sq")
    hall.orders.uploaded(RECORDING)
    with hall.sessions.begin() as database:
        run = runs.load(database, RECORDING, 1)
        runs.begin(database, run, hall.clock())
        runs.end(database, run, "refuse", Reason.NOT_MEASURED, now=hall.clock())
    page = staff.client.get(ONE).text
    assert "not measured in this language" in page
    assert "There is no draft. The speech model was never measured on this language" in page


@pytest.mark.parametrize("path", ["", "/sound.ogg", "/transcript.vtt", "/speaking.csv", "/progress"])
def test_what_there_is_not_is_not_found(path: str, staff: Staff) -> None:
    assert staff.client.get(f"/recordings/none{path}").status_code == 404
