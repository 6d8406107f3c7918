"""The words of the staff's page of documents, marked for translation; codes come from the core."""

from cloud.documents.core import Attention, Reason
from cloud.web.languages import N_
from contract.documents import DOCUMENT, Kind, PrintOutcome, Problem

STATES = {
    "requested": N_("Requested"),
    "identified": N_("Identified"),
    "priced": N_("Waiting for payment"),
    "authorised": N_("Paid"),
    "rendered": N_("Set in type"),
    "sealed": N_("Sealed"),
    "offered": N_("Offered to the kiosk"),
    "printing": N_("Printing"),
    "in_doubt": N_("In doubt"),
    "delivered": N_("Delivered"),
    "uncollected": N_("Payment outstanding"),
    "captured": N_("Payment taken"),
    "closed": N_("Closed"),
    "refused": N_("Refused"),
    "failed": N_("Not printed"),
    "expired": N_("Expired"),
    "voided": N_("Cancelled"),
}
CHIPS = {
    "in_doubt": "bad",
    "uncollected": "warn",
    "failed": "warn",
    "printing": "info",
    "offered": "info",
    "delivered": "good",
    "captured": "good",
    "closed": "good",
}
KINDS = {
    Kind.POSSESSION_SHEET.value: N_("Possession sheet"),
    Kind.BIRTH_CERTIFICATE.value: N_("Birth certificate"),
}
ATTENTION = {
    Attention.PAPER_AFTER_END.value: N_(
        "The printer reported a paper after the request had ended and the money had gone back."
    ),
    Attention.NO_PAPER_AFTER_DELIVERY.value: N_(
        "The printer reported that there is no paper after it had counted as delivered."
    ),
    Attention.PAYMENT_NOT_CAPTURED.value: N_("The payment service refuses to take the payment."),
    Attention.PAYMENT_NOT_RELEASED.value: N_("The payment service refuses to give the payment back."),
}
REASONS = {
    Reason.CANCELLED.value: N_("cancelled at the kiosk"),
    Reason.NOT_RENDERED.value: N_("could not be set in type"),
    Reason.NOT_SEALED.value: N_("could not be sealed"),
    Reason.NOT_OFFERED.value: N_("the kiosk could not be asked to print"),
    Reason.NOT_STARTED.value: N_("the kiosk never began to print"),
    Reason.NOT_PRINTED.value: N_("the printer printed nothing"),
    Reason.DECIDED.value: N_("decided by staff"),
    Problem.NOT_IDENTIFIED.value: N_("not identified"),
    Problem.VISIT_LOCKED.value: N_("too many failed identifications"),
    Problem.NOTHING_TO_ISSUE.value: N_("nothing is recorded"),
    Problem.NOT_ALLOWED.value: N_("not allowed by the registry"),
}
OUTCOMES = {
    PrintOutcome.PRINTING.value: N_("printing has begun"),
    PrintOutcome.PRINTED.value: N_("printed"),
    PrintOutcome.NOT_PRINTED.value: N_("not printed"),
    PrintOutcome.IN_DOUBT.value: N_("the kiosk does not know"),
}
JOB_STATES = {
    3: N_("waiting in the printer"),
    4: N_("held"),
    5: N_("being printed"),
    6: N_("stopped"),
    7: N_("cancelled at the printer"),
    8: N_("aborted"),
    9: N_("completed"),
}
"""RFC 8011, section 5.3.7: job-state."""

assert set(STATES) == set(DOCUMENT.states)
assert set(ATTENTION) == set(Attention)
assert set(OUTCOMES) == set(PrintOutcome)
assert set(KINDS) == set(Kind)
assert set(REASONS) >= set(Reason)
