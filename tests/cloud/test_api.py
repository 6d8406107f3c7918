"""The running control plane under everything that strangers, staff, programs and devices can send.

Over real connections to its three listeners, on PostgreSQL: no answer is our fault, none tells of the inside,
and each is one that the description of the API has.
"""

import json
import random
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from cloud import main
from cloud.operators.roles import Role, scopes_of
from cloud.web import openapi
from contract.ids import RANDOM_BYTES, uuid7
from tests.cloud.exposed import DEVICES, HALL, KIOSK, Caller, Exposed

NOT_ASKED = [positive_data_acceptance, not_a_server_error, ignored_auth]
"""What is named may not be there; a 503 has its own rule here; callers that show nothing are tried too."""
TOO_LARGE = "413"
"""A body above every limit, whatever else is wrong in it; schemathesis would take it for accepted."""
ENDLESS = "/api/v1/captions/{session}/{channel}/events"
PROGRAM, READER = "a program", "a program that may only read"
BY_API = [*Role, PROGRAM, READER, "nobody at pages", KIOSK, HALL]
STORY = settings(
    max_examples=3,
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
EACH = settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
LONG = {"max_examples": 200, "derandomize": False}
HOSTILE = 2
"""Requests of each kind to each route in CI; and in the long form:"""
HOSTILE_LONG = 100


@pytest.fixture(scope="module")
def apps(ground: main.Ground, ways: main.Ways) -> dict[str, Any]:
    """The same applications in this process, for their tables of routes only."""
    return {
        "pages": main.pages_app(ground, ways),
        "device": main.device_app(ground, ways),
        "bootstrap": main.bootstrap_app(ground, ways),
    }


def caller_of(plane: Exposed, apps: dict[str, Any], name: str) -> Caller:
    """Whoever is called so, anew each time: staff may sign out, and shut devices out."""
    if name in (KIOSK, HALL):
        return plane.member(DEVICES[name])
    if name in plane.callers:
        return plane.callers[name]
    if name in list(Role):
        return plane.staff(Role(name))
    scopes = scopes_of(apps["pages"].router.routes)
    chosen = scopes if name == PROGRAM else [each for each in scopes if each.endswith(":read")]
    return plane.program(name, chosen, scopes)


def schema_for(caller: Caller) -> Any:
    """The description that the caller's listener gives, with the listener's address."""
    with caller.browser() as client:
        described = client.get(openapi.PATH).json()
    schema = schemathesis.openapi.from_dict(described).exclude(path=ENDLESS)
    schema.config.update(base_url=caller.url)
    rejected = schema.config.checks.negative_data_rejection
    rejected.expected_statuses = [*rejected.expected_statuses, TOO_LARGE]
    schema.config.generation.update(with_security_parameters=False)  # what the caller shows is sent always
    return schema


def closed_mouth(plane: Exposed) -> Any:
    """A check of schemathesis: not our fault, and nothing of the inside."""

    def check(_context: Any, response: Any, case: Any) -> None:
        hold(
            plane,
            response.status_code,
            response.headers,
            response.text,
            repr((case.body, case.query, case.path_parameters, case.headers)),
        )

    return check


def hold(plane: Exposed, status: int, headers: Any, text: str, sent: str) -> None:
    patient = any(name.lower() == "retry-after" for name in headers)
    assert status < 500 or (status == 503 and patient), text
    found = plane.leaks(text, sent) or plane.leaks(str(dict(headers)), sent)
    assert not found, f"the answer tells of the inside: {found!r} in {text[:500]}"


def real(plane: Exposed, case: Any) -> None:
    """What schemathesis cannot invent: a citizen whom the registry knows, and a document id that is one."""
    if case.operation.label == "POST /api/v1/documents" and isinstance(case.body, dict):
        person = plane.persons[len(json.dumps(case.body, default=str)) % len(plane.persons)]
        case.body["document"] = uuid7(1_795_000_000_000, random.randbytes(RANDOM_BYTES))
        case.body["identification"] = {
            "personal_number": person.personal_number,
            "document_number": person.document_number,
            "date_of_birth": person.date_of_birth.isoformat(),
        }


def tell_stories(plane: Exposed, caller: Caller, how: settings) -> None:
    """Chains of calls in which what one answers is what the next asks for."""
    session = caller.session()

    class Story(schema_for(caller).as_state_machine()):  # type: ignore[misc] # made by schemathesis
        def before_call(self, case: Any) -> None:
            if case.meta is None or case.meta.generation.mode is GenerationMode.POSITIVE:
                real(plane, case)

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"session": session, "verify": caller.verify or False}

        def validate_response(self, response: Any, case: Any, **kwargs: Any) -> None:
            case.validate_response(
                response,
                additional_checks=[closed_mouth(plane)],
                excluded_checks=NOT_ASKED,
                transport_kwargs=kwargs,
            )

    Story.run(settings=how)
    session.close()


def repeats(case: Any) -> bool:
    """Whether it gives a parameter several times: the last one counts, and that may be a good one."""
    return any(isinstance(value, list | dict) for value in (case.query or {}).values())


def ask_each(plane: Exposed, caller: Caller, how: settings) -> None:
    """Every operation by itself, with sensible and senseless input."""
    session = caller.session()
    for found in schema_for(caller).get_all_operations():
        operation = found.ok()
        sensible, senseless = (
            operation.as_strategy(generation_mode=mode)
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        )

        @how
        @given(case=sensible | senseless)
        def ask(case: Any) -> None:
            assume(not repeats(case))
            case.call_and_validate(
                session=session,
                verify=caller.verify or False,
                additional_checks=[closed_mouth(plane)],
                excluded_checks=NOT_ASKED,
            )

        ask()
    session.close()


@pytest.mark.system
@pytest.mark.parametrize("name", BY_API)
def test_stories_of_calls_meet_no_fault(plane: Exposed, apps: dict[str, Any], name: str) -> None:
    tell_stories(plane, caller_of(plane, apps, name), STORY)


@pytest.mark.system
@pytest.mark.parametrize("name", [Role.CLERK, READER, KIOSK])
def test_each_operation_keeps_its_word_to_every_caller(
    plane: Exposed, apps: dict[str, Any], name: str
) -> None:
    ask_each(plane, caller_of(plane, apps, name), EACH)


@pytest.mark.system
@pytest.mark.long
@pytest.mark.parametrize("name", BY_API)
def test_the_api_at_length(plane: Exposed, apps: dict[str, Any], name: str) -> None:
    tell_stories(plane, caller_of(plane, apps, name), settings(STORY, **LONG))
    ask_each(plane, caller_of(plane, apps, name), settings(EACH, **LONG))


WORDS = (
    "", " ", "..", "../../etc/passwd", "\0", "a\0b", "'", '"', "';--", "%", "\\", "x" * 3000, "-1", "0",
    "9" * 30, "NaN", "1e400", "null", "true", "[]", "{}", "<script>alert(1)</script>", "{{7*7}}", "${7*7}",
    "\r\nX: y", "\ud800", "\U0001f600", "1", KIOSK, HALL, "sq", "en", "$next", "2026-11-27T10:00:00", "١٢٣",
    "ﬀ", "\u202e", "\x7f", "&a=b", "#",
)  # fmt: skip
"""What finds its way into every field."""
MEDIA = (
    "application/json", "application/x-www-form-urlencoded", "multipart/form-data", "", "///",
    "multipart/form-data; boundary=x", "application/offset+octet-stream", "application/pkcs10",
    "text/plain; charset=no-such",
)  # fmt: skip
BODIES = (
    b"", b"\0", b"\xff\xfe", b"{", b"[" * 20_000, b'{"a":' * 5_000, b"null", b'"\\ud800"', b'{"a":NaN}',
    b"--x\r\n\r\n", b'--x\r\nContent-Disposition: form-data; name=a; filename="../b"\r\n\r\n1\r\n--x--',
    b"a=%00&b=%ff&&=&a=1", b"x" * 70_000, b"MIIB",
)  # fmt: skip
HEADERS = {
    "Accept-Language": ("sq", "x" * 2000, "sr-Cyrl;q=nope", "\xff", "*;q=1,en;q="),
    "Range": ("bytes=0-", "bytes=-1", "bytes=9-1", "items=1", "bytes=" + "9" * 40 + "-"),
    "If-None-Match": ("*", '"', "W/"),
    "If-Modified-Since": ("yesterday",),
    "Last-Event-ID": ("-1", "9" * 40, "a", "\xff"),
    "Idempotency-Key": ("", "x" * 3000, "\xff"),
    "Authorization": ("Bearer", "Bearer x", "Basic", "Basic !!!", "Basic " + "A" * 3000, "Digest a"),
    "Cookie": ("session=", "session=\xff", "language=../x", "a" * 3000, ";;=;"),
    "Origin": ("null", "http://evil.example", "\xff"),
    "HX-Request": ("true",),
    "Tus-Resumable": ("1.0.0", "0.1", ""),
    "Upload-Length": ("-1", "9" * 40, "1e3", "١"),
    "Upload-Offset": ("-1", "9" * 40, "x"),
    "Upload-Metadata": ("a", "a b", "recording !!!", "recording AAAA,segment AAAA", "," * 50),
    "Upload-Checksum": ("sha256", "sha1 x", "sha256 !!!"),
}


def fields_of(route: APIRoute) -> tuple[list[str], list[str]]:
    """The names of its query and of its form, as far as the route declares them."""
    query = [each.alias for each in route.dependant.query_params]
    body = [each.alias for each in route.dependant.body_params]
    return query, body


def hostile(route: APIRoute, chance: random.Random) -> dict[str, Any]:
    """One request that somebody with bad intentions, or a bad program, sends to the route."""
    query, form = fields_of(route)

    def word() -> str:
        return chance.choice(WORDS)

    def encoded(text: str) -> str:
        return quote(text.encode(errors="surrogatepass"), safe="").replace(".", "%2e")

    path = route.path
    for name in route.param_convertors:
        path = path.replace(f"{{{name}}}", encoded(word()) or "%20")
    asked = "&".join(f"{name}={encoded(word())}" for name in [*query, "junk"] if chance.random() < 0.7)
    headers = {
        name: chance.choice(values).encode("latin-1", "replace")
        for name, values in HEADERS.items()
        if chance.random() < 0.15
    }
    method = (
        chance.choice(sorted(route.methods)) if chance.random() < 0.9 else chance.choice(["PUT", "HEAD", "X"])
    )
    request: dict[str, Any] = {"method": method, "url": f"{path}?{asked}", "headers": headers}
    if method in ("GET", "HEAD"):
        return request
    if chance.random() < 0.6:
        pairs = [f"{name}={encoded(word())}" for name in form if chance.random() < 0.9]
        chance.shuffle(pairs)
        request["content"] = "&".join([*pairs, *pairs[:1]]).encode()
        headers["Content-Type"] = b"application/x-www-form-urlencoded"
    else:
        request["content"] = chance.choice(BODIES)
        headers["Content-Type"] = chance.choice(MEDIA).encode()
    return request


def besiege(plane: Exposed, app: Any, caller_for: Any, seed: int, times: int) -> int:
    """Send hostile requests to every route of a listener; how many were answered."""
    answered = 0
    for route in app.router.routes:
        if not isinstance(route, APIRoute) or route.path in (ENDLESS, "/sign-out"):
            continue
        chance = random.Random(f"{seed} {route.path} {sorted(route.methods)}")
        with caller_for(route).browser() as client:
            for _ in range(times):
                request = hostile(route, chance)
                try:
                    answer = client.request(**request)
                except httpx.RemoteProtocolError as error:
                    raise AssertionError(f"no answer to {request}: {error}") from error
                try:
                    hold(plane, answer.status_code, answer.headers, answer.text, repr(request))
                except AssertionError as error:
                    raise AssertionError(f"{caller_for(route).name}: {request}: {error}") from error
                answered += 1
    return answered


LISTENERS = [
    ("pages", Role.ADMINISTRATOR), ("pages", "nobody at pages"), ("device", KIOSK),
    ("bootstrap", "nobody at bootstrap"), ("bootstrap", KIOSK),
]  # fmt: skip
LISTENERS_LONG = [
    *LISTENERS, ("pages", Role.OPERATOR), ("pages", Role.CLERK), ("pages", PROGRAM), ("device", HALL),
]  # fmt: skip


@pytest.mark.system
@pytest.mark.parametrize(("listener", "name"), LISTENERS)
def test_hostile_requests_to_every_route_meet_no_fault(
    plane: Exposed, apps: dict[str, Any], listener: str, name: str
) -> None:
    assert siege(plane, apps, listener, name, 1, HOSTILE) > 2 * HOSTILE


@pytest.mark.system
@pytest.mark.long
@pytest.mark.parametrize(("listener", "name"), LISTENERS_LONG)
def test_hostile_requests_to_every_route_of_the_api_at_length(
    plane: Exposed, apps: dict[str, Any], listener: str, name: str
) -> None:
    assert siege(plane, apps, listener, name, random.randrange(10**9), HOSTILE_LONG) > HOSTILE_LONG


def siege(plane: Exposed, apps: dict[str, Any], listener: str, name: str, seed: int, times: int) -> int:
    def caller_for(_route: APIRoute) -> Caller:
        caller = caller_of(plane, apps, name)
        if listener == "bootstrap" and caller.certificate is not None:
            at = plane.nobody("bootstrap")
            return Caller(caller.name, at.url, verify=at.verify, certificate=caller.certificate)
        return caller

    return besiege(plane, apps[listener], caller_for, seed, times)


def test_the_check_itself_finds_what_tells_of_the_inside(plane: Exposed) -> None:
    key = (plane.data / "pki" / "issuing.key").read_text().splitlines()[1]
    for told in ('File "x", line 1', "sqlalchemy.exc", f"see {plane.folder}/data", key, "SELECT a FROM b"):
        assert plane.leaks(f"<p>{told}</p>")
    assert not plane.leaks("SELECT it yourself", sent="SELECT it")
    assert not plane.leaks("The document is sealed; ask for a new one with enrol-token.")
