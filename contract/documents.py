"""The life of a document request, and what a kiosk says of its printing."""

from enum import StrEnum
from typing import Literal

import msgspec

from contract.lifecycle import Machine

DOCUMENT = Machine(
    "document request",
    "requested",
    {
        "requested": {"identify": "identified", "refuse": "refused", "expire": "expired", "fail": "failed"},
        "identified": {
            "price": "priced",
            "refuse": "refused",
            "expire": "expired",
            "fail": "failed",
            "void": "voided",
        },
        "priced": {
            "authorise": "authorised",
            "refuse": "refused",
            "expire": "expired",
            "void": "voided",
            "fail": "failed",
        },
        "authorised": {"render": "rendered", "void": "voided", "fail": "failed"},
        "rendered": {"seal": "sealed", "void": "voided", "fail": "failed"},
        "sealed": {"offer": "offered", "void": "voided", "fail": "failed"},
        "offered": {
            "print": "printing",
            "deliver": "delivered",
            "doubt": "in_doubt",
            "void": "voided",
            "fail": "failed",
        },
        "printing": {"deliver": "delivered", "doubt": "in_doubt", "fail": "failed"},
        "in_doubt": {"deliver": "delivered", "void": "voided"},
        "delivered": {"capture": "captured", "miss-capture": "uncollected"},
        "uncollected": {"capture": "captured", "waive": "closed"},
        "captured": {"close": "closed"},
        "closed": {},
        "refused": {},
        "failed": {},
        "expired": {},
        "voided": {},
    },
)
"""`in_doubt` is left by a person who has the printer's evidence before them, or by late evidence itself.

`fail` from `printing` needs evidence that no paper came out; without evidence it is `doubt`.
A document that fails or is voided after `authorised` has its payment released.
"""


class Kind(StrEnum):
    """Document types; rules, fees and wording of each are data on the cloud's side."""

    POSSESSION_SHEET = "possession-sheet"
    BIRTH_CERTIFICATE = "birth-certificate"


class Whom(StrEnum):
    """For whom the paper is; whether that person may have it is the registry's word.

    Who comes with a power of attorney goes to the counter, and no request is made.
    """

    MYSELF = "myself"
    CHILD = "child"
    SPOUSE = "spouse"


class PrintOutcome(StrEnum):
    """What the kiosk knows of the paper."""

    PRINTING = "printing"
    PRINTED = "printed"
    NOT_PRINTED = "not-printed"
    IN_DOUBT = "in-doubt"


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Body of `evidence`, a `must` event, accepted after any state of the job.

    `ipp_job_state` is RFC 8011's job-state (9 is completed); `reasons` are its job-state-reasons;
    `sheets` is what the printer counted, where it counts.
    """

    document: str
    job: str
    outcome: PrintOutcome
    ipp_job_id: int | None = None
    ipp_job_state: int | None = None
    reasons: list[str] = []
    sheets: int | None = None


class PrintJob(msgspec.Struct, frozen=True, kw_only=True):
    """The job document of a print job: ids only; the paper itself comes by HTTPS."""

    operation: Literal["print-document"] = "print-document"
    document: str
    sha256: str
    size: int


class Identification(msgspec.Struct, frozen=True, kw_only=True):
    """What a document reader saw; a personal number alone opens nothing. `date_of_birth` is ISO 8601."""

    personal_number: str
    document_number: str
    date_of_birth: str


class NewRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`POST /api/v1/documents` on the device listener.

    `document` is the kiosk's UUIDv7 and makes it idempotent; `language` is one of
    `contract.languages.LANGUAGES`; `visit` is an opaque id for the limit on failed identifications. `whom`
    narrows what is offered; a kiosk that does not send it is offered everything that the citizen may have.
    """

    document: str
    visit: str
    kind: str
    language: str
    identification: Identification
    whom: Whom | None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /api/v1/documents/{document}/subject`: which of the offered subjects the paper is about."""

    subject: str


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /api/v1/documents/{document}/payment`: the terminal's authorisation; empty where it is free."""

    authorisation: str


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a document can be about, such as a possession list or a person's birth."""

    subject: str
    label: str


class PreviewRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of what the paper will say, shown before the citizen pays."""

    label: str
    value: str


class View(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to each of the requests above and to `GET /api/v1/documents/{document}`."""

    document: str
    kind: str
    state: str
    subjects: list[Subject] = []
    preview: list[PreviewRow] = []
    price_cents: int | None = None
    serial: str | None = None
    problem: str | None = None


class Problem(StrEnum):
    """`code` of a problem document (RFC 9457) of the documents API, and `problem` of a `View`."""

    UNKNOWN_KIND = "unknown-kind"
    UNKNOWN_SUBJECT = "unknown-subject"
    NOT_IDENTIFIED = "not-identified"
    VISIT_LOCKED = "visit-locked"
    NOTHING_TO_ISSUE = "nothing-to-issue"
    NOT_ALLOWED = "not-allowed"
    PAYMENT_NOT_CONFIRMED = "payment-not-confirmed"
    WRONG_STATE = "wrong-state"
    REGISTRY_UNAVAILABLE = "registry-unavailable"
    PAYMENTS_UNAVAILABLE = "payments-unavailable"
    NOT_FOUND = "not-found"
    MALFORMED = "malformed"


IDENTIFICATIONS_FAILED_MAX = 5
"""Failed identifications lock the visit, not the person."""
