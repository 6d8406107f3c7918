"""Updates: the catalogue of releases, and the jobs by which devices are told to take one."""

from collections.abc import Sequence
from functools import partial

import msgspec
from fastapi import APIRouter
from sqlalchemy.orm import Session

from cloud.devices import groups
from cloud.jobs import store as jobs_store
from cloud.jobs.service import Jobs
from cloud.updates import api, pages, tuf_files
from cloud.updates.catalogue import Catalogue
from cloud.updates.service import Tools, Updates
from cloud.wiring.ground import Chore, Ground, Topics
from contract.updates import ApplyUpdate, CancelUpdate

UPDATE_STARTED_S = 300.0
"""A device has so long to write an assignment down."""
UPDATE_WAITS_S = 7 * 86_400.0
"""A device that was away learns of an assignment when it is back, for a week."""
RENEW_TIMESTAMP_S = 3600.0


def make(ground: Ground, jobs: Jobs) -> Updates:
    """An update goes out as a job, to devices and to groups of them."""
    chosen = ground.settings.updates

    def create_job(
        session: Session,
        job: str,
        document: ApplyUpdate | CancelUpdate,
        devices: Sequence[str],
        per_minute: int | None,
    ) -> None:
        jobs.create(
            session,
            job,
            msgspec.to_builtins(document),
            devices,
            in_progress_timeout_s=UPDATE_STARTED_S,
            queued_expiry_s=UPDATE_WAITS_S,
            per_minute=per_minute,
        )

    def details(job: str, device: str) -> dict[str, str]:
        with ground.sessions() as session:
            return jobs_store.details(session, job, device)

    updates = Updates(
        Tools(
            sessions=ground.sessions,
            catalogue=Catalogue(chosen.repository_dir, chosen.timestamp_key_file),
            create_job=create_job,
            cancel_job=partial(jobs.cancel, force=True),
            details=details,
            clock=ground.clock,
            group_names=groups.names,
            group_members=groups.members,
        )
    )
    jobs.on_ended(updates.on_job_ended)
    return updates


def topics(updates: Updates) -> Topics:
    """How far a device is, and what came of it."""
    return {"updates": updates.on_news}


def pages_routers(updates: Updates) -> list[APIRouter]:
    """Pages and API for staff."""
    return [pages.router(updates), api.router(updates)]


def device_routers(updates: Updates) -> list[APIRouter]:
    """The files of the repository."""
    return [tuf_files.router(updates.catalogue)]


def chores(ground: Ground, updates: Updates) -> list[Chore]:
    """The repository's timestamp, which ends by itself."""
    return [
        Chore("timestamp", RENEW_TIMESTAMP_S, lambda: updates.catalogue.renew_timestamp(ground.clock())),
    ]
