"""Documents: the outside services, the sealing, and the print job in which a paper goes to its kiosk."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

import msgspec
from fastapi import APIRouter

from cloud.documents import api, kinds, staff, verify
from cloud.documents.contents import Contents, load_key
from cloud.documents.core import Limits
from cloud.documents.counter import Tools
from cloud.documents.news import print_job
from cloud.documents.payments_http import PaymentsHttp
from cloud.documents.registry_http import RegistryHttp
from cloud.documents.render_typst import TypstRenderer
from cloud.documents.run import Documents
from cloud.documents.seal_pyhanko import PyhankoSealer
from cloud.jobs.service import Jobs
from cloud.wiring.ground import Ground, Topics
from contract.documents import PrintJob


@contextmanager
def make(ground: Ground, jobs: Jobs) -> Iterator[Documents]:
    """With connections to the register and to the payments, which close behind it."""
    settings, chosen = ground.settings, ground.settings.documents

    def offer(device: str, document: str, sha256: str, size: int, timeout_s: float) -> str:
        job = print_job(document)
        paper = msgspec.to_builtins(PrintJob(document=document, sha256=sha256, size=size))
        with ground.sessions.begin() as session:
            jobs.create(
                session, job, paper, [device], in_progress_timeout_s=timeout_s, queued_expiry_s=timeout_s
            )
        return job

    with (
        closing(RegistryHttp(chosen.registry_url)) as registry,
        closing(PaymentsHttp(chosen.payments_url)) as payments,
    ):
        tools = Tools(
            sessions=ground.sessions,
            contents=Contents(load_key(settings.data_dir), timedelta(days=chosen.purge_after_days)),
            kinds=kinds.load(),
            registry=registry,
            payments=payments,
            limits=Limits(printing_s=chosen.print_timeout_s),
            clock=ground.clock,
            chance=os.urandom,
        )
        pki_dir = settings.pki_dir
        documents = Documents(
            tools,
            render=TypstRenderer(),
            seal=PyhankoSealer(pki_dir / "seal.key", pki_dir / "seal.pem", pki_dir / "authorities.pem"),
            offer=offer,
            public_url=settings.public_url,
        )
        jobs.on_ended(documents.news.on_job_ended)
        yield documents


def topics(documents: Documents) -> Topics:
    """What kiosks prove."""
    return {"evidence": documents.news.on_evidence}


def pages_routers(ground: Ground, documents: Documents) -> list[APIRouter]:
    """Where everybody verifies a paper, and the pages for staff."""
    return [
        verify.router(ground.sessions, documents.tools.kinds, clock=ground.clock),
        staff.router(documents),
    ]


def device_routers(ground: Ground, documents: Documents) -> list[APIRouter]:
    """The counter that kiosks speak to."""
    return [api.router(documents.counter, ground.sessions)]
