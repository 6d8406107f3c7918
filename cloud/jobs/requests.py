"""What devices ask and report about their jobs, over MQTT, and the answers.

A request is refused on its `rejected` topic with a code and a sentence; one that is no JSON is counted too.
"""

from typing import Any, TypeVar

import msgspec
from sqlalchemy.orm import Session

from cloud import arrivals
from cloud.broker import Received
from cloud.jobs import core, shapes, store
from cloud.jobs.core import Refusal, Repeated, next_of
from cloud.jobs.notices import Publish, after_commit
from cloud.jobs.service import Jobs
from cloud.jobs.store import Stored
from cloud.refusals import Reason, refusal
from contract.errors import MalformedError
from contract.jobs import (
    NEXT,
    ErrorCode,
    ExecutionAnswer,
    ListAnswer,
    Rejection,
    Request,
    Status,
    Update,
    UpdateAnswer,
)
from contract.messages import encode, read

TOKEN_KEPT_MAX = 64
T = TypeVar("T", Request, Update)


class Requests:
    """Handlers of the four job topics, for `cloud.broker.Broker.subscribe`."""

    def __init__(self, jobs: Jobs, publish: Publish) -> None:
        self._jobs = jobs
        self._publish = publish

    def get(self, message: Received) -> None:
        """`job-get`: what is pending."""
        request = self._read(message, Request, "job-get")
        if request is None:
            return
        pending = store.pending(message.session, message.device)
        answer = ListAnswer(
            in_progress_jobs=shapes.summaries(pending, Status.IN_PROGRESS),
            queued_jobs=shapes.summaries(pending, Status.QUEUED),
            timestamp=shapes.seconds(message.received_at),
            client_token=request.client_token,
        )
        self._answer(message, "job-get-accepted", answer)

    def start_next(self, message: Received) -> None:
        """`job-start-next`: begin what is next; nothing pending is an answer without an execution."""
        request = self._read(message, Request, "job-start-next")
        if request is None:
            return
        self._expire_queued(message)
        head = _next(message.session, message.device)
        after = core.start(head.execution, request, message.received_at) if head else None
        if isinstance(after, Refusal):
            self._reject(message, "job-start-next", after, request.client_token)
            return
        stored = Stored(head.device, head.document, after) if head and after else None
        answer = ExecutionAnswer(
            execution=shapes.execution(stored, message.received_at) if stored else None,
            timestamp=shapes.seconds(message.received_at),
            client_token=request.client_token,
        )
        self._answer(message, "job-start-next-accepted", answer)
        if head and after and after != head.execution:
            with self._jobs.notices.watch(message.session, [message.device]):
                self._jobs.write(message.session, head, after)

    def describe(self, message: Received) -> None:
        """`job-describe`: one execution; `$next` is what is next."""
        request = self._read(message, Request, "job-describe")
        if request is None:
            return
        job = message.ids["job"]
        if job == NEXT:
            stored = _next(message.session, message.device)
        else:
            stored = store.find(message.session, job, message.device, request.execution_number)
            if stored is None:
                self._reject(message, "job-describe", _unknown(job), request.client_token)
                return
        answer = ExecutionAnswer(
            execution=shapes.execution(
                stored, message.received_at, with_document=request.include_job_document
            )
            if stored
            else None,
            timestamp=shapes.seconds(message.received_at),
            client_token=request.client_token,
        )
        self._answer(message, "job-describe-accepted", answer)

    def update(self, message: Received) -> None:
        """`job-update`: how far an execution is."""
        wish = self._read(message, Update, "job-update")
        if wish is None:
            return
        self._expire_queued(message)
        stored = store.find(message.session, message.ids["job"], message.device, wish.execution_number)
        if stored is None:
            self._reject(message, "job-update", _unknown(message.ids["job"]), wish.client_token)
            return
        after = core.update(stored.execution, wish, message.received_at)
        if isinstance(after, Refusal):
            self._note(message, stored, wish)
            self._reject(message, "job-update", after, wish.client_token)
            return
        repeated = isinstance(after, Repeated)
        now = after.execution if isinstance(after, Repeated) else after
        shown = Stored(stored.device, stored.document, now)
        answer = UpdateAnswer(
            timestamp=shapes.seconds(message.received_at),
            client_token=wish.client_token,
            execution_state=shapes.state(shown) if wish.include_job_execution_state else None,
            job_document=shown.document if wish.include_job_document else None,
        )
        self._answer(message, "job-update-accepted", answer)
        if not repeated:
            with self._jobs.notices.watch(message.session, [message.device]):
                self._jobs.write(message.session, stored, now)

    def _expire_queued(self, message: Received) -> None:
        """What has waited too long is not begun any more, though no sweep has come by yet."""
        pending = store.pending(message.session, message.device)
        over = [
            (stored, core.expire(stored.execution, message.received_at))
            for stored in pending
            if stored.execution.status is Status.QUEUED
        ]
        over = [(stored, after) for stored, after in over if after != stored.execution]
        if over:
            with self._jobs.notices.watch(message.session, [message.device]):
                for stored, after in sorted(over, key=lambda each: each[1].job):
                    self._jobs.write(message.session, stored, after)

    @staticmethod
    def _note(message: Received, stored: Stored, wish: Update) -> None:
        """How a device ended what the control plane had ended over its head."""
        told = core.afterwards(stored.execution, wish)
        if told is not None:
            store.note_afterwards(message.session, message.device, stored.execution, told)

    def _read(self, message: Received, kind: type[T], name: str) -> T | None:
        try:
            return read(message.payload or b"{}", kind)
        except MalformedError as error:
            refused = refusal(message.device, name, Reason.MALFORMED, message.payload)
            arrivals.quarantine(message.session, refused, message.received_at)
            tree = _tree(message.payload)
            code = ErrorCode.INVALID_REQUEST if tree is not None else ErrorCode.INVALID_JSON
            self._reject(message, name, Refusal(code, str(error)), _token(tree))
            return None

    def _reject(self, message: Received, name: str, refusal: Refusal, token: str) -> None:
        current = refusal.current
        rejection = Rejection(
            code=refusal.code,
            message=refusal.message,
            timestamp=shapes.seconds(message.received_at),
            client_token=token[:TOKEN_KEPT_MAX],
            execution_state=shapes.state(Stored(message.device, {}, current)) if current else None,
        )
        self._answer(message, f"{name}-rejected", rejection)

    def _answer(self, message: Received, name: str, body: msgspec.Struct) -> None:
        # Before the change is written: the answer goes out first, then what follows from it.
        after_commit(message.session, lambda: self._publish(name, message.ids, encode(body)))


def _next(session: Session, device: str) -> Stored | None:
    pending = store.pending(session, device)
    head = next_of(stored.execution for stored in pending)
    return next((stored for stored in pending if stored.execution is head), None)


def _unknown(job: str) -> Refusal:
    return Refusal(ErrorCode.RESOURCE_NOT_FOUND, f"there is no execution of job {job} for this device")


def _tree(payload: bytes) -> Any:
    """What stands in `payload`; None where it is no JSON, or such that nobody means."""
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _token(tree: Any) -> str:
    """The token of a request that is none: without it AWS's client waits for an answer that has come."""
    token = tree.get("clientToken") if isinstance(tree, dict) else None
    return token if isinstance(token, str) else ""
