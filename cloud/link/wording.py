"""The words of the link's pages, marked for translation."""

from cloud.web.languages import N_
from contract.link import Why
from contract.messages import Lane

LANES = {
    Lane.EVENTS: N_("Events"),
    Lane.TELEMETRY: N_("Measurements"),
    Lane.LIVE: N_("Live captions"),
}
WHY = {
    Why.ROWS: N_("too many messages waited on the device"),
    Why.BYTES: N_("they took too much room on the device"),
    Why.AGE: N_("they were too old to be worth sending"),
    Why.DISK: N_("the device's disk was full"),
    Why.CLOCK: N_("nobody knew what time it was"),
}

assert set(WHY) == set(Why)
