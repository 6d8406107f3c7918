"""The recordings API of the device listener: tus 1.0 for segments, and what is stored of them.

The body of a PATCH is read only after everything that its headers and the database can say was checked.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from cloud.recordings import tus
from cloud.recordings.uploads import OPEN_MAX, Place, UploadError, Uploads, Writing
from cloud.web.application import takes_bytes
from cloud.web.listener import peer
from cloud.web.problems import ProblemError
from contract.errors import MalformedError
from contract.recordings import SEGMENT_BYTES_MAX, SEGMENTS_MAX, UploadProblem

log = logging.getLogger(__name__)

PATH = "/api/v1/recordings"
UPLOADS = PATH + "/uploads"
BUFFER_BYTES = 1024 * 1024
"""Bytes of one upload that are held before they are written."""
SILENT_S = 30.0
"""A sender that gives nothing for so long is gone; what came is kept, and the upload is free again."""

UploadId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$", description="As the creation's `Location` says.")]
Length = Annotated[int, Header(ge=1, le=SEGMENT_BYTES_MAX, description="Bytes of the whole segment.")]
Offset = Annotated[int, Header(ge=0, le=SEGMENT_BYTES_MAX, description="Where this request goes on.")]
Metadata = Annotated[
    str, Header(max_length=tus.METADATA_LENGTH_MAX, description="Pairs of a key and a value in Base64.")
]
Version = Annotated[str, Header(max_length=16, description=tus.VERSION)]
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    403: {"description": "The recording is of another device, or there is no such sitting in its hall."},
    409: {"description": "Another offset or digest, stored already, busy, or corrupted; `code` says which."},
    412: {"description": "Another version of tus."},
    429: {"description": f"More than {OPEN_MAX} uploads are open."},
    507: {"description": "The server's disk is full."},
}


class Stored(BaseModel):
    """What there is of a segment."""

    recording: str
    segment: int
    stored: bool
    size: int
    sha256: str
    offset: int


def router(uploads: Uploads) -> APIRouter:
    """The routes for recorders."""
    routes = APIRouter(responses=_PROBLEMS)

    @routes.post(UPLOADS, status_code=201, response_class=Response)
    def begin_upload(
        request: Request, tus_resumable: Version, upload_length: Length, upload_metadata: Metadata
    ) -> Response:
        """Begin the upload of a segment, or find it again; `Location` is where it goes on."""
        with _refusing(uploads, request, tus_resumable) as device:
            place = uploads.begin(device, tus.announced(upload_metadata, upload_length))
        return Response(status_code=201, headers=_headers(place) | {"Location": f"{UPLOADS}/{place.upload}"})

    @routes.head(UPLOADS + "/{upload}", response_class=Response)
    def show_upload(request: Request, upload: UploadId, tus_resumable: Version) -> Response:
        """How far an upload has come."""
        with _refusing(uploads, request, tus_resumable) as device:
            place = uploads.place(device, upload)
        return Response(
            headers=_headers(place) | {"Upload-Length": str(place.size), "Cache-Control": "no-store"}
        )

    @routes.patch(UPLOADS + "/{upload}", status_code=204, response_class=Response)
    @takes_bytes(SEGMENT_BYTES_MAX)
    async def continue_upload(
        request: Request, upload: UploadId, tus_resumable: Version, upload_offset: Offset
    ) -> Response:
        """Go on at the recorded byte; the last one is answered once the segment is stored."""
        try:
            return await _continue(uploads, upload, upload_offset, tus_resumable, request)
        except UploadError as error:
            await run_in_threadpool(uploads.count, peer(request), error.problem)
            raise ProblemError(error.status, str(error), code=error.problem) from None

    @routes.delete(UPLOADS + "/{upload}", status_code=204, response_class=Response)
    def give_up_upload(request: Request, upload: UploadId, tus_resumable: Version) -> Response:
        """Forget an upload and its bytes."""
        with _refusing(uploads, request, tus_resumable) as device:
            uploads.give_up(device, upload)
        return Response(status_code=204, headers={"Tus-Resumable": tus.VERSION})

    @routes.options(UPLOADS, status_code=204, response_class=Response)
    def describe_uploads(request: Request) -> Response:
        """Which parts of tus are spoken here."""
        peer(request)
        return Response(
            status_code=204,
            headers={
                "Tus-Resumable": tus.VERSION,
                "Tus-Version": tus.VERSION,
                "Tus-Extension": tus.EXTENSIONS,
                "Tus-Max-Size": str(SEGMENT_BYTES_MAX),
            },
        )

    @routes.get(PATH + "/{recording}/segments/{segment}")
    def show_segment(
        request: Request,
        recording: Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")],
        segment: Annotated[int, Path(ge=1, le=SEGMENTS_MAX)],
    ) -> Stored:
        """What is stored of a segment; only its recorder may ask."""
        with _refusing(uploads, request) as device:
            found = uploads.stored(device, recording, segment)
        return Stored.model_validate(msgspec.to_builtins(found))

    return routes


@contextmanager
def _refusing(uploads: Uploads, request: Request, version: str = tus.VERSION) -> Iterator[str]:
    """Gives the calling device; refusals are counted and become problem documents."""
    device = peer(request)
    try:
        if version != tus.VERSION:
            raise UploadError(UploadProblem.VERSION, f"tus {tus.VERSION} is spoken here")
        yield device
    except MalformedError as error:
        uploads.count(device, UploadProblem.MALFORMED)
        raise ProblemError(400, str(error), code=UploadProblem.MALFORMED) from None
    except UploadError as error:
        uploads.count(device, error.problem)
        raise ProblemError(error.status, str(error), code=error.problem) from None


async def _continue(uploads: Uploads, upload: str, offset: int, version: str, request: Request) -> Response:
    """Database and disk are used in threads; the event loop only ever waits for the sender."""
    device = peer(request)
    if version != tus.VERSION:
        raise UploadError(UploadProblem.VERSION, f"tus {tus.VERSION} is spoken here")
    if request.headers.get("content-type") != tus.MEDIA:
        raise UploadError(UploadProblem.MALFORMED, f"the body's Content-Type is {tus.MEDIA}")
    session = uploads.writing(device, upload, offset)
    writing = await run_in_threadpool(session.__enter__)
    try:
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and offset + int(declared) > writing.place.size:
            raise UploadError(
                UploadProblem.TOO_LARGE, f"the segment was announced with {writing.place.size} bytes"
            )
        await _receive(writing, request)
        await run_in_threadpool(writing.sync)
        if writing.whole:
            await run_in_threadpool(uploads.finish, device, upload)
    finally:
        await asyncio.shield(run_in_threadpool(session.__exit__, None, None, None))
    return Response(status_code=204, headers=_headers(writing.place, writing.written))


async def _receive(writing: Writing, request: Request) -> None:
    """Take the body as it comes. What came before the sender broke off is kept."""
    held = bytearray()
    pieces = aiter(request.stream())
    try:
        while True:
            async with asyncio.timeout(SILENT_S):
                piece = await anext(pieces, None)
            if piece is None:
                break
            held += piece
            if len(held) >= BUFFER_BYTES:
                await run_in_threadpool(writing.write, held)
                held = bytearray()
    except (ClientDisconnect, TimeoutError) as error:
        log.info("upload_interrupted", extra={"upload": writing.place.upload, "reason": type(error).__name__})
        await run_in_threadpool(writing.write, held)
        raise ProblemError(408, "the sender broke off; go on where the upload stands") from None
    await run_in_threadpool(writing.write, held)


def _headers(place: Place, received: int | None = None) -> dict[str, str]:
    return {
        "Tus-Resumable": tus.VERSION,
        "Upload-Offset": str(place.received if received is None else received),
        "Upload-Expires": tus.moment(place.expires),
    }
