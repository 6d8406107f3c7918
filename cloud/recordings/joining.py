"""Who said which words, and for how long: recognised words joined with the hall's microphones. Pure.

All times are ms since the sitting was opened.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from cloud.recordings.guards import PROBABILITY_MIN, Doubt, Heard, Word, collapse, doubts

GRACE_MS = 700
"""A word so close before a microphone is taken, or after it is released, still belongs to it."""
PAUSE_MS = 1500
"""Longer quiet begins a new line."""
SENTENCE_MS = 2000
"""A sentence that is shorter stays in one line with the next."""
PIECE_MS_MAX = 15_000
PIECE_CHARACTERS_MAX = 240
"""A line that is longer is broken between two words."""
_SENTENCE_ENDS = (".", "?", "!", "…")


@dataclass(frozen=True)
class FloorChange:
    """A seat takes the floor, or gives it back."""

    at_ms: int
    seat: str
    taken: bool


@dataclass(frozen=True)
class Piece:
    """One line of a transcript: one speaker (None: unknown), its words, and what is doubtful about them.

    `confidence` is the mean probability of its words; a line that nobody could hear has no text.
    """

    start_ms: int
    end_ms: int
    seat: str | None
    text: str
    confidence: float
    marks: frozenset[Doubt]
    words: int


@dataclass(frozen=True)
class Speaking:
    """How long one seat spoke: the time of its lines, in how many turns, how many words."""

    seat: str | None
    spoken_ms: int
    turns: int
    words: int


class Floor:
    """Who held the floor at any moment.

    Microphones may be open at the same time: whoever took the floor last speaks, and when that one gives it
    back, whoever had it before. A seat that never gives it back has it to the end.
    """

    def __init__(self, changes: Iterable[FloorChange]) -> None:
        self._times: list[int] = []
        self._holders: list[tuple[str, ...]] = []
        holders: tuple[str, ...] = ()
        for change in sorted(changes, key=lambda change: (change.at_ms, change.taken)):
            others = tuple(seat for seat in holders if seat != change.seat)
            if change.taken and change.seat in holders:
                continue
            now = (*others, change.seat) if change.taken else others
            if now != holders:
                holders = now
                self._times.append(change.at_ms)
                self._holders.append(holders)

    def speaker(self, at_ms: int) -> str | None:
        """The seat that spoke at that moment; None where no microphone was open, nor nearly."""
        index = bisect_right(self._times, at_ms) - 1
        if index >= 0 and self._holders[index]:
            return self._holders[index][-1]
        near = []
        if index > 0 and at_ms - self._times[index] <= GRACE_MS:
            near.append((at_ms - self._times[index], self._holders[index - 1]))
        if index + 1 < len(self._times) and self._times[index + 1] - at_ms <= GRACE_MS:
            near.append((self._times[index + 1] - at_ms, self._holders[index + 1]))
        near = [(distance, holders) for distance, holders in near if holders]
        return min(near)[1][-1] if near else None


def pieces(
    heard: Iterable[Heard], floor: Floor, parted: Callable[[int, int], bool] = lambda _first, _second: False
) -> list[Piece]:
    """The lines of a transcript, in order; their words are those of `heard`, loops said once.

    Two words are never in one line where something lies between them that was cut out: `parted` says that.
    """
    found: list[Piece] = []
    for each in sorted(heard, key=lambda one: one.start_ms):
        found += _lines(each, floor, parted)
    return found


def _lines(heard: Heard, floor: Floor, parted: Callable[[int, int], bool]) -> Iterator[Piece]:
    marks = doubts(heard)
    if Doubt.INAUDIBLE in marks:
        middle = (heard.start_ms + heard.end_ms) // 2
        seat = floor.speaker(middle)
        yield Piece(heard.start_ms, heard.end_ms, seat, "", 0.0, frozenset({Doubt.INAUDIBLE}), 0)
        return
    line = _Line()
    for word in collapse(heard.words):
        seat = floor.speaker((word.start_ms + word.end_ms) // 2)
        apart = bool(line.words) and parted(line.words[-1].start_ms, word.start_ms)
        if line.words and (seat != line.seat or apart or line.breaks_before(word)):
            yield line.piece(marks)
            line = _Line()
        line.seat = seat
        line.words.append(word)
    if line.words:
        yield line.piece(marks)


@dataclass
class _Line:
    """A line that is being filled."""

    seat: str | None = None
    words: list[Word] = field(default_factory=list)

    def breaks_before(self, word: Word) -> bool:
        first, last = self.words[0], self.words[-1]
        if word.start_ms - last.end_ms >= PAUSE_MS or word.end_ms - first.start_ms > PIECE_MS_MAX:
            return True
        if sum(len(each.text) for each in self.words) + len(word.text) > PIECE_CHARACTERS_MAX:
            return True
        return last.text.endswith(_SENTENCE_ENDS) and last.end_ms - first.start_ms >= SENTENCE_MS

    def piece(self, marks: frozenset[Doubt]) -> Piece:
        confidence = sum(word.probability for word in self.words) / len(self.words)
        low = frozenset({Doubt.LOW_CONFIDENCE}) if confidence < PROBABILITY_MIN else frozenset()
        return Piece(
            start_ms=self.words[0].start_ms,
            end_ms=max(word.end_ms for word in self.words),
            seat=self.seat,
            text="".join(word.text for word in self.words).strip(),
            confidence=round(confidence, 3),
            marks=marks | low,
            words=len(self.words),
        )


def speaking(lines: Sequence[tuple[str | None, int, int, int]]) -> list[Speaking]:
    """How long each seat spoke; `lines` are (seat, start_ms, end_ms, words) in order. Longest first."""
    spoken: dict[str | None, Speaking] = {}
    before: str | None = None
    for number, (seat, start_ms, end_ms, words) in enumerate(lines):
        known = spoken.get(seat, Speaking(seat, 0, 0, 0))
        turn = number == 0 or seat != before
        spoken[seat] = Speaking(
            seat, known.spoken_ms + end_ms - start_ms, known.turns + turn, known.words + words
        )
        before = seat
    return sorted(spoken.values(), key=lambda each: (-each.spoken_ms, each.seat or ""))
