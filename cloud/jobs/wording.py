"""The words of the jobs pages, marked for translation."""

from cloud.web.languages import N_
from contract.jobs import JobState, Operation, Status

OPERATIONS = {
    Operation.COLLECT_DIAGNOSTICS: N_("Collect diagnostics"),
    Operation.RESTART_AGENT: N_("Restart the agent"),
    Operation.PRINT_DOCUMENT: N_("Print a document"),
    Operation.SET_SITTING: N_("Set the state of a sitting"),
    Operation.APPLY_UPDATE: N_("Apply an update"),
    Operation.CANCEL_UPDATE: N_("Cancel an update"),
}
STATUSES = {
    Status.QUEUED: N_("Waiting"),
    Status.IN_PROGRESS: N_("In progress"),
    Status.SUCCEEDED: N_("Succeeded"),
    Status.FAILED: N_("Failed"),
    Status.TIMED_OUT: N_("Timed out"),
    Status.REJECTED: N_("Rejected"),
    Status.REMOVED: N_("Removed"),
    Status.CANCELED: N_("Cancelled"),
}
CHIPS = {
    Status.QUEUED: "info",
    Status.IN_PROGRESS: "info",
    Status.SUCCEEDED: "good",
    Status.FAILED: "bad",
    Status.TIMED_OUT: "bad",
    Status.REJECTED: "bad",
    Status.REMOVED: "warn",
    Status.CANCELED: "warn",
}
"""The look of each state; the words carry the meaning."""

STATES = {
    JobState.SCHEDULED: N_("Not begun yet"),
    JobState.IN_PROGRESS: N_("Under way"),
    JobState.COMPLETED: N_("Completed"),
    JobState.CANCELED: N_("Cancelled"),
    JobState.DELETION_IN_PROGRESS: N_("Being deleted"),
}
STATE_CHIPS = {
    JobState.SCHEDULED: "info",
    JobState.IN_PROGRESS: "info",
    JobState.COMPLETED: "good",
    JobState.CANCELED: "warn",
    JobState.DELETION_IN_PROGRESS: "warn",
}

assert set(STATES) == set(STATE_CHIPS) == set(JobState)
assert set(OPERATIONS) == set(Operation)
assert set(STATUSES) == set(CHIPS) == set(Status)
