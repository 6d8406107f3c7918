"""A device is there when it says so, and gone when the will of its current boot says so."""

import pytest
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import Received
from cloud.database.models.devices import Device
from cloud.devices.presence import Known, Presences, believe
from contract.errors import MalformedError
from contract.messages import Presence, encode
from tests.cloud.conftest import Clock

NEVER = Known(False, "")
HERE = Known(True, "b2")


def said(online: bool, boot: str) -> Presence:
    return Presence(boot=boot, at=1, online=online, kind="kiosk", agent="0.1.0")


@pytest.mark.parametrize(
    ("known", "word", "then"),
    [
        (NEVER, said(True, "b1"), Known(True, "b1")),
        (NEVER, said(False, "b1"), NEVER),
        (HERE, said(False, "b2"), Known(False, "b2")),
        (HERE, said(False, "b1"), HERE),
        (HERE, said(True, "b3"), Known(True, "b3")),
        (Known(False, "b2"), said(True, "b2"), HERE),
    ],
)
def test_what_is_believed(known: Known, word: Presence, then: Known) -> None:
    assert believe(known, word) == then


def test_a_coming_is_written_down_and_told_once(sessions: sessionmaker[Session], clock: Clock) -> None:
    came: list[str] = []
    presences = Presences(came.append)
    with sessions.begin() as session:
        session.add(Device(device="kiosk-01", kind="kiosk", site="Prishtina", registered_at=clock.at))

    def take(payload: bytes) -> Device:
        clock.forward(10)
        with sessions() as session:
            with session.begin():
                message = Received("kiosk-01", {"device": "kiosk-01"}, payload, None, clock.at, session)
                presences.take(message)
            for do in message._after:
                do()
            with session.begin():
                return session.get_one(Device, "kiosk-01", populate_existing=True)

    first = take(encode(said(True, "b1")))
    assert (first.presence, first.boot, first.agent) == ("online", "b1", "0.1.0")
    since = first.presence_at
    again = take(encode(said(True, "b1")))
    assert again.presence_at == since
    assert again.last_seen_at == clock.at
    assert take(encode(said(False, "b0"))).presence == "online"
    gone = take(encode(said(False, "b1")))
    assert (gone.presence, gone.presence_at) == ("offline", clock.at)
    assert came == ["kiosk-01"]
    with pytest.raises(MalformedError):
        take(b"[]")
