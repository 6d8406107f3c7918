"""Why a device is refused: the causes, how each is answered, and what is said."""

from enum import StrEnum


class Cause(StrEnum):
    """Why something was refused, as it is counted."""

    NO_CREDENTIALS = "no-credentials"
    WRONG_TOKEN = "wrong-token"  # noqa: S105 - a cause, no password
    BAD_REQUEST = "bad-request"
    ANOTHER_DEVICE = "another-device"
    WRONG_MEDIA_TYPE = "wrong-media-type"
    TOO_OFTEN = "too-often"
    BUSY = "busy"
    NO_CERTIFICATE = "no-certificate"
    FOREIGN_CERTIFICATE = "foreign-certificate"
    UNKNOWN_CERTIFICATE = "unknown-certificate"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED_CERTIFICATE = "expired-certificate"
    REVOKED_CERTIFICATE = "revoked-certificate"
    SUPERSEDED_CERTIFICATE = "superseded-certificate"
    OUT_OF_SERVICE = "out-of-service"


STATUS = {
    Cause.NO_CREDENTIALS: 401,
    Cause.WRONG_TOKEN: 403,
    Cause.BAD_REQUEST: 400,
    Cause.ANOTHER_DEVICE: 403,
    Cause.WRONG_MEDIA_TYPE: 415,
    Cause.TOO_OFTEN: 429,
    Cause.BUSY: 503,
    Cause.NO_CERTIFICATE: 403,
    Cause.FOREIGN_CERTIFICATE: 403,
    Cause.UNKNOWN_CERTIFICATE: 403,
    Cause.NOT_YET_VALID: 403,
    Cause.EXPIRED_CERTIFICATE: 403,
    Cause.REVOKED_CERTIFICATE: 403,
    Cause.SUPERSEDED_CERTIFICATE: 409,
    Cause.OUT_OF_SERVICE: 403,
}
"""HTTP status of each cause."""

RETRY_AFTER_S = {Cause.TOO_OFTEN: 900, Cause.BUSY: 15}
"""When to ask again, for those causes that pass by themselves; devices add a wait by chance."""

SAYS = {
    Cause.NOT_YET_VALID: "the certificate of {device} is not valid yet; look at the server's clock",
    Cause.EXPIRED_CERTIFICATE: "the certificate of {device} has expired; renew it at the bootstrap listener, "
    "or enrol the device again with a new token",
    Cause.REVOKED_CERTIFICATE: "the certificate of {device} was revoked; use the one that was proven after "
    "it, or enrol the device again with a new token",
    Cause.OUT_OF_SERVICE: "{device} was taken out of service; an operator must take it back first",
}
"""What a device with a certificate of ours is told."""
