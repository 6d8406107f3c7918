"""Twins of the control plane: the real decisions over a plain table, as `cloud.twin` makes them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from cloud.twin import core, shapes
from cloud.twin.core import Changed, Refusal, Repeated, Twin
from cloud.twin.rate import Rate
from contract.messages import encode
from contract.twin import DeleteAnswer, ErrorCode, Path, Section, State, Update, leaves
from simulators.world.broker import Packet
from simulators.world.plants import Plant

Commit = Callable[..., None]
"""Lets changes happen together."""
Send = Callable[[str, Packet], None]
"""Publishes to a device."""


class CloudTwins:
    """`twins` are those of the fleet. What is remembered for the checkers, by device: `versions` are all that
    there were, in their order, `desired` is everything that ever was.
    """

    def __init__(self, plant: Plant, commit: Commit, send: Send, now: Callable[[], datetime]) -> None:
        self.twins: dict[str, Twin] = {}
        self.versions: dict[str, list[int]] = {}
        self.desired: dict[str, set[tuple[Path, Any]]] = {}
        self._plant = plant
        self._commit = commit
        self._send = send
        self._now = now
        self._rate = Rate()

    # --- what staff do ---

    def desire(self, device: str, changes: Section) -> None:
        """Change what is desired of a device; whatever the twin takes, known to the device or not."""
        wish = Update(state=State(desired=changes))
        outcome = core.update(self._twin(device), wish, "", self._at_s)
        assert isinstance(outcome, Changed), "without a version and a token everything small is taken"
        self._take(device, outcome)

    def delete(self, device: str) -> None:
        """Forget what is desired and reported."""
        gone = core.delete(self._twin(device), "", "")
        if isinstance(gone, Twin):
            left = self._plant.deleted(gone)
            self._commit(lambda: self.twins.__setitem__(device, left))
            answer = DeleteAnswer(version=gone.version, timestamp=self._at_s)
            self._tell(device, "twin-delete-accepted", answer)

    def announce(self, device: str) -> None:
        """A device has come online: it is told what it does not do yet."""
        delta = shapes.delta(self._twin(device), self._at_s)
        if delta is not None:
            self._tell(device, "twin-delta", delta)

    # --- what devices say ---

    def get(self, device: str, payload: bytes) -> None:
        """`twin-get`."""
        token = self._token(device, "twin-get", payload)
        twin = self._twin(device)
        if token is None:
            return
        if not twin.exists:
            self._reject(device, "twin-get", core.missing(token))
        else:
            self._tell(device, "twin-get-accepted", shapes.whole(twin, self._at_s, token))

    def update(self, device: str, payload: bytes) -> None:
        """`twin-update`."""
        if self._token(device, "twin-update", payload) is None:
            return
        wish = core.read_update(payload)
        assert isinstance(wish, Update), "the device speaks well"
        mark = core.fingerprint("update", wish.client_token, payload)
        outcome = core.update(self._twin(device), wish, mark, self._at_s)
        if isinstance(outcome, Refusal):
            self._reject(device, "twin-update", outcome)
            return
        if isinstance(outcome, Changed):
            self._write(device, outcome)
        after = outcome.twin if isinstance(outcome, Repeated) else outcome.after
        self._tell(device, "twin-update-accepted", shapes.accepted(wish, after, self._at_s))
        if isinstance(outcome, Changed):
            self._tell_of(device, outcome)

    # --- the table ---

    @property
    def _at_s(self) -> int:
        return shapes.seconds(self._now())

    def _twin(self, device: str) -> Twin:
        return self.twins.get(device, Twin())

    def _token(self, device: str, name: str, payload: bytes) -> str | None:
        """The request's token, if it comes not too soon after others."""
        tree = core.read_tree(payload)
        assert isinstance(tree, dict), "the device speaks well"
        token: str = tree.get("clientToken", "")
        if self._rate.take(device, self._now()):
            return token
        self._reject(device, name, Refusal(ErrorCode.TOO_MANY_REQUESTS, "wait for answers", token))
        return None

    def _take(self, device: str, changed: Changed) -> None:
        self._write(device, changed)
        self._tell_of(device, changed)

    def _write(self, device: str, changed: Changed) -> None:
        after = changed.after

        def write() -> None:
            self.twins[device] = after
            self.versions.setdefault(device, []).append(after.version)
            self.desired.setdefault(device, set()).update(
                (path, value) for path, value in leaves(after.desired) if not isinstance(value, dict | list)
            )

        self._commit(write)

    def _tell_of(self, device: str, changed: Changed) -> None:
        if not self._plant.tells_of_changes:
            return
        self._tell(device, "twin-documents", shapes.documents(changed, self._at_s))
        delta = shapes.delta(changed.after, self._at_s, changed.wish.client_token)
        if delta is not None:
            self._tell(device, "twin-delta", delta)

    def _reject(self, device: str, name: str, refused: Refusal) -> None:
        self._tell(device, f"{name}-rejected", shapes.rejection(refused, self._at_s))

    def _tell(self, device: str, topic: str, body: msgspec.Struct) -> None:
        self._send(device, Packet(topic, {}, encode(body)))
