"""Bugs that are planted to see the worlds find them: a world that finds none of these proves nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.documents import printing as p
from edge_agent.link import outbox as o


@dataclass(frozen=True)
class Plant:
    """No bug. Each bug is a small change to what the cores decide, or to what their drivers believe."""

    trusts_broker: bool = False
    blind: bool = False
    acknowledges_early: bool = False

    def outbox(self, effects: list[o.Effect]) -> list[o.Effect]:
        """What the outbox decided."""
        return effects

    def printing(self, effects: list[p.Effect]) -> list[p.Effect]:
        """What the print job decided."""
        return effects

    def kept_from(self, seq: int) -> int:
        """From where the device says that it still keeps."""
        return seq

    def boot(self, boot: str) -> str:
        """The id of a new boot."""
        return boot


class ForgetBeforeAck(Plant):
    """Sent is believed to be stored."""

    def outbox(self, effects: list[o.Effect]) -> list[o.Effect]:
        """Forget each message after it was published."""
        out: list[o.Effect] = []
        for effect in effects:
            out.append(effect)
            if isinstance(effect, o.Publish):
                out.append(o.Forget(effect.boot, effect.lane, effect.seq))
        return out


class PublishBeforeAppend(Plant):
    """The wire is faster than the disk."""

    def outbox(self, effects: list[o.Effect]) -> list[o.Effect]:
        """Everything is published first."""
        return _first(effects, o.Publish)


class PrintBeforeLedger(Plant):
    """The paper first, the book-keeping after it."""

    def printing(self, effects: list[p.Effect]) -> list[p.Effect]:
        """Spool before anything is written down."""
        return _first(effects, p.Spool)


class SilentDrop(Plant):
    """Dropped messages are never declared."""

    def kept_from(self, seq: int) -> int:
        """Says nothing."""
        return min(seq, 1)


class ReuseBoot(Plant):
    """Every start counts from one under the same name."""

    def boot(self, _boot: str) -> str:
        """Always the same."""
        return "boot-0001"


PLANTS: dict[str, Plant] = {
    "forget-before-ack": ForgetBeforeAck(),
    "publish-before-append": PublishBeforeAppend(blind=True),
    "print-before-ledger": PrintBeforeLedger(),
    "silent-drop": SilentDrop(),
    "reuse-boot": ReuseBoot(),
    "trust-the-broker": Plant(trusts_broker=True),
    "ack-before-store": Plant(acknowledges_early=True),
}


def _first(effects: Sequence[Any], kind: type) -> list[Any]:
    return [e for e in effects if isinstance(e, kind)] + [e for e in effects if not isinstance(e, kind)]
