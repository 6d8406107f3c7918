"""The rules that pages are held to find what they are there to find."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from tests.browser.conftest import NewPage, Serve
from tests.browser.looking import PHONE, axe_violations, look_ok, problems

GOOD = (
    "<!doctype html><html lang=sq><head><title>Faqe</title></head>"
    "<body><main><h1>Faqe</h1><p>Një fjali.</p></main></body></html>"
)
BAD = (
    "<!doctype html><html><head><title>x</title></head><body><main><h1>x</h1><button style='width:9px'>"
    "</button>"
    "<div style='width:900px'>wide</div><script>console.error('planted')</script></main></body></html>"
)


async def _good(_request: Request) -> HTMLResponse:
    return HTMLResponse(GOOD)


async def _bad(_request: Request) -> HTMLResponse:
    return HTMLResponse(BAD)


async def _strict(_request: Request) -> HTMLResponse:
    return HTMLResponse(BAD, headers={"Content-Security-Policy": "default-src 'self'"})


APP = Starlette(
    routes=[
        Route("/good", _good),
        Route("/bad", _bad),
        Route("/strict", _strict),
        Route("/favicon.ico", lambda _request: HTMLResponse("")),
    ]
)


def test_a_good_page_passes(serve: Serve, new_page: NewPage) -> None:
    page = new_page(PHONE)
    page.goto(f"{serve(APP).url}/good")
    look_ok(page, "good")


def test_planted_faults_are_found(serve: Serve, new_page: NewPage) -> None:
    page = new_page(PHONE)
    page.goto(f"{serve(APP).url}/bad")
    found = " | ".join(problems(page))
    for sign in ("scrolls sideways", "small target", "no lang", "console: planted"):
        assert sign in found
    rules = {violation.split(":")[0] for violation in axe_violations(page)}
    assert {"button-name", "html-has-lang"} <= rules


def test_a_broken_content_policy_is_found(serve: Serve, new_page: NewPage) -> None:
    page = new_page(PHONE)
    page.goto(f"{serve(APP).url}/strict")
    assert any(problem.startswith("content policy: ") for problem in problems(page))
    assert axe_violations(page), "axe runs although the page's policy forbids foreign scripts"


def test_a_stopped_server_frees_its_port(serve: Serve) -> None:
    served = serve(APP)
    served.stop()
    again = serve(APP, port=served.port)
    assert again.port == served.port
