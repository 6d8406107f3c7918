"""The SHA-256 of a file in a form, taken while it comes in: nothing is kept, on disk or in memory."""

import hashlib
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from cloud.web.problems import ProblemError

FIELD = b"file"
FILE_BYTES_MAX = 5_000_000
FORM_BYTES_MAX = FILE_BYTES_MAX + 16_384
"""A file with the form around it."""


@dataclass
class _Hashing:
    """What the parser has seen; only the part called `file` is looked at."""

    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    size: int = 0
    header: bytes = b""
    value: bytes = b""
    inside: bool = False

    def on_part_begin(self) -> None:
        self.inside = False

    def on_header_begin(self) -> None:
        self.header = self.value = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self.header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def on_header_end(self) -> None:
        if self.header.lower() == b"content-disposition":
            _, options = parse_options_header(self.value)
            self.inside = options.get(b"name") == FIELD

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self.inside:
            self.digest.update(data[start:end])
            self.size += end - start


async def file_sha256(request: Request) -> str | None:
    """The SHA-256 of the form's file in hexadecimal; None where no file was chosen.

    Raises:
        ProblemError: it is no such form, or the file is larger than `FILE_BYTES_MAX`.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise ProblemError(400, "send the form with a file in it", code="malformed")
    seen = _Hashing()
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": seen.on_part_begin,
            "on_header_begin": seen.on_header_begin,
            "on_header_field": seen.on_header_field,
            "on_header_value": seen.on_header_value,
            "on_header_end": seen.on_header_end,
            "on_part_data": seen.on_part_data,
        },
    )
    try:
        async for chunk in request.stream():
            parser.write(chunk)
            if seen.size > FILE_BYTES_MAX:
                raise ProblemError(413, f"at most {FILE_BYTES_MAX} bytes are taken")
        parser.finalize()
    except FormParserError:
        raise ProblemError(400, "send the form with a file in it", code="malformed") from None
    return seen.digest.hexdigest() if seen.size else None
