"""Frames to the child and messages from it: round trips, and every kind of garbage."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.captions.child_protocol import (
    FRAME_BYTES_MAX,
    LINE_BYTES_MAX,
    Audio,
    Failed,
    Gap,
    Guess,
    Heard,
    Ready,
    Said,
    decode_message,
    encode_frame,
    encode_message,
    read_frame,
)
from edge_agent.errors import MalformedError

FRAMES = st.one_of(
    st.builds(Audio, st.integers(0, 2**63), st.binary(max_size=400).filter(lambda pcm: len(pcm) % 2 == 0)),
    st.just(Gap()),
)
MESSAGES = (
    Ready(engine="whisper"),
    Heard(position=7, quiet=True),
    Guess(start=1, end=2, text="Guten", stable=3, confidence=0.5),
    Said(start=1, end=2, text=""),
    Failed(reason="no model"),
)


@given(st.lists(FRAMES, max_size=5))
def test_frames_come_out_as_they_went_in(frames):
    stream = io.BytesIO(b"".join(encode_frame(frame) for frame in frames))
    assert [read_frame(stream.read) for _ in frames] == frames
    assert read_frame(stream.read) is None


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_read_but_never_anything_else(garbage):
    stream = io.BytesIO(garbage)
    try:
        while read_frame(stream.read) is not None:
            pass
    except MalformedError:
        pass


@pytest.mark.parametrize(
    ("garbage", "sentence"),
    [
        (b"\x01", "inside the length"),
        (struct.pack("<I", 0), "a frame of 0 bytes"),
        (struct.pack("<I", FRAME_BYTES_MAX + 1) + b"A", f"a frame of {FRAME_BYTES_MAX + 1} bytes"),
        (struct.pack("<I", 9) + b"A", "inside a frame: 1 of 9"),
        (struct.pack("<I", 1) + b"X", "kind b'X'"),
        (struct.pack("<I", 2) + b"GG", "kind b'G'"),
        (struct.pack("<I", 3) + b"A12", "no whole 16-bit samples"),
        (struct.pack("<I", 10) + b"A" + bytes(9), "no whole 16-bit samples"),
    ],
)
def test_a_bad_frame_is_refused_with_what_is_wrong(garbage, sentence):
    with pytest.raises(MalformedError, match=sentence):
        read_frame(io.BytesIO(garbage).read)


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_are_one_line_each_and_come_out_as_they_went_in(message):
    line = encode_message(message)
    assert line.count(b"\n") == 1
    assert decode_message(line) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"[]",
        b'{"kind":"unknown"}',
        b'{"kind":"said","start":1,"end":2}',
        b'{"kind":"said","start":2,"end":1,"text":""}',
        b'{"kind":"said","start":-1,"end":1,"text":""}',
        b'{"kind":"guess","start":0,"end":1,"text":"ab","stable":3}',
        b'{"kind":"guess","start":0,"end":1,"text":"ab","stable":-1}',
        b'{"kind":"failed","reason":"\xff"}',
        b'{"kind":"failed","reason":"' + b"x" * LINE_BYTES_MAX + b'"}',
    ],
)
def test_a_bad_line_is_refused(line):
    with pytest.raises(MalformedError):
        decode_message(line)
