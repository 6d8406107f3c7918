"""The description of the HTTP API (OpenAPI 3.1), made from the routes: what it says is what is served."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from cloud.web.public import is_public, public

PATH = "/api/openapi.json"
VERSION = "1"
PROBLEM_MEDIA = "application/problem+json"
PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string", "description": "The phrase of the HTTP status."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "One sentence: what happened and what to do."},
        "code": {"type": "string", "description": "Stable, for programs."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
_ANSWER = {"content": {PROBLEM_MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
_ALWAYS = {
    "500": "It was our fault.",
    "503": "A service that is needed does not answer; `Retry-After` says when.",
}
_WITH_CHANGE = {
    "400": "What was sent cannot be understood.",
    "409": "The state of things forbids it.",
    "413": "The body is too large.",
}
_WITH_INPUT = {"422": "A value is not taken; `errors` names the fields."}
_WITH_NAME = {"404": "There is no such thing."}
_TOO_OFTEN = {"description": "Too many wrong tokens; `Retry-After` says when.", **_ANSWER}
_CLOSED = {"401": "Nobody is signed in.", "403": "The caller may not do this."}


@dataclass(frozen=True)
class Security:
    """The schemes by name, and `needs(endpoint, method)`: which of them open it, with the scopes needed."""

    schemes: dict[str, dict[str, Any]]
    needs: Callable[[Any, str], list[dict[str, list[str]]]]


def describe(app: FastAPI, *, who: str, security: Security | None = None) -> None:
    """Serve the description at `PATH`; `who` says in a sentence who may call what is not public."""
    routes = APIRouter()

    @routes.get(PATH, include_in_schema=False)
    @public
    def description() -> JSONResponse:
        return JSONResponse(document(app, who, security))

    app.router.routes.extend(routes.routes)


def document(app: FastAPI, who: str, security: Security | None = None) -> dict[str, Any]:
    """The description of every route of `app` below /api."""
    routes = [
        route
        for route in app.router.routes
        if isinstance(route, APIRoute) and route.path.startswith("/api/") and route.include_in_schema
    ]
    made = get_openapi(title=app.title, version=VERSION, routes=routes, description=who)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas["Problem"] = PROBLEM
    if security is not None:
        made["components"]["securitySchemes"] = security.schemes
    for route in routes:
        for method in route.methods or ():
            operation = made["paths"][route.path_format][method.lower()]
            closed = not is_public(route.endpoint)
            _add_problems(operation, changes=method not in ("GET", "HEAD"), closed=closed)
            if closed and security is not None:
                operation["security"] = security.needs(route.endpoint, method)
                operation["responses"].setdefault("429", _TOO_OFTEN)
    return made


def _add_problems(operation: dict[str, Any], *, changes: bool, closed: bool) -> None:
    """What `cloud.web.problems` and the guards can answer anywhere, beside what the route says of itself."""
    responses = operation["responses"]
    responses.pop("422", None)
    parameters = operation.get("parameters", [])
    possible = dict(_ALWAYS)
    if changes:
        possible |= _WITH_CHANGE
    if "requestBody" in operation or parameters:
        possible |= _WITH_INPUT
    if any(parameter["in"] == "path" for parameter in parameters):
        possible |= _WITH_NAME
    if closed:
        possible |= _CLOSED
    for status, description in possible.items():
        responses.setdefault(status, {"description": description})
    for status, response in responses.items():
        if status >= "400":
            response.setdefault("content", _ANSWER["content"])
