"""Captions: sittings are told to their recorders by jobs, and what comes back goes to everybody who reads."""

import msgspec
from fastapi import APIRouter
from sqlalchemy.orm import Session

from cloud.captions import pages, staff
from cloud.captions.hub import Hub
from cloud.captions.run import Captions
from cloud.captions.sittings import overtaken, told_by
from cloud.jobs import store as jobs_store
from cloud.jobs.service import Jobs
from cloud.wiring.ground import Ground, Topics
from contract.captions import SetSitting
from contract.jobs import RETRIES_MAX, Status

SITTING_STARTED_S = 60.0
"""A recorder has so long to take a new state of its sitting."""
SITTING_WAITS_S = 12 * 3600.0
"""A recorder that was away learns of its sitting when it is back, on the same day."""


def make(ground: Ground, jobs: Jobs) -> Captions:
    """The open sittings are known when this returns."""

    def create_job(session: Session, job: str, device: str, document: SetSitting) -> None:
        jobs.create(
            session,
            job,
            msgspec.to_builtins(document),
            [device],
            in_progress_timeout_s=SITTING_STARTED_S,
            queued_expiry_s=SITTING_WAITS_S,
            retries=RETRIES_MAX,
        )
        for older in overtaken(jobs.waiting(session, device), document.session, document.version):
            jobs.cancel(session, older, force=True)

    captions = Captions(ground.sessions, create_job, Hub())
    captions.load()

    def ended(job: str, device: str, status: Status) -> None:
        told = told_by(job)
        if told is not None and status is Status.TIMED_OUT:
            captions.recorder_unheard(job)
        if told is not None:
            with ground.sessions() as session:
                details = jobs_store.details(session, job, device)
            captions.recorder_answered(*told, details.get("recogniser", ""))

    jobs.on_ended(ended)
    return captions


def topics(captions: Captions) -> Topics:
    """What recorders send."""
    return {"caption-final": captions.on_final, "caption-partial": captions.on_partial}


def pages_routers(captions: Captions) -> list[APIRouter]:
    """The public's pages, and those on which staff lead a sitting."""
    return [pages.router(captions), staff.router(captions)]
