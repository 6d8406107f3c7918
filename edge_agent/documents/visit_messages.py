"""What can happen in a visit, and what it can ask for: the events and effects of `visit.py`."""

from dataclasses import dataclass

from contract.documents import Identification, PrintOutcome, View
from edge_agent.documents.screen import Notice, Reason, Whom
from edge_agent.documents.terminal import CardState

# Events: the citizen's.


@dataclass(frozen=True)
class LanguagePressed:
    """A language; on the first screen it begins the visit `visit`."""

    language: str
    visit: str


@dataclass(frozen=True)
class KindPressed:
    """A type of document."""

    kind: str


@dataclass(frozen=True)
class WhomPressed:
    """For whom."""

    whom: Whom


@dataclass(frozen=True)
class SubjectPressed:
    """What the paper is about."""

    subject: str


@dataclass(frozen=True)
class PayPressed:
    """Pay, or take a free paper."""


@dataclass(frozen=True)
class BackPressed:
    """One step back; `document` is the id for a new request, where going back needs one."""

    document: str


@dataclass(frozen=True)
class AgainPressed:
    """Ask again what was not answered."""


@dataclass(frozen=True)
class CancelPressed:
    """Give the visit up."""


@dataclass(frozen=True)
class MoreTimePressed:
    """I need more time."""


@dataclass(frozen=True)
class FinishPressed:
    """The last screen was read."""


@dataclass(frozen=True)
class SlipPressed:
    """Print the slip for the counter."""


# Events: the world's. Answers carry the document that they are about: one that is gone is ignored.


@dataclass(frozen=True)
class DocumentRead:
    """An identity document was read; `document` is the id for the request that follows."""

    identification: Identification
    document: str


@dataclass(frozen=True)
class DocumentMisread:
    """A document could not be read, or has expired."""

    notice: Notice


@dataclass(frozen=True)
class ReaderLost:
    """The document reader is gone."""


@dataclass(frozen=True)
class Viewed:
    """The cloud's answer."""

    document: str
    view: View


@dataclass(frozen=True)
class Refused:
    """The cloud refused, by `contract.documents.Problem` or another word."""

    document: str
    code: str


@dataclass(frozen=True)
class Unanswered:
    """The cloud did not answer, or cannot now."""

    document: str


@dataclass(frozen=True)
class CardAnswered:
    """The terminal's answer."""

    document: str
    state: CardState
    authorisation: str


@dataclass(frozen=True)
class TerminalLost:
    """The terminal does not answer, or refuses."""

    document: str


@dataclass(frozen=True)
class NotKept:
    """`Claim` could not be written; the effects behind it were left undone."""

    document: str


@dataclass(frozen=True)
class PaperMoved:
    """The kiosk's own print operation has told something of a paper."""

    document: str
    outcome: PrintOutcome


@dataclass(frozen=True)
class ReceiptEnded:
    """The receipt or slip came out, or did not."""

    visit: str
    printed: bool


@dataclass(frozen=True)
class Readiness:
    """Whether the printer could print now and the cloud could be reached.

    `connected`, and there is room to keep what the printer will say. `busy` with an earlier paper;
    `updating`: the agent is being exchanged, and no visit may begin.
    """

    printer: Reason | None
    connected: bool
    busy: bool = False
    updating: bool = False


@dataclass(frozen=True)
class TimePassed:
    """The deadline has come."""


Event = (
    LanguagePressed
    | KindPressed
    | WhomPressed
    | SubjectPressed
    | PayPressed
    | BackPressed
    | AgainPressed
    | CancelPressed
    | MoreTimePressed
    | FinishPressed
    | SlipPressed
    | DocumentRead
    | DocumentMisread
    | ReaderLost
    | Viewed
    | Refused
    | Unanswered
    | CardAnswered
    | TerminalLost
    | NotKept
    | PaperMoved
    | ReceiptEnded
    | Readiness
    | TimePassed
)
PRESSES = (
    LanguagePressed,
    KindPressed,
    WhomPressed,
    SubjectPressed,
    PayPressed,
    BackPressed,
    AgainPressed,
    CancelPressed,
    MoreTimePressed,
    FinishPressed,
    SlipPressed,
)

# Effects.


@dataclass(frozen=True)
class Listen:
    """Open the document reader; answered by `DocumentRead`, `DocumentMisread` or `ReaderLost`, many times."""


@dataclass(frozen=True)
class Deafen:
    """Close the document reader."""


@dataclass(frozen=True)
class Create:
    """Ask the cloud for a document; as the next three, answered by `Viewed`, `Refused` or `Unanswered`."""

    document: str
    visit: str
    kind: str
    language: str
    identification: Identification
    whom: Whom


@dataclass(frozen=True)
class Choose:
    """Tell the cloud what it is about."""

    document: str
    subject: str


@dataclass(frozen=True)
class Confirm:
    """Give the cloud the authorisation."""

    document: str
    authorisation: str


@dataclass(frozen=True)
class Look:
    """Ask how far it is."""

    document: str


@dataclass(frozen=True)
class Claim:
    """Write the payment down; durable before the next effect, else `NotKept`."""

    document: str
    authorisation: str = ""


@dataclass(frozen=True)
class Authorise:
    """Ask the terminal for a card; answered by `CardAnswered` or `TerminalLost`."""

    document: str
    amount_cents: int


@dataclass(frozen=True)
class Settled:
    """The payment is the cloud's affair, or there is none: strike the claim out."""

    document: str


@dataclass(frozen=True)
class Release:
    """Give the request up at the cloud, take the question off the terminal, let go of held money; goes on
    after the visit until it is done."""

    document: str


@dataclass(frozen=True)
class PrintReceipt:
    """Answered by `ReceiptEnded`."""

    visit: str
    kind: str
    language: str
    serial: str
    amount_cents: int


@dataclass(frozen=True)
class PrintSlip:
    """Answered by `ReceiptEnded`."""

    visit: str
    kind: str
    language: str
    whom: Whom


@dataclass(frozen=True)
class Forget:
    """The visit is over: drop what the runner remembers of it, and its token."""


Effect = (
    Listen
    | Deafen
    | Create
    | Choose
    | Confirm
    | Look
    | Claim
    | Authorise
    | Settled
    | Release
    | PrintReceipt
    | PrintSlip
    | Forget
)
