"""The bytes of IPP (RFC 8010): just enough for a simulated printer to read requests and write answers.

Written for the simulator and apart from the client that the agent uses, so that each checks the other.
"""

import struct
from dataclasses import dataclass, field
from typing import Any

OPERATION, JOB, END, PRINTER = 0x01, 0x02, 0x03, 0x04
INTEGER, BOOLEAN, ENUM = 0x21, 0x22, 0x23
TEXT, NAME, KEYWORD, URI, CHARSET, LANGUAGE, MIME = 0x41, 0x42, 0x44, 0x45, 0x47, 0x48, 0x49
_DELIMITERS_BELOW = 0x10


@dataclass(frozen=True)
class Attribute:
    """One attribute of an answer: its syntax (a value tag of RFC 8010, 3.5.2) and its values."""

    name: str
    tag: int
    values: tuple[Any, ...]


@dataclass
class Request:
    """A request: attributes by name, each a list of values, and the document behind them."""

    operation: int
    number: int
    attributes: dict[str, list[Any]] = field(default_factory=dict)
    job_attributes: dict[str, list[Any]] = field(default_factory=dict)
    data: bytes = b""

    def first(self, name: str, default: Any = None) -> Any:
        """The first value of an operation attribute."""
        return self.attributes.get(name, [default])[0]


def read_request(body: bytes) -> Request:
    """Parse a request.

    Raises:
        ValueError: not IPP.
    """
    try:
        _major, _minor, operation, number = struct.unpack_from(">BBHI", body)
        request = Request(operation=operation, number=number)
        at, group, name = 8, OPERATION, ""
        while True:
            tag = body[at]
            at += 1
            if tag == END:
                request.data = body[at:]
                return request
            if tag < _DELIMITERS_BELOW:
                group = tag
                continue
            (length,) = struct.unpack_from(">H", body, at)
            name = body[at + 2 : at + 2 + length].decode() or name
            at += 2 + length
            (length,) = struct.unpack_from(">H", body, at)
            raw = body[at + 2 : at + 2 + length]
            at += 2 + length
            if len(raw) != length:
                raise ValueError("not IPP: it ends in the middle of a value")
            into = request.job_attributes if group == JOB else request.attributes
            into.setdefault(name, []).append(_value(tag, raw))
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"not IPP: {error}") from error


def write_answer(status: int, number: int, groups: list[tuple[int, list[Attribute]]]) -> bytes:
    """An answer of IPP 2.0 with `groups` behind the two attributes that always stand first."""
    head = [
        Attribute("attributes-charset", CHARSET, ("utf-8",)),
        Attribute("attributes-natural-language", LANGUAGE, ("en",)),
    ]
    out = bytearray(struct.pack(">BBHI", 2, 0, status, number))
    for group, attributes in [(OPERATION, head), *groups]:
        out.append(group)
        for attribute in attributes:
            for i, value in enumerate(attribute.values):
                name = b"" if i else attribute.name.encode()
                raw = _raw(attribute.tag, value)
                out += struct.pack(">BH", attribute.tag, len(name)) + name
                out += struct.pack(">H", len(raw)) + raw
    out.append(END)
    return bytes(out)


def _value(tag: int, raw: bytes) -> Any:
    if tag in (INTEGER, ENUM):
        return struct.unpack(">i", raw)[0]
    if tag == BOOLEAN:
        return raw != b"\0"
    return raw.decode()


def _raw(tag: int, value: Any) -> bytes:
    if tag in (INTEGER, ENUM):
        return struct.pack(">i", value)
    if tag == BOOLEAN:
        return b"\1" if value else b"\0"
    return str(value).encode()
