"""WebVTT (W3C, section 4): the transcript as timed text that players and editors read. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

LABELS = {"sq": "[e padëgjueshme]", "sr": "[нечујно]", "en": "[inaudible]"}
"""What stands where nobody could hear what was said, in the language of the sitting."""
NOTES = {
    "sq": "Draft i bërë nga makina, i pashqyrtuar.",
    "sr": "Нацрт који је начинила машина, није прегледан.",
    "en": "Draft made by a machine, not reviewed.",
}


@dataclass(frozen=True)
class Cue:
    """One line in ms of the sound; `speaker` may be empty."""

    start_ms: int
    end_ms: int
    speaker: str
    text: str


def write(cues: Iterable[Cue], lang: str) -> str:
    """The file; a line without text says that nobody could hear it, and every cue lasts at least 1 ms."""
    parts = ["WEBVTT", f"NOTE {NOTES[lang]}"]
    for number, cue in enumerate(cues, 1):
        end_ms = max(cue.end_ms, cue.start_ms + 1)
        voice = f"<v {_annotation(cue.speaker)}>" if cue.speaker else ""
        text = _escaped(cue.text or LABELS[lang])
        parts.append(f"{number}\n{_time(cue.start_ms)} --> {_time(end_ms)}\n{voice}{text}")
    return "\n\n".join(parts) + "\n"


def _time(ms: int) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{ms:03d}"


def _escaped(text: str) -> str:
    plain = " ".join(text.split())
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _annotation(text: str) -> str:
    """A speaker's name: a voice tag's annotation ends at '>' and may hold no line break."""
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
