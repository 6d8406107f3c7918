"""What the audit's actions are called on pages."""

from cloud.web.languages import N_

ACTIONS = {
    "sign-in": N_("Signed in"),
    "create-account": N_("Created an account"),
    "change-role": N_("Changed a role"),
    "disable-account": N_("Disabled an account"),
    "enable-account": N_("Enabled an account"),
    "create-token": N_("Created a token"),
    "revoke-token": N_("Revoked a token"),
    "sign-out": N_("Signed out"),
    "change-password": N_("Changed the password"),
    "reset-password": N_("Reset a password"),
    "issue-enrolment-token": N_("Issued an enrolment token"),
    "revoke-device": N_("Revoked a device's certificates"),
    "decommission-device": N_("Took a device out of service"),
    "readmit-device": N_("Let a device enrol again"),
    "acknowledge-incident": N_("Has seen an incident"),
    "set-expected-off": N_("Set the hours in which devices are off"),
    "create-job": N_("Ordered a job"),
    "cancel-job": N_("Cancelled a job"),
    "delete-job": N_("Deleted a job"),
    "create-group": N_("Made a group of devices"),
    "change-group": N_("Changed a group of devices"),
    "delete-group": N_("Deleted a group of devices"),
    "set-tags": N_("Changed the tags of a device"),
    "create-sitting": N_("Planned a sitting"),
    "open-sitting": N_("Opened a sitting"),
    "pause-sitting": N_("Paused a sitting"),
    "close-to-public-sitting": N_("Closed a sitting to the public"),
    "end-sitting": N_("Ended a sitting"),
    "cancel-sitting": N_("Cancelled a sitting"),
    "transcribe-recording": N_("Asked for a transcript again"),
    "put-seat": N_("Put somebody on a seat"),
    "import-seats": N_("Imported a list of seats"),
    "remove-seat": N_("Removed a seat"),
    "change-settings": N_("Changed the settings of a device"),
    "delete-twin": N_("Deleted the settings of a device"),
    "assign-update": N_("Ordered an update"),
    "cancel-update": N_("Cancelled an update"),
    "deliver-document": N_("Decided that a paper was delivered"),
    "void-document": N_("Decided that a paper was not delivered"),
    "waive-document": N_("Gave up a payment"),
    "tell-delay": N_("Told devices to wait for a maintenance"),
    "end-delay": N_("Ended a maintenance"),
    "note-document": N_("Took note of a document"),
}


def action_text(action: str) -> str | None:
    """The English text for `action`, to be translated; None for one that is not known here."""
    return ACTIONS.get(action)


SCOPES = {
    "status:read": N_("See the state of the fleet"),
    "devices:read": N_("See the devices"),
    "devices:write": N_("Acknowledge incidents, set hours off, announce a maintenance, change settings"),
    "enrolment:read": N_("See devices' certificates"),
    "enrolment:write": N_("Issue tokens, revoke devices, take them out of service"),
    "jobs:read": N_("See jobs and diagnostics"),
    "jobs:write": N_("Order and cancel jobs"),
    "updates:read": N_("See updates"),
    "updates:write": N_("Order and cancel updates"),
}


def scope_words(scope: str) -> str | None:
    """What a scope lets a program do, in English, to be translated; None for one that is not known here."""
    return SCOPES.get(scope)
