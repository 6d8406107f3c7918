"""What enrolment's states and causes are called on pages."""

from cloud.enrolment.refusals import Cause
from cloud.web.languages import N_

KINDS = {"kiosk": N_("Kiosk"), "recorder": N_("Recorder")}
STATES = {
    "requested": N_("Requested"),
    "issued": N_("Issued"),
    "active": N_("Active"),
    "superseded": N_("Replaced"),
    "refused": N_("Refused"),
    "revoked": N_("Revoked"),
    "expired": N_("Expired"),
}
CHIPS = {
    "requested": "",
    "issued": "info",
    "active": "good",
    "superseded": "",
    "refused": "bad",
    "revoked": "bad",
    "expired": "warn",
}
CAUSES = {
    Cause.NO_CREDENTIALS.value: N_("No token was shown"),
    Cause.WRONG_TOKEN.value: N_("The token was wrong, used or too old"),
    Cause.BAD_REQUEST.value: N_("The request could not be understood"),
    Cause.WRONG_MEDIA_TYPE.value: N_("The request was sent in another form"),
    Cause.TOO_OFTEN.value: N_("Too many certificates within a day"),
    Cause.NO_CERTIFICATE.value: N_("No certificate was shown"),
    Cause.UNKNOWN_CERTIFICATE.value: N_("The certificate is of no device"),
    Cause.ENDED_CERTIFICATE.value: N_("The certificate had ended"),
}
