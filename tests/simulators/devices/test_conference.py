"""The simulated conference system, on a clock of the test's own, and as a process beside the microphone."""

import io
import json
import subprocess
import sys

import msgspec

from simulators.debate.lines import EDGE_MS, Debate, SpokenLine
from simulators.devices.conference import LOOK_S, Conference

LINES = [
    SpokenLine(speaker=role, text="Yes.", start_ms=start, end_ms=start + 1000)
    for role, start in (("Chair", 500), ("Chair", 2400), ("Member A", 4300), ("Chair", 6200))
]
DEBATE = Debate(key="", rate_hz=48_000, duration_ms=8000, lines=LINES)
TURNS = [
    ("1", 500 - EDGE_MS, 3400 + EDGE_MS),
    ("12", 4300 - EDGE_MS, 5300 + EDGE_MS),
    ("1", 6200 - EDGE_MS, 7400),
]
WAIT_S = 20


class Clock:
    def __init__(self):
        self.now = 1000.0
        self.end = 0.0

    def wait(self, seconds):
        self.now += seconds
        if self.now > self.end:
            raise BrokenPipeError


class Out(io.StringIO):
    """Notes when each line came."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock
        self.lines = []

    def write(self, text):
        told = json.loads(text)
        self.lines.append((told["seat"], told["on"], round((self.clock.now - 1000) * 1000)))
        return len(text)


def told(seconds, after="silence", begin=1000.0):
    clock = Clock()
    clock.end = clock.now + seconds
    out = Out(clock)
    conference = Conference(
        DEBATE.turns, DEBATE.duration_ms, after, lambda: begin, lambda: clock.now, clock.wait
    )
    try:
        conference.tell(out)
    except BrokenPipeError:
        pass
    return out.lines


def close(found, expected_ms):
    return 0 <= found - expected_ms <= LOOK_S * 1000 + 1


def test_turns_join_the_lines_that_one_speaker_says_in_a_row():
    assert [(turn.seat, turn.start_ms, turn.end_ms) for turn in DEBATE.turns] == TURNS


def test_every_switch_is_told_in_step():
    lines = told(10)
    assert [(seat, on) for seat, on, _ in lines] == [
        (seat, on) for seat, _, _ in TURNS for on in (True, False)
    ]
    expected = [ms for _, start, end in TURNS for ms in (start, end)]
    assert all(close(found, ms) for (_, _, found), ms in zip(lines, expected, strict=True))


def test_who_comes_in_the_middle_is_told_who_speaks_and_a_loop_goes_on():
    lines = told(8.5, after="loop", begin=995.0)
    assert lines[0] == ("12", True, 0)
    assert [seat for seat, on, _ in lines if on] == ["12", "1", "1", "12"]


def test_nobody_speaks_before_the_cue():
    assert told(5, begin=None) == []


def test_the_process_tells_and_ends_when_nobody_listens(tmp_path):

    (tmp_path / "debate.json").write_bytes(msgspec.json.encode(DEBATE))
    (tmp_path / "cue").touch()
    words = [sys.executable, "-m", "simulators.devices.conference", "--debate", str(tmp_path / "debate.json")]
    with subprocess.Popen(
        [*words, "--cue", str(tmp_path / "cue"), "--after", "loop"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert set(json.loads(process.stdout.readline())) == {"seat", "on"}
        process.stdout.close()
        assert process.wait(WAIT_S) == 0
