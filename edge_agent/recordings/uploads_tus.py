"""Uploads of segments: a tus 1.0 client over the device's certificate; nothing is tried twice here.

A segment's file is read and sent piece by piece.
"""

import base64
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import msgspec

from contract.recordings import StoredSegment, UploadProblem
from edge_agent.errors import MalformedError, RefusedError, UnavailableError
from edge_agent.link.https import Answer, DeviceHttps
from edge_agent.recordings.core import entry
from edge_agent.recordings.records import Record, Segment
from edge_agent.recordings.segment_files import SegmentFiles

PATH = "/api/v1/recordings"
VERSION = {"Tus-Resumable": "1.0.0"}
MEDIA = {"Content-Type": "application/offset+octet-stream"}
PIECE_BYTES = 256 * 1024
CREATED, NO_CONTENT, OK = 201, 204, 200


class UploadRefusedError(RefusedError):
    """The server has refused, and `problem` says why."""

    def __init__(self, problem: UploadProblem, sentence: str) -> None:
        super().__init__(sentence)
        self.problem = problem


class _Problem(msgspec.Struct):
    code: str = ""
    detail: str = ""


class TusUploads:
    """Speaks with the device listener of the control plane."""

    def __init__(self, https: DeviceHttps, files: SegmentFiles) -> None:
        self._https = https
        self._files = files
        self._closed = threading.Event()

    async def begin(self, record: Record, segment: Segment) -> tuple[str, int]:
        """Open the upload of a segment, or find the open one: its path, and how many bytes the server has.

        Raises:
            UploadRefusedError: the server says no.
            UnavailableError: nobody answers, or the answer is not understood.
        """
        headers = VERSION | {
            "Upload-Length": str(segment.size),
            "Upload-Metadata": _metadata(record, segment),
        }
        answer = await self._https.request("POST", f"{PATH}/uploads", b"", headers)
        _hold(answer, CREATED)
        place = urlsplit(answer.headers.get("location", "")).path
        if not place.startswith(f"{PATH}/uploads/"):
            raise UnavailableError("the server has not said where the upload goes on")
        return place, _offset(answer)

    async def send(self, recording: str, segment: int, upload: str, offset: int, length: int) -> int:
        """Send a part of the segment's file; gives how many bytes the server has then.

        Raises:
            UploadRefusedError: the server says no, or the file is not there.
            UnavailableError: nobody answers, the connection broke, or this was closed.
        """
        path = self._files.path(recording, segment)
        headers = VERSION | MEDIA | {"Upload-Offset": str(offset)}
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(offset)
                answer = await self._https.stream(
                    "PATCH", upload, self._pieces(file.read, length), length, headers
                )
        except FileNotFoundError:
            raise UploadRefusedError(UploadProblem.MALFORMED, f"{path} is not there") from None
        except MalformedError as error:
            raise UnavailableError(str(error)) from error
        _hold(answer, NO_CONTENT)
        return _offset(answer)

    async def stored(self, recording: str, segment: int) -> str:
        """The digest of what the server has stored of a segment; '' while it is not stored.

        Raises:
            UploadRefusedError: the server says no.
            UnavailableError: nobody answers, or the answer is not understood.
        """
        answer = await self._https.request("GET", f"{PATH}/{recording}/segments/{segment}")
        _hold(answer, OK)
        try:
            told = msgspec.json.decode(answer.body, type=StoredSegment)
        except msgspec.DecodeError as error:
            raise UnavailableError(
                f"what the server says of the segment is not understood: {error}"
            ) from error
        return told.sha256 if told.stored else ""

    def close(self) -> None:
        """Break off what is being sent."""
        self._closed.set()

    def _pieces(self, read: Callable[[int], bytes], length: int) -> Iterator[bytes]:
        while length and not self._closed.is_set():
            piece = read(min(length, PIECE_BYTES))
            if not piece:
                break
            length -= len(piece)
            yield piece
        if length:
            raise UnavailableError("sending was broken off")


def _metadata(record: Record, segment: Segment) -> str:
    told = msgspec.to_builtins(entry(segment))
    told |= {"session": record.session, "channel": record.channel, "lang": record.lang}
    del told["size"]  # that is Upload-Length
    return ",".join(f"{key} {base64.b64encode(str(value).encode()).decode()}" for key, value in told.items())


def _hold(answer: Answer, wanted: int) -> None:
    if answer.status == wanted:
        return
    try:
        problem = msgspec.json.decode(answer.body, type=_Problem)
        raise UploadRefusedError(UploadProblem(problem.code), problem.detail[:500])
    except (msgspec.DecodeError, ValueError):
        raise UnavailableError(f"the server answered {answer.status}") from None


def _offset(answer: Answer) -> int:
    told = answer.headers.get("upload-offset", "")
    if not (told.isascii() and told.isdecimal()):
        raise UnavailableError("the server has not said how far the upload is")
    return int(told)
