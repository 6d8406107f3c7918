"""The level of the microphone."""

import struct

import pytest

from edge_agent.captions.loudness import FLOOR_DBFS, Loudness
from tests.edge_agent.captions.fakes import quiet, tone

RATE = 48_000


def test_nothing_is_told_before_a_second_was_heard():
    loudness = Loudness(RATE)
    loudness.hear(tone(0.9, RATE))
    assert loudness.dbfs is None
    loudness.hear(tone(0.1, RATE))
    assert loudness.dbfs == pytest.approx(-15.3, abs=0.1)


@pytest.mark.parametrize(
    ("pcm", "dbfs"),
    [
        (struct.pack("<h", 32_767) * RATE, 0.0),
        (struct.pack("<hhhh", 1000, 1000, -1000, -1000) * (RATE // 4), -30.3),
        (quiet(1, RATE), FLOOR_DBFS),
    ],
)
def test_levels_are_relative_to_full_scale(pcm, dbfs):
    loudness = Loudness(RATE)
    loudness.hear(pcm)
    assert loudness.dbfs == pytest.approx(dbfs, abs=0.1)


def test_a_lost_microphone_has_no_level():
    loudness = Loudness(RATE)
    loudness.hear(tone(1.5, RATE))
    loudness.lost()
    assert loudness.dbfs is None
    loudness.hear(tone(0.6, RATE))
    assert loudness.dbfs is None
