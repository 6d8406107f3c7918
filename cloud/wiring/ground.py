"""What every way stands on, and the shapes in which it tells what it takes and what it does repeatedly."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from cloud.broker import Broker, Handler
from cloud.enrolment.authority import Authority
from cloud.settings import Settings

Topics = Mapping[str, Handler]
"""Who takes which topic, by its name in `contract.topics`."""


@dataclass(frozen=True)
class Ground:
    """What every way stands on. `clock` is the one of the process, `new_id` gives ids in their order."""

    settings: Settings
    engine: sa.Engine
    sessions: sessionmaker[Session]
    broker: Broker
    issuer: Authority
    clock: Callable[[], datetime]
    new_id: Callable[[], str]


class Chore(NamedTuple):
    """What is done again and again: `every_s` seconds after it has ended it is done once more."""

    name: str
    every_s: float
    do: Callable[[], object]
