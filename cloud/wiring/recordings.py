"""Recordings: uploads from the halls, the queue of transcriptions, and the pages with what was said."""

from dataclasses import dataclass

from fastapi import APIRouter
from obstore.store import LocalStore

from cloud.recordings import api, cards, pages, queue
from cloud.recordings.news import News
from cloud.recordings.objects import FolderObjects
from cloud.recordings.orders import SWEEP_EVERY_S as SWEEP_TRANSCRIPTIONS_S
from cloud.recordings.orders import Orders
from cloud.recordings.uploads import Uploads
from cloud.wiring.ground import Chore, Ground, Topics

SWEEP_RECORDINGS_S = 60.0


@dataclass(frozen=True)
class Recordings:
    """What the recordings are made of."""

    uploads: Uploads
    news: News
    orders: Orders


def make(ground: Ground) -> Recordings:
    """A recording that is whole is ordered to be transcribed."""
    orders = Orders(ground.sessions, queue.enqueue, queue.standing, ground.clock)
    objects = FolderObjects(ground.settings.objects_dir)
    return Recordings(
        uploads=Uploads(ground.sessions, objects, orders.uploaded, clock=ground.clock, new_id=ground.new_id),
        news=News(orders.uploaded),
        orders=orders,
    )


def topics(recordings: Recordings) -> Topics:
    """What recorders have, and who had the floor."""
    return {"recordings": recordings.news.on_news, "floor": recordings.news.on_floor}


def pages_routers(ground: Ground, recordings: Recordings) -> list[APIRouter]:
    """Pages for staff."""
    desk = pages.Desk(
        sessions=ground.sessions,
        store=LocalStore(ground.settings.objects_dir),
        orders=recordings.orders,
        card=cards.card(ground.settings.transcription.model),
    )
    return [pages.router(desk)]


def device_routers(recordings: Recordings) -> list[APIRouter]:
    """Where recorders upload."""
    return [api.router(recordings.uploads)]


def chores(recordings: Recordings) -> list[Chore]:
    """Uploads that were given up, and transcriptions that nobody works on."""
    return [
        Chore("recordings", SWEEP_RECORDINGS_S, recordings.uploads.sweep),
        Chore("transcriptions", SWEEP_TRANSCRIPTIONS_S, recordings.orders.sweep),
    ]
