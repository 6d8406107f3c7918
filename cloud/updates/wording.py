"""The words of the updates pages, marked for translation; codes come from the contract."""

from cloud.web.languages import N_
from contract.updates import UPDATE, Component, UpdateCode

COMPONENTS = {Component.AGENT: N_("Agent"), Component.FIRMWARE: N_("Firmware of the I/O board")}
STATES = {
    "assigned": N_("Assigned"),
    "downloading": N_("Being downloaded"),
    "verified": N_("Verified"),
    "staged": N_("Staged"),
    "waiting": N_("Waiting for a free device"),
    "activating": N_("Being activated"),
    "trial": N_("On trial"),
    "committed": N_("Committed"),
    "rolled_back": N_("Rolled back"),
    "failed": N_("Not applied"),
}
CHIPS = {
    "assigned": "info",
    "downloading": "info",
    "verified": "info",
    "staged": "info",
    "waiting": "warn",
    "activating": "info",
    "trial": "info",
    "committed": "good",
    "rolled_back": "bad",
    "failed": "bad",
}
"""The look of each state; the words carry the meaning."""
CODES = {
    UpdateCode.ALREADY_RUNNING: N_("This version runs already."),
    UpdateCode.CANCELLED: N_("It was cancelled."),
    UpdateCode.SUPERSEDED: N_("A newer assignment has taken its place."),
    UpdateCode.DOWNGRADE: N_("A newer version runs. Allow an older version expressly if you mean it."),
    UpdateCode.NO_SUCH_COMPONENT: N_("The device has no such part."),
    UpdateCode.NOT_SET_UP: N_("The device trusts no repository of updates. Set it up first."),
    UpdateCode.UNREACHABLE: N_("The repository is not reached. The device tries again by itself."),
    UpdateCode.UNKNOWN_TARGET: N_("The repository's keys do not vouch for this target. Publish it first."),
    UpdateCode.METADATA_EXPIRED: N_("The repository's signatures have expired. Sign it anew and publish it."),
    UpdateCode.METADATA_ROLLED_BACK: N_(
        "The repository is older than what the device has seen. Publish the newest again."
    ),
    UpdateCode.METADATA_UNDER_SIGNED: N_("Too few keys have signed. Sign it with all keys of the role."),
    UpdateCode.METADATA_BROKEN: N_("The repository's metadata is damaged. Publish it anew."),
    UpdateCode.TARGET_TAMPERED: N_(
        "The file is not what was signed. Publish it anew, and look who changed it."
    ),
    UpdateCode.TARGET_TOO_LARGE: N_("The file is larger than was signed. Publish it anew."),
    UpdateCode.IMAGE_REFUSED: N_(
        "The device does not take this image. Build it for this device and sign it."
    ),
    UpdateCode.DEVICE_BUSY: N_("The device is in use. The update goes on when it is free."),
    UpdateCode.UNAVAILABLE: N_("Something on the device does not answer. It tries again by itself."),
    UpdateCode.SELF_TEST_FAILED: N_("The new version's self-test failed, so the version before runs again."),
    UpdateCode.NO_ANSWER: N_("The new version gave no answer, so the version before was asked to run again."),
    UpdateCode.NO_LINK: N_("The new version had no connection, so the version before runs again."),
    UpdateCode.TOO_MANY_ATTEMPTS: N_("It was tried too often, so the version before runs again."),
    UpdateCode.LOST_TRACK: N_("The device did not know where it stood, so the version before runs again."),
    UpdateCode.NOT_TAKEN: N_("The device has not taken the assignment. Assign it again."),
}
"""Why it stands where it stands."""
KINDS = {"kiosk": N_("On all kiosks"), "recorder": N_("On all recorders"), "all": N_("On all devices")}

assert set(STATES) == set(CHIPS) == set(UPDATE.states)
assert set(CODES) | {UpdateCode.NONE} == set(UpdateCode)
assert set(COMPONENTS) == set(Component)
