"""How the story reads a transcript: its times, its speakers, and what is wrong with it."""

import pytest

from simulators.city.report import StepError
from simulators.city.story_transcripts import Cue, read_cues, speakers_right

VTT = """WEBVTT

NOTE Draft made by a machine, not reviewed.

1
00:00:01.000 --> 00:00:03.500
<v Besa Provi>Good morning.

2
01:00:04.000 --> 01:00:05.000
Hello
"""
SAID = [("Besa", "good"), ("Besa", "morning"), ("Arta", "hello"), ("Arta", "all")]


def test_cues_are_read_with_their_length_and_speaker() -> None:
    assert read_cues(VTT) == [Cue(2.5, "Besa Provi", "Good morning."), Cue(1.0, "", "Hello")]
    with pytest.raises(StepError, match="no WebVTT"):
        read_cues("<!doctype html>")


def test_words_under_the_wrong_name_count_by_their_time() -> None:
    right = [Cue(3.0, "Besa", "Good morning."), Cue(1.0, "Arta", "Hello all")]
    assert speakers_right(SAID, right) == 1.0
    assert speakers_right(SAID, [right[0], Cue(1.0, "Besa", "Hello all")]) == 0.75
    assert speakers_right(SAID, [Cue(4.0, "Besa", "Good morning. Hello all")]) == 0.5
    assert speakers_right(SAID, [Cue(1.0, "Besa", "Good morning."), Cue(1.0, "Arta", "nobody said")]) == 0.5
    assert speakers_right(SAID, []) == 0.0
