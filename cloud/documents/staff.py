"""The staff's page of documents: how many are in which state, and what only a person can decide."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from cloud.database.engine import for_reading
from cloud.documents import core, store, wording
from cloud.documents.news import Decision
from cloud.documents.run import Documents
from cloud.operators.access import audit, current_operator
from cloud.operators.roles import Area, belongs_to
from cloud.web.pages import render
from contract.documents import DOCUMENT

PAGE = "/documents"
DECISIONS: dict[str, Decision] = {
    "deliver": core.Decided(delivered=True),
    "void": core.Decided(delivered=False),
    "waive": core.Waived(),
    "note": core.Noted(),
}


def router(documents: Documents) -> APIRouter:
    """The staff's routes of the documents."""
    routes = APIRouter()
    sessions = documents.tools.sessions
    reading = for_reading(sessions)

    @routes.get(PAGE)
    def show(request: Request, state: Annotated[str, Query(max_length=16)] = "") -> Response:
        if state and state not in DOCUMENT.states:
            raise HTTPException(404)
        with reading() as session:
            waiting = store.for_people(session)
            return render(
                request,
                "documents/staff.html",
                waiting=waiting,
                evidence=store.evidence_of(session, [row.document for row in waiting]),
                decisions={row.document: _possible(row.state, row.attention) for row in waiting},
                listed=store.listed(session, state or None),
                counts=store.counts(session),
                shown_state=state,
                all_states=DOCUMENT.states,
                states=wording.STATES,
                chips=wording.CHIPS,
                kinds=wording.KINDS,
                reasons=wording.REASONS,
                job_states=wording.JOB_STATES,
                outcomes=wording.OUTCOMES,
                attentions=wording.ATTENTION,
            )

    @routes.post(PAGE + "/{document}/{decision}")
    def decide(request: Request, document: str, decision: str) -> Response:
        operator = current_operator(request)
        if decision not in DECISIONS:
            raise HTTPException(404)
        with sessions.begin() as session:
            seen = [row.outcome for row in store.evidence_of(session, [document])[document]]
            version = documents.news.decide(session, document, DECISIONS[decision])
            audit(session, operator, f"{decision}-document", document, {"evidence": seen[-10:]})
        documents.news.decided(document, version)
        return RedirectResponse(PAGE, 303)

    return belongs_to(Area.DOCUMENTS, routes)


def _possible(state: str, attention: str | None) -> tuple[str, ...]:
    if state == core.IN_DOUBT:
        return ("deliver", "void")
    return ("waive",) if attention == core.Attention.PAYMENT_NOT_CAPTURED else ("note",)
