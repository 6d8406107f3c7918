"""The child's loop over real pipes, and the child as a process: what it does with garbage and with an end."""

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from edge_agent.captions import recogniser
from edge_agent.captions.child_protocol import (
    Failed,
    Gap,
    Guess,
    Heard,
    Message,
    Ready,
    Said,
    decode_message,
    encode_frame,
)
from edge_agent.captions.listener import Listener
from edge_agent.errors import MalformedError
from tests import speech
from tests.edge_agent.captions.fakes import FakeRecogniser, FakeVad, frames, quiet, tone

RATE = 16_000
WAIT_S = 60


class Child:
    """The loop in a thread, with a fake recogniser."""

    def __init__(self) -> None:
        source, self._sink = os.pipe()
        self._source = os.fdopen(source, "rb")
        self.lines: list[Message] = []
        self.error: MalformedError | None = None
        self.recogniser = FakeRecogniser()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        listener = Listener(self.recogniser, FakeVad(), RATE)
        try:
            recogniser.serve(self._source.read, self._write, listener)
        except MalformedError as error:
            self.error = error

    def _write(self, line: bytes) -> None:
        self.lines.append(decode_message(line))

    def send(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._sink, view) :]

    def end(self) -> None:
        os.close(self._sink)
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()
        self._source.close()


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child()
    yield child
    if child.thread.is_alive():
        child.end()
    child._source.close()


def test_it_says_what_it_hears_and_ends_with_its_input(child):
    for frame in frames(tone(2, RATE) + quiet(1, RATE), RATE):
        child.send(encode_frame(frame))
    child.end()
    assert [line.text for line in child.lines if isinstance(line, Said)] == ["word word"]
    assert child.error is None


def test_it_gives_a_sign_of_life_when_nothing_comes(child, monkeypatch):
    monkeypatch.setattr(recogniser, "QUIET_S", 0.01)
    child.send(encode_frame(Gap()))
    deadline = threading.Event()
    for _ in range(WAIT_S * 10):
        if child.lines or deadline.wait(0.1):
            break
    assert child.lines[0] == Heard(position=0, quiet=True)


def test_a_backlog_is_heard_whole_and_guessed_at_rarely(child):
    sound = (tone(4, RATE) + quiet(1, RATE)) * 10
    child.send(b"".join(encode_frame(frame) for frame in frames(sound, RATE)))
    child.end()
    said = [line.text for line in child.lines if isinstance(line, Said)]
    assert said == ["word word word word"] * 10
    assert sum(isinstance(line, Guess) for line in child.lines) == child.recogniser.guesses <= 60


@pytest.mark.parametrize(
    ("garbage", "sentence"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "a frame of"),
        (struct.pack("<I", 5) + b"?????", "kind b'\\?'"),
        (struct.pack("<I", 100_000_000), "a frame of 100000000 bytes"),
    ],
)
def test_garbage_ends_it_with_a_reason(child, garbage, sentence):
    child.send(encode_frame(Gap()) + garbage)
    child.end()
    assert child.error is not None
    assert child.error.args[0]
    with pytest.raises(MalformedError, match=sentence):
        raise child.error


def run_process(
    model_dir: object, vad_model: object, data: bytes, language: str = "en"
) -> tuple[int, list[Message]]:
    words = [sys.executable, "-m", "edge_agent.captions.recogniser", "--engine=whisper", f"--rate-hz={RATE}"]
    words += [f"--model-dir={model_dir}", f"--vad-model={vad_model}", f"--language={language}"]
    done = subprocess.run(words, input=data, stdout=subprocess.PIPE, timeout=WAIT_S, check=False)
    return done.returncode, [decode_message(line) for line in done.stdout.splitlines()]


def test_without_a_model_it_says_so_and_ends(tmp_path):
    code, (message,) = run_process(tmp_path, tmp_path, b"")
    assert code == 1
    assert isinstance(message, Failed)
    assert str(tmp_path) in message.reason


@pytest.mark.speech
def test_the_process_ends_cleanly_with_its_input():
    speech.need_models()
    code, messages = run_process(speech.WHISPER, speech.VAD, encode_frame(Gap()))
    assert (code, messages) == (0, [Ready(engine="whisper-tiny.en")])


@pytest.mark.speech
def test_the_process_tells_what_was_wrong_with_its_input():
    speech.need_models()
    code, messages = run_process(speech.WHISPER, speech.VAD, struct.pack("<I", 1) + b"X")
    assert code == 1
    assert messages[1:] == [Failed(reason="a frame of kind b'X' and 1 bytes is not known")]


@pytest.mark.speech
def test_a_language_that_the_model_does_not_know_is_refused():
    speech.need_models()
    code, messages = run_process(speech.WHISPER, speech.VAD, b"", language="sq")
    assert (code, messages) == (1, [Failed(reason="whisper-tiny.en knows English only, not 'sq'")])


@pytest.mark.speech
def test_a_voice_model_of_another_kind_is_refused(tmp_path):
    speech.need_models()
    broken = tmp_path / "vad.onnx"
    broken.write_bytes(b"not a model")
    code, (message,) = run_process(speech.WHISPER, broken, b"")
    assert code == 1
    assert isinstance(message, Failed)
    assert "cannot be loaded" in message.reason
