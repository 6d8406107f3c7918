"""Lets go of a payment that the cloud does not have, at the end of a visit or after a restart.

The order matters. First the terminal stops asking, so that nothing new is held. Then the request is given up
at the cloud: from there on it cannot take the payment any more, or it says that it has it already, and then
it is the cloud's to capture or to release. Only in the first case is the held amount released here.
"""

import logging
from contextlib import suppress

from contract.documents import Problem, View
from edge_agent.documents.ledger import Ledger
from edge_agent.documents.requests import ProblemError, Requests
from edge_agent.documents.terminal import CardState, Terminal
from edge_agent.errors import AgentError, RefusedError

log = logging.getLogger(__name__)

_GIVEN_UP = frozenset({"failed", "voided", "expired", "refused"})


async def release(document: str, *, requests: Requests, terminal: Terminal, ledger: Ledger) -> None:
    """Settle the payment of `document`, and the request itself; once is as good as twice.

    Raises:
        UnavailableError: somebody did not answer, or the ledger cannot be written; call it again later.
        MalformedError: somebody answered nonsense; the same.
    """
    if not any(claim.document == document for claim in ledger.claims()):
        with suppress(AgentError):  # without money it is a courtesy: the cloud lets it expire
            await _give_up(document, requests)
        return
    await terminal.abandon(document)
    if await _give_up(document, requests):
        found = await terminal.find(document)
        if found is not None and found.state == CardState.AUTHORISED:
            with suppress(RefusedError):  # captured: then the cloud had it after all
                await terminal.void(found.authorisation)
            log.info("payment_released", extra={"document": document})
    else:
        log.info("payment_left_to_cloud", extra={"document": document})
    ledger.settle(document)


async def _give_up(document: str, requests: Requests) -> bool:
    """Whether the cloud will certainly not take a payment for it."""
    try:
        view: View = await requests.cancel(document)
    except ProblemError as error:
        if error.code == Problem.NOT_FOUND:
            return True
        if error.code != Problem.WRONG_STATE:
            raise
        view = await requests.look(document)
    return view.state in _GIVEN_UP
