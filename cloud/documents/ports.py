"""What documents need from outside; each has one fake in tests/ports and one suite for fake and real."""

from dataclasses import dataclass
from typing import Any, Protocol

from cloud.documents.records import Record
from contract.documents import Identification, Subject, Whom


@dataclass(frozen=True)
class Permission:
    """The registry's answer to who may ask for what; `reason` is its code for why, or why not."""

    allowed: bool
    reason: str


@dataclass(frozen=True)
class Authorisation:
    """One payment, as the payment service knows it; while `state` is `authorised` the money is held."""

    authorisation: str
    reference: str
    amount_cents: int
    state: str


class Registry(Protocol):
    """The city's registries behind one door.

    Everything raises UnavailableError when they do not answer or answer nonsense.
    """

    def identify(self, identification: Identification, *, purpose: str, audit: str) -> str | None:
        """The registry's opaque id of the person, None where the three values do not belong together."""

    def subjects(self, person: str, kind: str, whom: Whom | None) -> list[Subject]:
        """What the person may have a paper of `kind` about, for `whom`; for everybody where that is None."""

    def may_request(self, requester: str, subject: str, kind: str) -> Permission:
        """Whether `requester` may have a paper of `kind` about `subject`."""

    def record(self, subject: str, kind: str) -> Record:
        """What is written there.

        Raises:
            RefusedError: there is no such entry.
        """


class Payments(Protocol):
    """The payment service. Everything raises UnavailableError when it does not answer or answers nonsense."""

    def authorisation(self, authorisation: str) -> Authorisation | None:
        """What is held under that id; None where there is none."""

    def last_for(self, reference: str) -> Authorisation | None:
        """The last authorisation under that reference, whatever became of it; None where there is none."""

    def capture(self, authorisation: str, key: str) -> None:
        """Take the money; the same `key` takes it once.

        Raises:
            RefusedError: the authorisation is void or unknown, and no repetition will help.
        """

    def void(self, authorisation: str, key: str) -> None:
        """Give the money back; doing it again changes nothing.

        Raises:
            RefusedError: the money was captured, or the authorisation is unknown.
        """


class Render(Protocol):
    """Sets a page in type."""

    def __call__(self, template: str, data: dict[str, Any]) -> bytes:
        """The PDF; the same bytes for the same data. Raises RefusedError when it cannot be set."""


class Sealer(Protocol):
    """Seals a PDF."""

    def __call__(self, pdf: bytes) -> bytes:
        """The sealed PDF. Raises RefusedError when it cannot be sealed."""


class OfferPrint(Protocol):
    """Makes the print job; `cloud.wiring.documents` gives it."""

    def __call__(self, device: str, document: str, sha256: str, size: int, timeout_s: float) -> str:
        """The job's id, the same for the same document. Raises RefusedError when there can be none."""
