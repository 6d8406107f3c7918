"""How a device becomes a member: names, paths and the life of its certificate."""

import re

from contract.errors import MalformedError
from contract.lifecycle import Machine

EST_PREFIX = "/.well-known/est"
"""RFC 7030, section 3.2.2."""
PROVEN_PATH = "/api/v1/enrolment/proven"
"""On the device listener: `POST`, empty, with the new certificate, once the broker has taken it: 204."""
REVOKED_PATH = "/crl.pem"
"""On the bootstrap listener: the lists of revoked certificates of issuing authorities and root, PEM."""
BACKDATED_S = 86_400
"""`notBefore` lies so far before the moment of issue, so that a clock that is behind takes its certificate.

A certificate's life, of which two thirds are used before it is renewed, begins this long after `notBefore`.
"""
RETRY_AFTER_MAX_S = 900.0
"""A device that is told when to ask again (`Retry-After`) keeps to it, but to no more than this."""
KINDS = ("kiosk", "recorder")

_DEVICE_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

CERTIFICATE = Machine(
    "certificate",
    "requested",
    {
        "requested": {"issue": "issued", "refuse": "refused"},
        "issued": {"connect": "trial", "supersede": "superseded", "revoke": "revoked", "expire": "expired"},
        "trial": {"prove": "active", "supersede": "superseded", "revoke": "revoked", "expire": "expired"},
        "active": {"supersede": "superseded", "revoke": "revoked", "expire": "expired"},
        "superseded": {"revoke": "revoked", "expire": "expired"},
        "refused": {},
        "revoked": {},
        "expired": {},
    },
)
"""One that is not proven (`issued`, `trial`) ends no other; one that is proven ends all others."""


def device_id(text: str) -> str:
    """`text`, if it can be a device's id: a DNS label (RFC 1123), in lower case.

    Raises:
        MalformedError: it cannot.
    """
    if not _DEVICE_ID.fullmatch(text):
        raise MalformedError(f"{text!r:.80} is no device id: 1 to 63 of a-z, 0-9 and '-', not at the ends")
    return text
