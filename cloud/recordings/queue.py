"""The workers' queue, by names only: whoever puts something into it needs no engine in memory."""

from dbos import DBOS, EnqueueOptions

APPLICATION = "civic-fleet-transcription"
"""Workers are an application of their own to the engine: it never hands their runs to the control plane, nor
the control plane's to them, whatever queue a recovered run comes back to."""
VERSION = "transcription-1"
"""As `cloud.database.workflows.APPLICATION_VERSION`; the engine wants another one for each application."""
QUEUE = "transcription"
CLASS = "Transcription"
INSTANCE = "transcription"
POLL_S = 2.0
"""How often a worker looks into the queue."""


def workflow_id(recording: str, attempt: int) -> str:
    """The id of a run's workflow; the same run is the same workflow."""
    return f"transcription-{recording}-{attempt}"


def enqueue(recording: str, attempt: int) -> None:
    """Hand a run to the workers; again changes nothing."""
    options: EnqueueOptions = {
        "workflow_name": f"{CLASS}.transcribe",
        "class_name": CLASS,
        "instance_name": INSTANCE,
        "queue_name": QUEUE,
        "workflow_id": workflow_id(recording, attempt),
        "app_version": VERSION,
        "application_name": APPLICATION,
    }
    DBOS.enqueue_workflow_with_options(options, recording, attempt)


def standing(recording: str, attempt: int) -> str | None:
    """The engine's state of a run; None where it knows none."""
    found = DBOS.get_workflow_status(workflow_id(recording, attempt))
    return found.status if found is not None else None


def adopt(executors: list[str]) -> int:
    """Put what executors that are gone had begun back into the queue; gives how many runs that were."""
    if not executors:
        return 0
    orphans = DBOS.list_workflows(
        status="PENDING", executor_id=executors, load_input=False, load_output=False
    )
    for orphan in orphans:
        DBOS.resume_workflow(orphan.workflow_id, queue_name=QUEUE)
    return len(orphans)
