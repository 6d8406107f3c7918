"""Names and limits of recordings."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import topics
from contract.errors import MalformedError
from contract.recordings import (
    LISTED_MAX,
    SEGMENTS_MAX,
    Gap,
    GapReason,
    RecorderState,
    RecordingNews,
    SegmentEntry,
    check_news,
    recording_id,
)

IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
SEGMENT = SegmentEntry(
    segment=1, start_ms=0, duration_ms=10, size=100, sha256="a" * 64, rate_hz=48_000, why=GapReason.LATE
)
NEWS = RecordingNews(
    recording=recording_id("s", "c"),
    session="s",
    channel="c",
    lang="en",
    state=RecorderState.FINISHED,
    revision=3,
    segment_count=1,
    segments=[SEGMENT],
    gaps=[Gap(after=1, at_ms=5, lost_ms=None, why=GapReason.POWER)],
)


@given(IDS, IDS)
def test_a_recording_has_a_name_that_fits_into_a_topic_and_a_path(session, channel):
    name = recording_id(session, channel)
    assert topics.parse(topics.build("recordings", device="d", recording=name))[1]["recording"] == name
    assert name == recording_id(session, channel)
    assert not name.startswith(".")


def test_long_names_do_not_meet():
    one, two = recording_id("s" * 64, "c"), recording_id("s" * 64, "d")
    assert one != two
    assert len(one) == 64


def test_sensible_news_pass():
    check_news(NEWS)
    sure = msgspec.structs.replace(SEGMENT, early_ms=0, late_ms=1300)
    check_news(msgspec.structs.replace(NEWS, segments=[sure]))


@pytest.mark.parametrize(
    "change",
    [
        {"recording": "other"},
        {"revision": 0},
        {"segment_count": SEGMENTS_MAX + 1},
        {"segment_count": 0},
        {"segments": [SEGMENT] * (LISTED_MAX + 1)},
        {"gaps": [Gap(after=0, at_ms=5, lost_ms=1, why=GapReason.PAUSED)]},
        {"gaps": [Gap(after=2, at_ms=5, lost_ms=1, why=GapReason.POWER)]},
        {"gaps": [Gap(after=1, at_ms=-1, lost_ms=1, why=GapReason.POWER)]},
        {"segments": [msgspec.structs.replace(SEGMENT, segment=0)]},
        {"segments": [msgspec.structs.replace(SEGMENT, size=0)]},
        {"segments": [msgspec.structs.replace(SEGMENT, rate_hz=7)]},
        {"segments": [msgspec.structs.replace(SEGMENT, sha256="A" * 64)]},
        {"segments": [msgspec.structs.replace(SEGMENT, start_ms=-1)]},
        {"segments": [msgspec.structs.replace(SEGMENT, late_ms=-1)]},
    ],
)
def test_news_out_of_their_limits_are_refused(change):
    with pytest.raises(MalformedError):
        check_news(msgspec.structs.replace(NEWS, **change))
