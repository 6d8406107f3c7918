"""The steps of a visit, their table, and what the page shows of each."""

from dataclasses import dataclass
from enum import StrEnum

from contract.documents import PreviewRow, Subject
from contract.lifecycle import Machine

Instant = float
"""Seconds of a clock that never goes back."""

_LEAVE = {"cancel": "cancelled", "fail": "failed", "leave": "welcome"}
_END = {"finish": "welcome", "leave": "welcome"}
VISIT = Machine(
    "visit",
    "welcome",
    {
        "welcome": {"begin": "kinds"},
        "kinds": {"choose": "whom", **_LEAVE},
        "whom": {"myself": "identify", "other": "counter", "back": "kinds", **_LEAVE},
        "identify": {"read": "checking", "back": "whom", **_LEAVE},
        "checking": {
            "identified": "subjects",
            "single": "pricing",
            "unknown": "identify",
            "lock": "locked",
            "hang": "trouble",
            **_LEAVE,
        },
        "subjects": {"choose": "pricing", **_LEAVE},
        "pricing": {"priced": "preview", "hang": "trouble", **_LEAVE},
        "trouble": {"again-identify": "checking", "again-choose": "pricing", **_LEAVE},
        "preview": {"pay": "paying", "free": "confirming", "back": "checking", **_LEAVE},
        "paying": {
            "authorised": "confirming",
            "declined": "preview",
            "cancel": "cancelled",
            "fail": "failed",
        },
        "confirming": {"confirmed": "printing", "fail": "failed", "doubt": "doubt"},
        "printing": {"deliver": "done", "fail": "failed", "doubt": "doubt"},
        "counter": _END,
        "cancelled": _END,
        "locked": _END,
        "failed": _END,
        "done": _END,
        "doubt": {"deliver": "done", **_END},
    },
)
"""`leave`: nobody has touched the screen for the idle time. After `confirming` nothing is cancelled."""


class Step(StrEnum):
    """States of `VISIT`."""

    WELCOME = "welcome"
    KINDS = "kinds"
    WHOM = "whom"
    COUNTER = "counter"
    IDENTIFY = "identify"
    CHECKING = "checking"
    SUBJECTS = "subjects"
    PRICING = "pricing"
    TROUBLE = "trouble"
    PREVIEW = "preview"
    PAYING = "paying"
    CONFIRMING = "confirming"
    PRINTING = "printing"
    DONE = "done"
    CANCELLED = "cancelled"
    LOCKED = "locked"
    FAILED = "failed"
    DOUBT = "doubt"


class Reason(StrEnum):
    """Why the kiosk is out of service, or a visit failed."""

    PAPER = "paper"
    PRINTER = "printer"
    LINK = "link"
    BUSY = "busy"
    UPDATE = "update"
    READER = "reader"
    TERMINAL = "terminal"
    REGISTRY = "registry"
    NOTHING_TO_ISSUE = "nothing-to-issue"
    NOT_ALLOWED = "not-allowed"
    NOT_PAID = "not-paid"
    NOT_PRINTED = "not-printed"
    INTERNAL = "internal"


class Notice(StrEnum):
    """What the present step says beside its question."""

    MISREAD = "misread"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    DECLINED = "declined"
    CARD_TIMEOUT = "card-timeout"


class Whom(StrEnum):
    """For whom the document is; only the first goes on here, the others need a counter."""

    MYSELF = "myself"
    CHILD = "child"
    SPOUSE = "spouse"
    PROXY = "proxy"


class ReceiptState(StrEnum):
    """What became of the receipt."""

    NONE = "none"
    WAITING = "waiting"
    PRINTING = "printing"
    PRINTED = "printed"
    MISSING = "missing"


@dataclass(frozen=True)
class Screen:
    """What the page shows; names and numbers of a person are only in `subjects` and `preview`.

    `blocked`: out of service, and why. `spoken`: the language of the request, and so of `subjects` and
    `preview`. `code`: what the citizen can say at the counter. `cut_off`: the cloud does not answer now.
    `confirmed`: the cloud has the payment. `choice`: there is more than one subject. `ends_at`: when an
    untouched visit ends, `warning` whether that is to be counted down.
    """

    step: Step
    language: str
    blocked: Reason | None
    kind: str
    whom: Whom | None
    spoken: str
    subjects: tuple[Subject, ...]
    preview: tuple[PreviewRow, ...]
    price_cents: int | None
    serial: str | None
    code: str
    tries_left: int
    notice: Notice | None
    reason: Reason | None
    at_printer: bool
    cut_off: bool
    confirmed: bool
    receipt: ReceiptState
    slip_printed: bool | None
    choice: bool
    ends_at: Instant | None
    warning: bool
