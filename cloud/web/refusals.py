"""Why messages and uploads are refused, in the words of pages, marked for translation."""

from cloud.refusals import Reason
from cloud.web.languages import N_

_MESSAGES = {
    Reason.FOREIGN: N_("from a device that is not registered"),
    Reason.OVERSIZED: N_("too large"),
    Reason.NOT_AN_ENVELOPE: N_("not in the agreed form"),
    Reason.VERSION: N_("of a later version of the contract; update the control plane"),
    Reason.WRONG_LANE: N_("sent on the wrong lane"),
    Reason.MALFORMED: N_("with wrong contents"),
    Reason.REFUSED: N_("not allowed in its state"),
    Reason.HANDLER_FAILED: N_("set aside after an error of ours"),
    Reason.BEYOND: N_("too far ahead of what is missing"),
    Reason.EXCESS: N_("more at once than a device may send"),
    Reason.FOREIGN_TOPIC: N_("by the broker: on a topic of another device"),
    Reason.UNKNOWN_TOPIC: N_("by the broker: on a topic that devices may not write"),
    Reason.FOREIGN_FILTER: N_("by the broker: subscriptions to what is not its own"),
    Reason.BROKEN_PACKET: N_("by the broker: packets that break the protocol"),
    Reason.BAD_CERTIFICATE: N_("by the broker: connections without a good certificate"),
}
_UPLOADS = {
    "upload-corrupt": N_("uploads that came damaged"),
    "upload-not-yours": N_("uploads of a sitting in another hall"),
    "upload-different": N_("uploads that were announced differently before"),
    "upload-no-room": N_("uploads without room on the server"),
    "upload-too-many": N_("too many uploads at once"),
    "upload-too-large": N_("uploads that were larger than announced"),
    "upload-malformed": N_("uploads not in the agreed form"),
    "upload-version": N_("uploads in another version of the protocol"),
}
"""By the codes of `contract.recordings.UploadProblem`."""
REASONS: dict[str, str] = _MESSAGES | _UPLOADS
"""By what is counted; a reason that is not here is shown as it is."""

assert set(_MESSAGES) == set(Reason)
