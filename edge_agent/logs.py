"""Logs: one JSON object a line on stderr; event names in the past tense, ids as fields, nothing personal.

Of an exception its type and the places in the code are written, and its text only if it is one of our own
sentences: other libraries put values into their messages, and a value may be somebody's name.
"""

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

from edge_agent.errors import AgentError

TEXT_LENGTH_MAX = 2000
"""Characters of one field."""
FRAMES_MAX = 12
"""Innermost places of a traceback that are written."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def configure(stream: TextIO = sys.stderr, level: int = logging.INFO) -> None:
    """Write every log of this process as JSON to `stream`; of libraries only warnings and worse."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("edge_agent").setLevel(level)


LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def level() -> str:
    """The least weighty events of the agent that are written: a name of `LEVELS`."""
    now = logging.getLogger("edge_agent").getEffectiveLevel()
    return next((name for name, number in LEVELS.items() if number >= now), "error")


def set_level(name: str) -> None:
    """From now on write the agent's events of this weight and above; `name` is one of `LEVELS`."""
    logging.getLogger("edge_agent").setLevel(LEVELS[name])


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage()[:TEXT_LENGTH_MAX],
        }
        for name, value in vars(record).items():
            if name not in _STANDARD:
                line[name] = _plain(value)
        if record.exc_info and record.exc_info[1] is not None:
            line.update(_described(record.exc_info[1]))
        return msgspec.json.encode(line).decode()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:TEXT_LENGTH_MAX]


def _described(error: BaseException) -> dict[str, Any]:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    found: dict[str, Any] = {
        "error": type(error).__name__,
        "stack": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(error, AgentError | AssertionError):
        found["error_text"] = str(error)[:TEXT_LENGTH_MAX]
    if error.__cause__ is not None:
        found["cause"] = type(error.__cause__).__name__
    return found
