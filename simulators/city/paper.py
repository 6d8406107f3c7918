"""What a person reads off a printed paper: the code by which anybody can verify it."""

import re
import zlib
from collections.abc import Iterator

CODE = re.compile(r"[0-9A-Z]{5}(?:-[0-9A-Z]{5}){3}-[0-9A-Z]{6}")
_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)
_ESCAPED = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_CONTROLS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}
_LETTER = re.compile(rb"<([0-9A-Fa-f]{4})>\s*<([0-9A-Fa-f]{4})>")
_MAP = b"begincmap"
_TEXT = b" Tf"


def code_on(pdf: bytes) -> str:
    """The code that is printed on the paper, with its dashes.

    Text in a PDF is numbers of glyphs, and each font has a map from them to letters (ISO 32000-2, 9.10.3).
    Every map is tried on every piece of text: a code is too long to come out of the wrong one.

    Raises:
        LookupError: there is none on it.
    """
    maps: list[dict[int, str]] = []
    texts: list[bytes] = []
    for stream in _unpacked(pdf):
        if _MAP in stream:
            maps.append({int(glyph, 16): chr(int(letter, 16)) for glyph, letter in _LETTER.findall(stream)})
        elif _TEXT in stream:
            texts += _strings(stream)
    for shown in texts:
        glyphs = [int.from_bytes(shown[at : at + 2], "big") for at in range(0, len(shown), 2)]
        for letters in maps:
            found = CODE.search("".join(letters.get(glyph, " ") for glyph in glyphs))
            if found:
                return found[0]
    raise LookupError("there is no code for verification on this paper")


def _strings(stream: bytes) -> Iterator[bytes]:
    """The literal strings of a stream (ISO 32000-2, 7.3.4.2); balanced parentheses may stand in them bare."""
    depth, begin, at = 0, 0, 0
    while at < len(stream):
        letter = stream[at : at + 1]
        if letter == b"\\" and depth:
            at += 1
        elif letter == b"(":
            depth += 1
            begin = at + 1 if depth == 1 else begin
        elif letter == b")" and depth:
            depth -= 1
            if depth == 0:
                yield _ESCAPED.sub(_unescaped, stream[begin:at])
        at += 1


def _unescaped(found: re.Match[bytes]) -> bytes:
    if found[1].isdigit():
        return bytes([int(found[1], 8) & 0xFF])
    return _CONTROLS.get(found[1], found[1])


def _unpacked(pdf: bytes) -> Iterator[bytes]:
    for packed in _STREAM.findall(pdf):
        try:
            yield zlib.decompress(packed)
        except zlib.error:
            continue  # a picture, or what is not packed
