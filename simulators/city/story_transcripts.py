"""The story's transcript: a worker drafts what was recorded, and the draft is held against the script."""

import asyncio
import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.recordings import recording_id
from simulators.city.report import StepError
from simulators.city.visitor import Visitor
from simulators.city.words import word_error, words
from simulators.debate.script import SEATS

CHANNEL = "floor"
LOOK_S = 1.0
WORD_ERROR_MAX = 0.08
SPEAKER_RIGHT_MIN = 0.9
MEMBERS = {
    "Chair": "Besa Provi",
    "Member A": "Arta Testi",
    "Member B": "Ivan Probić",
    "Member C": "Filan Fisteku",
}
"""Made-up names of the debate's roles."""
READY = "Draft, not reviewed."
_CUE = re.compile(r"([\d:.]+) --> ([\d:.]+)\n(?:<v ([^>]+)>)?(.*)")


@dataclass(frozen=True)
class Cue:
    """One line of the WebVTT file."""

    seconds: float
    speaker: str
    text: str


async def draft_is_right(
    staff: Visitor, url: str, hall: str, session: str, debate: Path
) -> tuple[float, str]:
    """The clerk names the seats, and the draft has the right words with the right names.

    Gives the word error and a sentence.

    Raises:
        StepError: there is no draft, or it is worse than it may be.
    """
    rows = [f"{SEATS[role]},{name},,{'yes' if role == 'Chair' else 'no'}" for role, name in MEMBERS.items()]
    page = await staff.open(f"{url}/assembly?hall={hall}")
    await staff.send(page, f"/{hall}/import", {"table": "\n".join(["seat,name,group,chair", *rows])})
    address = f"{url}/recordings/{recording_id(session, CHANNEL)}"
    while READY not in (page := await staff.open(address)).text:
        if "The transcription failed." in page.text or "There is no draft." in page.text:
            raise StepError(f"there is no draft: {page.text[-300:]!r}")
        await asyncio.sleep(LOOK_S)
    cues = read_cues((await staff.open(f"{address}/transcript.vtt")).html)
    lines = json.loads(await asyncio.to_thread(debate.read_text, encoding="utf-8"))["lines"]
    said = [(MEMBERS[line["speaker"]], word) for line in lines for word in words(line["text"])]
    error = word_error(" ".join(word for _, word in said), " ".join(cue.text for cue in cues))
    right = speakers_right(said, cues)
    if error > WORD_ERROR_MAX or right < SPEAKER_RIGHT_MIN:
        written = " ".join(f"{cue.speaker}: {cue.text}" for cue in cues)
        raise StepError(f"word error {error:.1%}, speakers right {right:.0%}; written: {written[:400]!r}")
    return (
        error,
        f"word error {error:.1%}, speakers right for {right:.0%} of the words' time, {len(cues)} lines",
    )


def read_cues(text: str) -> list[Cue]:
    """The lines of a WebVTT file.

    Raises:
        StepError: it is none.
    """
    if not text.startswith("WEBVTT\n"):
        raise StepError(f"this is no WebVTT: {text[:80]!r}")
    return [
        Cue(_seconds(end) - _seconds(start), speaker or "", said)
        for start, end, speaker, said in _CUE.findall(text)
    ]


def speakers_right(said: Sequence[tuple[str, str]], cues: Sequence[Cue]) -> float:
    """The share of the words' time that is under the name of whoever said them; `said` is (name, word).

    Words are matched in their order; a line's time is divided among its words.
    """
    written = [
        (cue.speaker, word, cue.seconds / len(found))
        for cue in cues
        if (found := words(cue.text))
        for word in found
    ]
    match = difflib.SequenceMatcher(
        None, [word for _, word in said], [word for _, word, _ in written], autojunk=False
    )
    right = sum(
        written[block.b + at][2]
        for block in match.get_matching_blocks()
        for at in range(block.size)
        if said[block.a + at][0] == written[block.b + at][0]
    )
    total = sum(seconds for _, _, seconds in written)
    return right / total if total else 0.0


def _seconds(clock: str) -> float:
    hours, minutes, seconds = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
