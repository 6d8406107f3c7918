"""The assembly: who sits where."""

from fastapi import APIRouter

from cloud.assembly import pages
from cloud.wiring.ground import Ground


def pages_routers(ground: Ground) -> list[APIRouter]:
    """The page of the seats."""
    return [pages.router(ground.sessions)]
