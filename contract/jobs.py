"""Jobs in the shapes of AWS IoT Jobs, so that a stranger's client can drive us.

Source: AWS IoT Core developer guide, "Jobs device MQTT API operations" and "Job execution states".
Field names are AWS's; times are whole seconds since 1970 UTC as there.
"""

from enum import StrEnum
from typing import Any

import msgspec

from contract.lifecycle import Machine

DETAILS_MAX = 10
DETAIL_KEY_LENGTH_MAX = 128
DETAIL_VALUE_LENGTH_MAX = 1024
CLIENT_TOKEN_LENGTH_MAX = 64
TIMEOUT_MINUTES_MAX = 10_080
RETRIES_MAX = 10
"""Bound on retries of one device, over FAILED and TIMED_OUT together."""
PER_MINUTE_MAX = 1000
"""Bound on a constant roll-out rate (`maximumPerMinute`), in devices a minute."""
PENDING_LISTED_MAX = 15
NEXT = "$next"


class Status(StrEnum):
    """State of one execution: one job on one device."""

    QUEUED = "QUEUED"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    REJECTED = "REJECTED"
    REMOVED = "REMOVED"
    CANCELED = "CANCELED"


EXECUTION = Machine(
    "job execution",
    "QUEUED",
    {
        "QUEUED": {
            "start": "IN_PROGRESS",
            "succeed": "SUCCEEDED",
            "fail": "FAILED",
            "reject": "REJECTED",
            "cancel": "CANCELED",
            "expire": "TIMED_OUT",
            "remove": "REMOVED",
        },
        "IN_PROGRESS": {
            "start": "IN_PROGRESS",
            "succeed": "SUCCEEDED",
            "fail": "FAILED",
            "reject": "REJECTED",
            "cancel": "CANCELED",
            "expire": "TIMED_OUT",
            "remove": "REMOVED",
        },
        "SUCCEEDED": {},
        "FAILED": {},
        "TIMED_OUT": {},
        "REJECTED": {},
        "REMOVED": {},
        "CANCELED": {},
    },
)
BY_DEVICE = {
    Status.IN_PROGRESS: "start",
    Status.SUCCEEDED: "succeed",
    Status.FAILED: "fail",
    Status.REJECTED: "reject",
}
"""What a device may set, and the event that it is."""


class JobState(StrEnum):
    """State of a job as a whole."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"
    DELETION_IN_PROGRESS = "DELETION_IN_PROGRESS"


JOB = Machine(
    "job",
    "SCHEDULED",
    {
        "SCHEDULED": {"begin": "IN_PROGRESS", "complete": "COMPLETED", "cancel": "CANCELED"},
        "IN_PROGRESS": {"complete": "COMPLETED", "cancel": "CANCELED"},
        "COMPLETED": {"delete": "DELETION_IN_PROGRESS"},
        "CANCELED": {"delete": "DELETION_IN_PROGRESS"},
        "DELETION_IN_PROGRESS": {},
    },
)
"""SCHEDULED until the first device sees it; COMPLETED once the last execution has ended.

A cancelled job stays CANCELED while what had begun runs on. A deleted one is gone with its last execution.
"""


class Operation(StrEnum):
    """What a job asks for: the value of `operation` in its document."""

    COLLECT_DIAGNOSTICS = "collect-diagnostics"
    RESTART_AGENT = "restart-agent"
    PRINT_DOCUMENT = "print-document"
    SET_SITTING = "set-sitting"
    APPLY_UPDATE = "apply-update"
    CANCEL_UPDATE = "cancel-update"


def _first() -> int:
    return 1


class _Camel(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """AWS spells its fields in camel case and leaves out what is not set."""


class Execution(_Camel, frozen=True, kw_only=True):
    """One execution as the cloud tells it."""

    job_id: str
    thing_name: str
    status: Status
    version_number: int
    execution_number: int = msgspec.field(default_factory=_first)  # said even if it is 1, as AWS does
    queued_at: int
    last_updated_at: int
    started_at: int | None = None
    status_details: dict[str, str] = {}
    job_document: dict[str, Any] | None = None
    approximate_seconds_before_timed_out: int | None = None
    """Until the nearer of the two timers ends it, while it is IN_PROGRESS."""


class Summary(_Camel, frozen=True, kw_only=True):
    """One execution in a list."""

    job_id: str
    queued_at: int
    last_updated_at: int
    version_number: int
    execution_number: int = msgspec.field(default_factory=_first)  # said even if it is 1, as AWS does
    started_at: int | None = None


class Request(_Camel, frozen=True, kw_only=True):
    """Body of `jobs/get`, `jobs/start-next` and `jobs/{job}/get`."""

    client_token: str = ""
    status_details: dict[str, str] = {}
    step_timeout_in_minutes: int | None = None
    execution_number: int | None = None
    include_job_document: bool = True


class Update(_Camel, frozen=True, kw_only=True):
    """Body of `jobs/{job}/update`."""

    status: Status
    status_details: dict[str, str] = {}
    expected_version: int | None = None
    execution_number: int | None = None
    include_job_execution_state: bool = False
    include_job_document: bool = False
    step_timeout_in_minutes: int | None = None
    client_token: str = ""


class State(_Camel, frozen=True, kw_only=True):
    """`executionState` in an answer."""

    status: Status
    version_number: int
    status_details: dict[str, str] = {}


class ListAnswer(_Camel, frozen=True, kw_only=True):
    """`jobs/get/accepted`."""

    in_progress_jobs: list[Summary]
    queued_jobs: list[Summary]
    timestamp: int
    client_token: str = ""


class ExecutionAnswer(_Camel, frozen=True, kw_only=True):
    """`jobs/start-next/accepted`, `jobs/{job}/get/accepted`; no execution means none is pending."""

    execution: Execution | None = None
    timestamp: int
    client_token: str = ""


class UpdateAnswer(_Camel, frozen=True, kw_only=True):
    """`jobs/{job}/update/accepted`."""

    timestamp: int
    client_token: str = ""
    execution_state: State | None = None
    job_document: dict[str, Any] | None = None


class ErrorCode(StrEnum):
    """`code` of a rejected request."""

    INVALID_TOPIC = "InvalidTopic"
    INVALID_JSON = "InvalidJson"
    INVALID_REQUEST = "InvalidRequest"
    INVALID_STATE_TRANSITION = "InvalidStateTransition"
    RESOURCE_NOT_FOUND = "ResourceNotFound"
    VERSION_MISMATCH = "VersionMismatch"
    INTERNAL_ERROR = "InternalError"
    REQUEST_THROTTLED = "RequestThrottled"
    TERMINAL_STATE_REACHED = "TerminalStateReached"


class Rejection(_Camel, frozen=True, kw_only=True):
    """Any `/rejected`; a version mismatch carries the current state."""

    code: ErrorCode
    message: str
    timestamp: int
    client_token: str = ""
    execution_state: State | None = None


class NotifyNext(_Camel, frozen=True, kw_only=True):
    """`jobs/notify-next`; no execution means that none is pending."""

    timestamp: int
    execution: Execution | None = None


class Notify(_Camel, frozen=True, kw_only=True):
    """`jobs/notify`: pending executions by status."""

    timestamp: int
    jobs: dict[str, list[Summary]]
