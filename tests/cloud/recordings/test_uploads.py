"""Uploads over HTTP: resumable at the recorded byte, refused with a sentence, each for itself."""

import hashlib
from datetime import timedelta

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from cloud.database.models.link import RefusalCount
from cloud.database.models.recordings import Recording, RecordingUpload
from cloud.recordings import api
from cloud.recordings.core import CORRUPTED_MAX
from cloud.recordings.objects import segment_key
from cloud.recordings.uploads import AGE_MAX, OPEN_MAX, UploadError
from contract.recordings import RecorderState, StoredSegment, UploadProblem
from tests.cloud.recordings.conftest import RECORDING, Recorder, entry_of, sound


def refused(answer, status, problem):
    assert (answer.status_code, answer.json()["code"]) == (status, problem.value), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json()["detail"]) > 20


def counted(plane):
    with plane.sessions() as session:
        return {row.reason: row.count for row in session.scalars(sa.select(RefusalCount))}


def test_a_segment_is_stored_whole_and_told(plane, recorder):
    data = sound(1)
    assert recorder.upload(1, data).status_code == 204
    assert b"".join(plane.objects.stream(segment_key(RECORDING, 1))) == data
    told = recorder.stored(1).json()
    digest = hashlib.sha256(data).hexdigest()
    assert told == {
        "recording": RECORDING,
        "segment": 1,
        "stored": True,
        "size": len(data),
        "sha256": digest,
        "offset": 0,
    }
    assert set(told) == set(StoredSegment.__struct_fields__)
    assert plane.objects.all_incoming() == []


def test_it_goes_on_at_the_byte_that_is_recorded(plane, recorder):
    data = sound(1)
    place = recorder.begin(1, data).headers["Location"]
    assert recorder.send(place, 0, data[:40_000]).headers["Upload-Offset"] == "40000"
    # A crash has left bytes beyond the recorded ones; another process goes on.
    with plane.objects.incoming(place.rsplit("/", 1)[1]).open("ab") as file:
        file.write(b"left behind")
    assert recorder.offset(place) == 40_000
    assert recorder.begin(1, data).headers["Location"] == place
    assert recorder.stored(1).json()["offset"] == 40_000
    assert recorder.send(place, 40_000, data[40_000:]).status_code == 204
    assert plane.objects.read(segment_key(RECORDING, 1), 0, len(data)) == data


def test_another_offset_is_refused_and_the_right_one_told(recorder):
    data = sound(1)
    place = recorder.begin(1, data).headers["Location"]
    recorder.send(place, 0, data[:1000])
    for wrong in (0, 999, 1001, len(data)):
        answer = recorder.send(place, wrong, data[wrong:])
        refused(answer, 409, UploadProblem.OFFSET)
        assert "1000" in answer.json()["detail"]
    assert recorder.offset(place) == 1000


def test_a_corrupted_segment_is_thrown_away_counted_and_comes_again(plane, recorder):
    data = sound(1)
    plane.news(1, RecorderState.FINISHED, entry_of(1, data))
    place = recorder.begin(1, data).headers["Location"]
    refused(recorder.send(place, 0, sound(9)), 409, UploadProblem.CORRUPT)
    assert recorder.stored(1).json()["stored"] is False
    assert plane.objects.all_incoming() == []
    refused(recorder.send(place, 0, data), 404, UploadProblem.GONE)
    assert recorder.upload(1, data).status_code == 204
    assert plane.segments()[0].corrupted == 1
    assert plane.recording().state == "uploaded"
    assert counted(plane) == {"upload-corrupt": 1}


def test_one_that_always_comes_corrupted_fails_its_recording_until_it_comes_right(plane, recorder):
    data = sound(1)
    plane.news(1, RecorderState.FINISHED, entry_of(1, data))
    for _ in range(CORRUPTED_MAX):
        assert plane.recording().state == "finished"
        recorder.send(recorder.begin(1, data).headers["Location"], 0, sound(9))
    assert (plane.recording().state, plane.recording().failure) == ("failed", "corrupt")
    recorder.upload(1, data)
    assert (plane.recording().state, plane.recording().failure) == ("uploaded", "")
    assert plane.uploaded == [RECORDING]


def test_uploaded_is_told_once_all_is_stored_whatever_comes_first(plane, recorder):
    one, two = sound(1), sound(2)
    recorder.upload(2, two)
    assert plane.recording().state == "planned"
    plane.news(1, RecorderState.FINISHED, entry_of(1, one), entry_of(2, two))
    assert (plane.recording().state, plane.uploaded) == ("uploading", [])
    recorder.upload(1, one)
    assert (plane.recording().state, plane.uploaded) == ("uploaded", [RECORDING])
    assert recorder.begin(1, one).json()["code"] == "stored"


def test_news_may_be_the_last_to_come(plane, recorder):
    recorder.upload(1, sound(1))
    plane.news(1, RecorderState.FINISHED, entry_of(1, sound(1)))
    assert (plane.recording().state, plane.uploaded) == ("uploaded", [RECORDING])


@pytest.mark.parametrize(
    "changed",
    [{"session": "unknown"}, {"channel": "other"}, {"session": ""}],
)
def test_a_recording_of_another_hall_is_refused(plane, recorder, changed):
    answer = recorder.begin(1, sound(1), **changed)
    assert answer.status_code in (400, 403)
    assert answer.json()["code"] in ("not-yours", "malformed")
    assert sum(counted(plane).values()) == 1


def test_another_device_can_neither_see_nor_touch_it(plane, recorder, device_app):
    data = sound(1)
    place = recorder.begin(1, data).headers["Location"]
    recorder.send(place, 0, data[:500])
    other = Recorder(TestClient(device_app(api.router(plane.uploads()), device="hall-02")))
    refused(other.begin(1, data), 403, UploadProblem.NOT_YOURS)
    refused(other.send(place, 500, data[500:]), 404, UploadProblem.GONE)
    refused(other.stored(1), 403, UploadProblem.NOT_YOURS)
    assert other.client.head(place, headers=other.tus).status_code == 404
    assert other.client.delete(place, headers=other.tus).status_code == 404
    assert recorder.send(place, 500, data[500:]).status_code == 204


def test_a_segment_announced_differently_is_refused(plane, recorder):
    recorder.begin(1, sound(1))
    refused(recorder.begin(1, sound(2)), 409, UploadProblem.DIFFERENT)
    refused(recorder.begin(1, sound(1, 5000)), 409, UploadProblem.DIFFERENT)
    assert counted(plane) == {"upload-different": 2}


def test_more_than_was_announced_is_refused_and_what_came_before_stays(plane, recorder):
    data = sound(1)
    place = recorder.begin(1, data).headers["Location"]
    recorder.send(place, 0, data[:1000])
    refused(recorder.send(place, 1000, data), 413, UploadProblem.TOO_LARGE)
    # Without a length in the header it is noticed when it comes.
    refused(recorder.send(place, 1000, (piece for piece in [data, data])), 413, UploadProblem.TOO_LARGE)
    assert recorder.offset(place) in (1000, 100_000)
    at = recorder.offset(place)
    assert recorder.send(place, at, data[at:]).status_code == 204


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Upload-Length": "0"}, 422),
        ({"Upload-Length": "-5"}, 422),
        ({"Upload-Length": str(2_000_000_000)}, 422),
        ({"Upload-Metadata": "segment"}, 400),
        ({"Upload-Metadata": "segment ???"}, 400),
        ({"Upload-Metadata": "x" * 5000}, 422),
        ({"Upload-Metadata": ""}, 400),
        ({"Tus-Resumable": "0.2.2"}, 412),
    ],
)
def test_a_creation_that_makes_no_sense_is_refused(recorder, headers, status):
    sensible = {"Upload-Length": "10", "Upload-Metadata": "segment MQ=="}
    answer = recorder.client.post(api.UPLOADS, headers=recorder.tus | sensible | headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("segment", "0"),
        ("segment", "1.5"),
        ("rate_hz", "7"),
        ("sha256", "AB"),
        ("why", "x"),
        ("start_ms", ""),
    ],
)
def test_metadata_out_of_the_contracts_limits_are_refused(recorder, key, value):
    refused(recorder.begin(1, sound(1), **{key: value}), 400, UploadProblem.MALFORMED)


def test_a_body_of_another_kind_is_refused_unread(recorder):
    place = recorder.begin(1, sound(1)).headers["Location"]
    answer = recorder.client.patch(place, headers=recorder.tus | {"Upload-Offset": "0"}, content=sound(1))
    refused(answer, 400, UploadProblem.MALFORMED)
    assert recorder.offset(place) == 0


def test_a_device_has_few_uploads_open(recorder):
    places = [recorder.begin(n, sound(n)).headers["Location"] for n in range(1, OPEN_MAX + 1)]
    refused(recorder.begin(9, sound(9)), 429, UploadProblem.TOO_MANY)
    assert recorder.client.delete(places[0], headers=recorder.tus).status_code == 204
    assert recorder.begin(9, sound(9)).status_code == 201
    refused(recorder.send(places[0], 0, sound(1)), 404, UploadProblem.GONE)


def test_a_full_disk_refuses_new_uploads_and_keeps_what_came(plane, device_app):
    enough = plane.objects.free_bytes() * 2
    full = Recorder(
        TestClient(device_app(api.router(plane.uploads(free_bytes_min=enough)), device="hall-01"))
    )
    refused(full.begin(1, sound(1)), 507, UploadProblem.NO_ROOM)


def test_only_one_request_writes_to_an_upload(plane, recorder):
    data = sound(1)
    uploads = plane.uploads()
    begun = recorder.begin(1, data)
    upload = begun.headers["Location"].rsplit("/", 1)[1]
    with uploads.writing("hall-01", upload, 0) as writing:
        writing.write(data[:100])
        with pytest.raises(UploadError, match="another request"), uploads.writing("hall-01", upload, 0):
            pass
        with pytest.raises(UploadError, match="another request"):
            uploads.give_up("hall-01", upload)
    assert uploads.place("hall-01", upload).received == 100


def test_a_control_plane_that_dies_between_storing_and_telling_finds_it_stored(plane, recorder):
    data = sound(1)
    plane.news(1, RecorderState.FINISHED, entry_of(1, data))
    place = recorder.begin(1, data).headers["Location"]
    upload = place.rsplit("/", 1)[1]
    with plane.uploads().writing("hall-01", upload, 0) as writing:
        writing.write(data)
    plane.objects.take_in(upload, segment_key(RECORDING, 1))  # and then it was killed
    assert recorder.offset(place) == len(data)
    assert recorder.send(place, len(data), b"").status_code == 204
    assert recorder.stored(1).json()["stored"] is True
    assert plane.recording().state == "uploaded"


def test_an_upload_whose_bytes_are_gone_begins_anew(plane, recorder):
    data = sound(1)
    place = recorder.begin(1, data).headers["Location"]
    for part in (500, len(data)):
        recorder.begin(1, data)
        with plane.uploads().writing("hall-01", place.rsplit("/", 1)[1], 0) as writing:
            writing.write(data[:part])
        plane.objects.incoming(place.rsplit("/", 1)[1]).unlink()
        refused(recorder.send(place, part, data[part:]), 409, UploadProblem.OFFSET)
        assert recorder.offset(place) == 0
    assert recorder.send(place, 0, data).status_code == 204


def test_the_sweep_forgets_what_nobody_came_back_for(plane, recorder, clock):
    place = recorder.begin(1, sound(1)).headers["Location"]
    recorder.send(place, 0, sound(1)[:500])
    plane.objects.incoming("orphan").write_bytes(b"of a crash")
    uploads = plane.uploads()
    uploads.sweep()
    assert plane.objects.all_incoming() == [place.rsplit("/", 1)[1]]
    clock.forward((AGE_MAX + timedelta(hours=1)).total_seconds())
    uploads.sweep()
    assert plane.objects.all_incoming() == []
    with plane.sessions() as session:
        assert session.scalars(sa.select(RecordingUpload)).all() == []
    assert recorder.upload(1, sound(1)).status_code == 204


def test_the_sweep_settles_what_a_crash_left_and_tells_of_it_once(plane, recorder):
    plane.news(1, RecorderState.FINISHED, entry_of(1, sound(1)))
    recorder.upload(1, sound(1))
    plane.uploaded.clear()
    with plane.sessions.begin() as session:
        session.get_one(Recording, RECORDING).state = "uploading"
    plane.uploads().sweep()
    plane.uploads().sweep()
    assert plane.uploaded == [RECORDING]


def test_it_says_which_tus_it_speaks(recorder):
    answer = recorder.client.options(api.UPLOADS)
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert "creation" in answer.headers["Tus-Extension"]
