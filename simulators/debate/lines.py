"""What is said in the debate, where, and who has the floor: the JSON file beside its sound."""

import msgspec

from simulators.debate.script import SEATS

EDGE_MS = 200
"""A microphone is on for so long before the first word and after the last one; every pause is longer."""


class SpokenLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line and where it is in the recording."""

    speaker: str
    text: str
    start_ms: int
    end_ms: int


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A seat has the floor from `start_ms` to `end_ms`: all lines that its speaker says in a row."""

    seat: str
    start_ms: int
    end_ms: int


class Debate(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON file beside the sound; `key` names everything that the sound was made from."""

    key: str
    rate_hz: int
    duration_ms: int
    lines: list[SpokenLine]

    @property
    def text(self) -> str:
        """All that is said, in order."""
        return " ".join(line.text for line in self.lines)

    @property
    def turns(self) -> list[Turn]:
        """Who has the floor from when to when; the microphone goes on a little before the first word."""
        turns: list[Turn] = []
        for line in self.lines:
            seat = SEATS[line.speaker]
            if turns and turns[-1].seat == seat:
                turns[-1] = Turn(seat=seat, start_ms=turns[-1].start_ms, end_ms=line.end_ms + EDGE_MS)
            else:
                turns.append(Turn(seat=seat, start_ms=line.start_ms - EDGE_MS, end_ms=line.end_ms + EDGE_MS))
        return turns
