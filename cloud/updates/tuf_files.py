"""The repository's files for devices: public to every device of the fleet, checked by each of them."""

from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from cloud.updates.catalogue import Catalogue
from cloud.web.problems import ProblemError

PREFIX = "/tuf"
FOR_EVER = "private, max-age=31536000, immutable"
NEVER = "no-cache"
_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
    404: {"description": "there is no such file; of metadata: it is the newest that the device has"},
}


def router(catalogue: Catalogue) -> APIRouter:
    """The routes; ranges are answered, and only the timestamp ever changes under its name."""
    routes = APIRouter()

    @routes.get(PREFIX + "/metadata/{name}", response_class=FileResponse, responses=_BYTES)
    def metadata(name: str) -> Response:
        kept = NEVER if name == "timestamp.json" else FOR_EVER
        return _answer(catalogue.metadata_file(name), "application/json", kept)

    @routes.get(PREFIX + "/targets/{role}/{name}", response_class=FileResponse, responses=_BYTES)
    def target(role: str, name: str) -> Response:
        return _answer(catalogue.target_file(role, name), "application/octet-stream", FOR_EVER)

    return routes


def _answer(file: Path | None, media: str, kept: str) -> Response:
    if file is None:
        raise ProblemError(404, "the repository has no such file", code="not-found")
    return FileResponse(file, media_type=media, headers={"Cache-Control": kept})
