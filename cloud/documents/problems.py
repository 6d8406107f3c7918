"""Refusals of the documents API, each with its code of the contract and the HTTP status that goes with it."""

from cloud.errors import CloudError
from contract.documents import Problem

STATUS = {
    Problem.UNKNOWN_KIND: 422,
    Problem.UNKNOWN_SUBJECT: 422,
    Problem.NOT_IDENTIFIED: 403,
    Problem.VISIT_LOCKED: 403,
    Problem.NOTHING_TO_ISSUE: 409,
    Problem.NOT_ALLOWED: 403,
    Problem.PAYMENT_NOT_CONFIRMED: 402,
    Problem.WRONG_STATE: 409,
    Problem.REGISTRY_UNAVAILABLE: 503,
    Problem.PAYMENTS_UNAVAILABLE: 503,
    Problem.NOT_FOUND: 404,
    Problem.MALFORMED: 400,
}
SENTENCE = {
    Problem.UNKNOWN_KIND: "there is no such type of document; ask for one that the kiosk offers",
    Problem.UNKNOWN_SUBJECT: "this was not among what was offered; choose one of the subjects",
    Problem.NOT_IDENTIFIED: "nobody is identified by these values; read the document again",
    Problem.VISIT_LOCKED: "too many failed identifications; end this visit",
    Problem.NOTHING_TO_ISSUE: "nothing is recorded that such a paper could be about",
    Problem.NOT_ALLOWED: "the registry does not allow this person to ask about this subject",
    Problem.PAYMENT_NOT_CONFIRMED: "the payment service holds no such payment; pay again",
    Problem.WRONG_STATE: "the request's state does not allow this; get it and go on from its state",
    Problem.REGISTRY_UNAVAILABLE: "the registry does not answer; try again in a minute",
    Problem.PAYMENTS_UNAVAILABLE: "the payment service does not answer; try again in a minute",
    Problem.NOT_FOUND: "there is no such request from this kiosk",
    Problem.MALFORMED: "this cannot be understood; follow the contract",
}

assert set(STATUS) == set(SENTENCE) == set(Problem)


class DocumentProblemError(CloudError):
    """What was asked for is refused, for `problem`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(SENTENCE[problem])
        self.problem = problem

    @property
    def status(self) -> int:
        """The HTTP status that goes with it."""
        return STATUS[self.problem]
