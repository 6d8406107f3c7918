"""What the kiosk says beside its templates: names of documents, and what to bring to the counter.

`_` is the translator of a language; rules and fees are the cloud's.
"""

from collections.abc import Callable

from contract.documents import Kind
from edge_agent.documents.screen import Whom

Translate = Callable[[str], str]


def kind_name(kind: str, _: Translate) -> str:
    """The name of a type of document."""
    return {
        Kind.POSSESSION_SHEET.value: _("Certificate of ownership (possession sheet)"),
        Kind.BIRTH_CERTIFICATE.value: _("Birth certificate"),
    }[kind]


def kind_about(kind: str, _: Translate) -> str:
    """What a type of document says, for whoever does not know its name."""
    return {
        Kind.POSSESSION_SHEET.value: _("What is recorded about your land and buildings"),
        Kind.BIRTH_CERTIFICATE.value: _("What the register of births says of you or your minor child"),
    }[kind]


def subject_question(kind: str, _: Translate) -> str:
    """The question when there is more than one thing that the document can be about."""
    return {
        Kind.POSSESSION_SHEET.value: _("Which property is it about?"),
        Kind.BIRTH_CERTIFICATE.value: _("Whose birth is it about?"),
    }[kind]


def bring(kind: str, whom: Whom, _: Translate) -> list[str]:
    """What somebody must bring to the counter who could not have a document of `kind` here."""
    of_child = (
        _("A document that shows that you are the parent or guardian")
        if kind == Kind.BIRTH_CERTIFICATE
        else _("The birth certificate of the child")
    )
    papers = {
        Whom.MYSELF: [],
        Whom.CHILD: [of_child],
        Whom.SPOUSE: [_("The marriage certificate"), _("The identity document of your spouse")],
        Whom.PROXY: [_("The power of attorney, certified by a notary")],
    }[whom]
    return [_("Your identity card or passport"), *papers]


def slip_title(kind: str, whom: Whom, _: Translate) -> str:
    """The heading of a slip for the counter."""
    for_whom = {
        Whom.MYSELF: _("For myself"),
        Whom.CHILD: _("For my minor child"),
        Whom.SPOUSE: _("For my spouse"),
        Whom.PROXY: _("With a power of attorney"),
    }[whom]
    return f"{kind_name(kind, _)}: {for_whom}"
