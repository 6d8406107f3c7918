"""The simulated microphone, on a clock of the test's own, and as a process."""

import io
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from simulators.devices.microphone import BLOCK_MS, Player, Speech, UnpluggedError, load, room

RATE = 8_000
SAMPLES = RATE * BLOCK_MS // 1000
SPEECH = bytes([1, 2]) * (SAMPLES * 3 + SAMPLES // 2)
WAIT_S = 20


class Clock:
    """Time passes only when the player waits."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.then: dict[int, Callable[[], None]] = {}
        self.waits = 0

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.waits += 1
        self.then.get(self.waits, lambda: None)()


def play(
    after: str, begin: float | None = 1000.2, blocks: int = 12, clock: Clock | None = None
) -> list[bytes]:
    clock = clock or Clock()
    out = io.BytesIO()
    player = Player(
        speech=Speech(SPEECH, RATE, after),
        begun_at=lambda: begin,
        plugged=lambda: clock.waits < blocks,
        clock=lambda: clock.now,
        wait=clock.wait,
    )
    try:
        player.play(out)
    except UnpluggedError:
        pass
    sound = out.getvalue()
    return [sound[i : i + SAMPLES * 2] for i in range(0, len(sound), SAMPLES * 2)]


def test_the_room_is_quiet_until_somebody_speaks_and_after():
    blocks = play("silence")
    quiet, spoken = room(SAMPLES), SPEECH[: SAMPLES * 2]
    assert blocks[:5] == [quiet, quiet, spoken, spoken, spoken]
    assert blocks[5] == spoken[:SAMPLES] + quiet[SAMPLES:]
    assert blocks[6:] == [quiet] * 6


def test_without_a_cue_the_room_stays_quiet():
    assert set(play("silence", begin=None)) == {room(SAMPLES)}


def test_a_late_microphone_joins_in_where_the_speech_is():
    blocks = play("silence", begin=999.8)
    assert blocks[0] == SPEECH[: SAMPLES * 2]
    assert blocks[1] == SPEECH[:SAMPLES] + room(SAMPLES)[SAMPLES:]


def test_it_ends_after_the_speech_if_asked_to():
    assert len(play("end")) == 6


def test_it_begins_again_if_asked_to():
    assert room(SAMPLES) not in play("loop", begin=1000.0)


def test_blocks_come_in_real_time():
    clock = Clock()
    play("silence", clock=clock)
    assert clock.now == pytest.approx(1000.0 + 12 * BLOCK_MS / 1000)


def test_a_reader_that_is_too_late_loses_sound(capsys):
    clock = Clock()
    clock.then[2] = lambda: setattr(clock, "now", clock.now + 30)
    blocks = play("silence", begin=1030.0, clock=clock)
    assert "sound is lost" in capsys.readouterr().err
    assert blocks[0] == room(SAMPLES)
    assert SPEECH[: SAMPLES * 2] in blocks


def test_the_wrong_kind_of_file_is_refused(tmp_path):
    path = tmp_path / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(bytes(8))
    with pytest.raises(ValueError, match="2 channels, 16 bits, 8000 Hz"):
        load(path, 48_000, "end")


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(SPEECH)
    return path


def start(wav: Path, *words: str) -> "subprocess.Popen[bytes]":
    command = [
        sys.executable,
        "-m",
        "simulators.devices.microphone",
        f"--wav={wav}",
        f"--rate={RATE}",
        *words,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_as_a_process_it_plays_and_ends(wav):
    process = start(wav, "--after=end")
    out, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    assert SPEECH[:-SAMPLES] in out + b"\0"


def test_it_can_be_unplugged(wav, tmp_path):
    for unplug in (
        lambda process: os.kill(process.pid, signal.SIGUSR1),
        lambda process: (tmp_path / "unplugged").touch(),
    ):
        process = start(wav, f"--unplugged={tmp_path / 'unplugged'}")
        assert process.stdout is not None
        assert process.stdout.read(SAMPLES * 2)
        unplug(process)
        _, errors = process.communicate(timeout=WAIT_S)
        assert (process.returncode, errors) == (1, b"microphone: unplugged\n")
    # While it is unplugged it cannot be started either.
    assert start(wav, f"--unplugged={tmp_path / 'unplugged'}").communicate(timeout=WAIT_S)[0] == b""


def test_it_ends_when_nobody_listens_any_more(wav):
    process = start(wav, "--after=loop")
    assert process.stdout is not None
    assert process.stdout.read(SAMPLES * 2)
    process.stdout.close()
    assert process.wait(WAIT_S) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_cue_begins_the_speech(wav, tmp_path):
    process = start(wav, f"--cue={tmp_path / 'cue'}", "--after=end")
    assert process.stdout is not None
    assert process.stdout.read(SAMPLES * 4) == room(SAMPLES) * 2
    (tmp_path / "cue").touch()
    out, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    assert SPEECH[: SAMPLES * 4] in out
