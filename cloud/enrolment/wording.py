"""What enrolment's states and causes are called on pages."""

from cloud.enrolment.causes import Cause
from cloud.enrolment.drops import Trouble
from cloud.enrolment.ends import What
from cloud.web.languages import N_

KINDS = {"kiosk": N_("Kiosk"), "recorder": N_("Recorder")}
STATES = {
    "requested": N_("Requested"),
    "issued": N_("Issued"),
    "trial": N_("On trial"),
    "active": N_("Active"),
    "superseded": N_("Replaced"),
    "refused": N_("Refused"),
    "revoked": N_("Revoked"),
    "expired": N_("Expired"),
}
CHIPS = {
    "requested": "",
    "issued": "info",
    "trial": "info",
    "active": "good",
    "superseded": "",
    "refused": "bad",
    "revoked": "bad",
    "expired": "warn",
}
STANDINGS = {
    "present": N_("Signs"),
    "former": N_("Still trusted"),
    "distrusted": N_("Trusted no more"),
}
STANDING_CHIPS = {"present": "good", "former": "info", "distrusted": "bad"}
WARNINGS = {
    What.ISSUER.value: N_(
        "%(name)s signs for %(days)s days more. Have the root's key brought to the server, and run "
        "%(command)s there, or %(other)s for a new key."
    ),
    What.ROOT.value: N_(
        "%(name)s, which every device trusts, ends on %(date)s, and nothing that it vouches for lives "
        "longer. Devices cannot be given another one from here: before that day begin a new data folder, "
        "and enrol every device anew."
    ),
    What.SERVERS.value: N_(
        "The certificate %(name)s of this platform ends on %(date)s; then devices or papers are refused. Run "
        "%(command)s on the server, and restart the broker, the control plane and the ingest."
    ),
    What.REVOCATIONS.value: N_(
        "The list of what %(name)s has revoked is good until %(date)s; then the broker takes no device. It "
        "should have been signed anew long before: look whether the disk is full, and restart the control "
        "plane."
    ),
}
BY = {"token": N_("Token"), "renewal": N_("Renewal")}
ENDS = {
    "superseded": N_("another was proven"),
    "unproven": N_("never proven, and one too many"),
    "operator": N_("by staff"),
    "decommissioned": N_("taken out of service"),
    "expired": N_("its time was over"),
}
TROUBLES = {
    Trouble.NONE.value: N_("It is being shut out: the broker is about to close its connection."),
    Trouble.UNREACHABLE.value: N_(
        "It may still be connected: the broker cannot be reached. Its certificates stay revoked, and closing "
        "the connection is tried again. Look whether the broker runs."
    ),
    Trouble.NOT_RELOADED.value: N_(
        "It may come back: its connection was closed, but the broker has not read the new list of revoked "
        "certificates. It is tried again. If this stays, have the broker reload its configuration."
    ),
    Trouble.WITHOUT_CERTIFICATES.value: N_(
        "It may still be connected: this broker asks for no certificates, as in a demonstration on one "
        "machine, and nobody can be shut out of it. Switch the device off."
    ),
}
CAUSES = {
    Cause.NO_CREDENTIALS.value: N_("No token was shown"),
    Cause.WRONG_TOKEN.value: N_("The token was wrong, used or too old"),
    Cause.BAD_REQUEST.value: N_("The request could not be understood"),
    Cause.ANOTHER_DEVICE.value: N_("The request was for another device"),
    Cause.WRONG_MEDIA_TYPE.value: N_("The request was sent in another form"),
    Cause.TOO_OFTEN.value: N_("Too many certificates within a day"),
    Cause.BUSY.value: N_("Too many asked at once"),
    Cause.NO_CERTIFICATE.value: N_("No certificate was shown"),
    Cause.FOREIGN_CERTIFICATE.value: N_("The certificate was of a foreign authority"),
    Cause.UNKNOWN_CERTIFICATE.value: N_("The certificate is of no device"),
    Cause.NOT_YET_VALID.value: N_("The certificate was not valid yet"),
    Cause.EXPIRED_CERTIFICATE.value: N_("The certificate had expired"),
    Cause.REVOKED_CERTIFICATE.value: N_("The certificate was revoked"),
    Cause.SUPERSEDED_CERTIFICATE.value: N_("Another certificate had been proven"),
    Cause.OUT_OF_SERVICE.value: N_("The device was taken out of service"),
    "ended-certificate": N_("The certificate had ended"),
}
"""The last one was counted by earlier releases."""

assert set(WARNINGS) == set(What)
