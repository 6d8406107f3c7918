"""The line before the desk: few at work, some wait, the rest are told when to come again."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
import uvicorn
from sqlalchemy.orm import Session, sessionmaker

from cloud.database.models.enrolment import EnrolmentRefusal
from cloud.enrolment import est
from cloud.enrolment.causes import RETRY_AFTER_S, Cause
from cloud.enrolment.est import Desk
from cloud.enrolment.line import Line, LineFullError
from cloud.web import listener
from cloud.web.application import build
from tests.cloud.enrolment.conftest import NAME, Now, Technician


def test_few_are_at_work_some_wait_in_their_order_and_the_rest_are_turned_away() -> None:
    async def story() -> tuple[list[int], list[int], int]:
        line, go = Line(at_work_max=2, waiting_max=3), asyncio.Event()
        served: list[int] = []
        away: list[int] = []
        at_work = most = 0

        async def ask(number: int) -> None:
            nonlocal at_work, most
            try:
                async with line.turn():
                    at_work += 1
                    most = max(most, at_work)
                    await go.wait()
                    served.append(number)
                    at_work -= 1
            except LineFullError:
                away.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(ask(number))
            while len(away) < 3:
                await asyncio.sleep(0)
            go.set()
        async with line.turn():  # there is room again
            return served, away, most

    assert asyncio.run(story()) == ([0, 1, 2, 3, 4], [5, 6, 7], 2)


def test_who_gives_up_waiting_or_fails_leaves_the_place_to_the_next() -> None:
    async def story() -> None:
        line = Line(at_work_max=1, waiting_max=1)

        async def ask() -> None:
            async with line.turn():
                raise ValueError

        async with line.turn():
            waits = asyncio.create_task(ask())
            await asyncio.sleep(0)
            with pytest.raises(LineFullError):
                await ask()
            waits.cancel()
            await asyncio.wait([waits])
            follows = asyncio.create_task(ask())
            await asyncio.sleep(0)
        with pytest.raises(ValueError):
            await follows
        async with line.turn():
            pass

    asyncio.run(story())


def test_a_device_that_finds_the_line_full_is_told_when_to_come_and_keeps_its_token(
    desk: Desk,
    folder: Path,
    technician: Technician,
    token: str,
    sessions: sessionmaker[Session],
    now: Now,
    listen: Callable[[uvicorn.Config], int],
) -> None:
    def port(line: Line) -> int:
        app = build("bootstrap", [est.router(desk, folder, line)], body_bytes_max=est.BODY_BYTES_MAX)
        return listen(listener.over_tls(app, "127.0.0.1", 0, pki=folder, client="optional", expired=True))

    full = Line(at_work_max=0, waiting_max=0)
    ask = ("simpleenroll", "-u", f"{NAME}:{token}")
    answer = technician.est(port(full), *ask, data=technician.request(NAME))
    assert answer.status == 503
    assert f"retry-after: {RETRY_AFTER_S[Cause.BUSY]}" in answer.headers.lower()
    assert b"busy" in answer.body
    assert b"ask again later" in answer.body
    full.store(sessions, now())
    full.store(sessions, now())
    with sessions() as session:
        assert [(each.cause, each.count) for each in session.scalars(sa.select(EnrolmentRefusal))] == [
            ("busy", 1)
        ]
    technician.enrol(port(Line(at_work_max=1, waiting_max=0)), token)
