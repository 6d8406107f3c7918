"""What devices ask and report about their twins, over MQTT, and the answers.

A request is refused on its `rejected` topic with a code and a sentence; one that the device must be corrected
for is counted and described, too.
"""

from typing import Any

import msgspec

from cloud import arrivals
from cloud.broker import Received
from cloud.refusals import Reason, refusal
from cloud.twin import core, shapes, store
from cloud.twin.core import Changed, Refusal, Repeated
from cloud.twin.rate import Rate
from cloud.twin.service import Publish, Twins
from contract.messages import encode
from contract.twin import DeleteAnswer, ErrorCode

MALFORMED = frozenset({ErrorCode.BAD_REQUEST, ErrorCode.TOO_LARGE, ErrorCode.NOT_UTF8})
"""What the device must be corrected for; the other refusals are part of an ordinary day."""


class Requests:
    """Handlers of the three twin topics, for `cloud.broker.Broker.subscribe`."""

    def __init__(self, twins: Twins, publish: Publish, rate: Rate | None = None) -> None:
        self._twins = twins
        self._publish = publish
        self._rate = rate or Rate()

    def get(self, message: Received) -> None:
        """`twin-get`: the whole twin."""
        tree = self._read(message, "twin-get")
        if tree is None:
            return
        twin, token = store.load(message.session, message.device), tree.get("clientToken", "")
        if not twin.exists:
            self._reject(message, "twin-get", core.missing(token))
            return
        self._send(message, "twin-get-accepted", shapes.whole(twin, _at_s(message), token))

    def update(self, message: Received) -> None:
        """`twin-update`: merge what the device reports, or desires."""
        if self._read(message, "twin-update") is None:
            return
        wish = core.read_update(message.payload)
        if isinstance(wish, Refusal):
            self._reject(message, "twin-update", wish)
            return
        mark = core.fingerprint("update", wish.client_token, message.payload)
        outcome = core.update(store.load(message.session, message.device), wish, mark, _at_s(message))
        if isinstance(outcome, Refusal):
            self._reject(message, "twin-update", outcome)
            return
        twin = outcome.twin if isinstance(outcome, Repeated) else outcome.after
        self._send(message, "twin-update-accepted", shapes.accepted(wish, twin, _at_s(message)))
        if isinstance(outcome, Changed):
            changed = outcome
            store.save(message.session, message.device, twin, message.received_at)
            message.after_commit(lambda: self._twins.tell(message.device, changed, _at_s(message)))

    def delete(self, message: Received) -> None:
        """`twin-delete`: nothing but the version is kept."""
        tree = self._read(message, "twin-delete")
        if tree is None:
            return
        token = tree.get("clientToken", "")
        mark = core.fingerprint("delete", token, message.payload)
        outcome = core.delete(store.load(message.session, message.device), token, mark)
        if isinstance(outcome, Refusal):
            self._reject(message, "twin-delete", outcome)
            return
        if isinstance(outcome, Repeated):
            twin = outcome.twin
        else:
            twin = outcome
            store.save(message.session, message.device, twin, message.received_at)
        answer = DeleteAnswer(version=twin.version, timestamp=_at_s(message), client_token=token)
        self._send(message, "twin-delete-accepted", answer)

    def _read(self, message: Received, name: str) -> dict[str, Any] | None:
        """The request, if it is one and comes not too soon after others; else it is refused here."""
        tree = core.read_tree(message.payload)
        if isinstance(tree, Refusal):
            self._reject(message, name, tree)
            return None
        if not self._rate.take(message.device, message.received_at):
            sentence = "Too many requests on their way; wait for answers"
            token = tree.get("clientToken", "")
            arrivals.count(message.session, message.device, Reason.REFUSED.value, message.received_at)
            self._reject(message, name, Refusal(ErrorCode.TOO_MANY_REQUESTS, sentence, token))
            return None
        return tree

    def _reject(self, message: Received, name: str, refused: Refusal) -> None:
        if refused.code in MALFORMED:
            described = refusal(message.device, name, Reason.MALFORMED, message.payload)
            arrivals.quarantine(message.session, described, message.received_at)
        self._send(message, f"{name}-rejected", shapes.rejection(refused, _at_s(message)))

    def _send(self, message: Received, name: str, body: msgspec.Struct) -> None:
        message.after_commit(lambda: self._publish(name, message.ids, encode(body)))


def _at_s(message: Received) -> int:
    return shapes.seconds(message.received_at)
