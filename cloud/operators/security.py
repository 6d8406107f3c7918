"""How callers of the API say who they are, for its description (OpenAPI 3.1, section 4.8.27)."""

from typing import Any

from cloud.operators.access import cookie_name
from cloud.operators.csrf import CSRF_HEADER
from cloud.operators.roles import area_of, scope
from cloud.web.openapi import Security

WHO = (
    "Operations with a `security` are for staff who are signed in (session cookie) and, where a scope is "
    "named, for programs with a token that has it. With the cookie, changes carry the header "
    f"`{CSRF_HEADER}`; with a token they do not, and no cookie is looked at."
)


def scheme(*, secure: bool) -> Security:
    """The two ways in, and which of them opens an endpoint."""
    return Security(
        {
            "session": {
                "type": "apiKey",
                "in": "cookie",
                "name": cookie_name(secure),
                "description": "Set by signing in at /sign-in.",
            },
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "A token that an administrator has made at /tokens.",
            },
        },
        _needs,
    )


def _needs(endpoint: Any, method: str) -> list[dict[str, list[str]]]:
    wanted = scope(area_of(endpoint), method.upper())
    return [{"session": []}, *([{"token": [wanted]}] if wanted else [])]
