"""The story's own instruments: word error, forms, the report."""

import asyncio
import json
from pathlib import Path

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from simulators.city.report import Report, StepError
from simulators.city.servers import serve
from simulators.city.visitor import Visitor
from simulators.city.words import word_error, words

TEXTS = st.lists(st.sampled_from(["the", "motion", "is", "seconded", "two"]), min_size=1, max_size=12)


@given(TEXTS, TEXTS)
def test_word_error_is_what_others_compute(said: list[str], written: list[str]) -> None:
    expected = jiwer.wer(" ".join(said), " ".join(written))
    assert word_error(" ".join(said), " ".join(written)) == pytest.approx(expected)


def test_case_punctuation_and_small_numbers_are_no_errors() -> None:
    assert words("It’s 4 — o'clock, Councillor!") == ["it's", "four", "o'clock", "councillor"]
    assert word_error("Three votes.", "3 votes") == 0


PAGE = """<html><body><p>Mirë se vini</p><script>nothing</script>
<form method=post action="/send"><input type=hidden name=csrf value=abc><input name=a>
<select name=s><option value=1>x</option><option value=2 selected>y</option></select>
<input type=radio name=r value=q><button name=go value=left>L</button><button name=go value=right>R</button>
</form></body></html>"""


def test_forms_are_sent_as_a_browser_would() -> None:
    got: list[dict[str, str]] = []

    async def send(request: Request) -> Response:
        form = await request.form()
        got.append({name: str(value) for name, value in form.items()})
        return RedirectResponse("/", 303)

    async def page(_request: Request) -> Response:
        return HTMLResponse(PAGE)

    async def story() -> None:
        served = await serve(Starlette(routes=[Route("/", page), Route("/send", send, methods=["POST"])]))
        async with Visitor() as visitor:
            first = await visitor.open(served.url)
            assert first.text == "Mirë se vini x y L R"
            second = await visitor.send(first, "/send", {"a": "ë"}, ("go", "right"))
            assert second.status == 200
            with pytest.raises(LookupError, match="has no form for /other"):
                await visitor.send(second, "/other")
        await served.stop()

    asyncio.run(story())
    assert got == [{"csrf": "abc", "a": "ë", "s": "2", "go": "right"}]


def test_a_step_that_fails_is_a_sentence_and_the_others_go_on(tmp_path: Path) -> None:
    told: list[str] = []
    report = Report()

    async def good() -> str:
        return "fine"

    async def wrong() -> str:
        raise StepError("the paper did not come out")

    async def broken() -> str:
        raise KeyError("x")

    async def slow() -> str:
        await asyncio.Event().wait()
        return ""

    async def story() -> None:
        for name, do in (("a", good), ("b", wrong), ("c", broken), ("d", slow)):
            await report.step(name, 0.05, do, told.append)

    asyncio.run(story())
    report.processes_left = 0
    report.write(tmp_path / "r.json")
    written = json.loads((tmp_path / "r.json").read_text())
    assert [step["held"] for step in written["steps"]] == [True, False, False, False]
    assert written["steps"][1]["detail"] == "the paper did not come out"
    assert written["ok"] is False
    assert len(told) == 4
