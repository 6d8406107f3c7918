"""Every MQTT topic of the fleet, in one table.

The broker's access rules and the documentation are generated from it, and nowhere else in the
repository is a topic written as a string.
"""

import re
from dataclasses import dataclass
from typing import Literal

from contract.errors import MalformedError

ROOT_DEFAULT = "fleet/v1"
SEGMENT_LENGTH_MAX = 64
"""Characters of one topic segment that stands for an id."""

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}|\$next")

Sender = Literal["device", "cloud"]


@dataclass(frozen=True)
class Topic:
    """One row of the table; `{device}` always stands first, below the root."""

    name: str
    template: str
    sender: Sender
    qos: Literal[0, 1]
    retained: bool
    about: str


TOPICS: tuple[Topic, ...] = (
    Topic("presence", "{device}/presence", "device", 1, True, "Online at connect; the will says offline."),
    Topic("telemetry", "{device}/telemetry", "device", 1, False, "Batches of samples."),
    Topic(
        "evidence",
        "{device}/documents/{document}/evidence",
        "device",
        1,
        False,
        "What the printer said of one document.",
    ),
    Topic(
        "caption-partial",
        "{device}/captions/{session}/{channel}/partial",
        "device",
        0,
        False,
        "Words that may still change.",
    ),
    Topic(
        "caption-final",
        "{device}/captions/{session}/{channel}/final",
        "device",
        1,
        False,
        "A line that stands until it is corrected.",
    ),
    Topic(
        "updates", "{device}/updates/{update}", "device", 1, False, "Where an update stands on this device."
    ),
    Topic(
        "recordings",
        "{device}/recordings/{recording}",
        "device",
        1,
        False,
        "Which segments a recording has.",
    ),
    Topic("floor", "{device}/floor/{session}", "device", 1, False, "Who has the microphone."),
    Topic("dropped", "{device}/dropped", "device", 1, False, "What the device dropped by policy, and why."),
    Topic("job-get", "{device}/jobs/get", "device", 1, False, "Lists pending job executions."),
    Topic(
        "job-start-next", "{device}/jobs/start-next", "device", 1, False, "Starts the next pending execution."
    ),
    Topic(
        "job-describe",
        "{device}/jobs/{job}/get",
        "device",
        1,
        False,
        "Describes one execution; `$next` is the next.",
    ),
    Topic(
        "job-update", "{device}/jobs/{job}/update", "device", 1, False, "Reports the state of one execution."
    ),
    Topic("twin-get", "{device}/shadow/get", "device", 1, False, "Asks for the device's twin."),
    Topic(
        "twin-update", "{device}/shadow/update", "device", 1, False, "Reports what the device does; merged."
    ),
    Topic("twin-delete", "{device}/shadow/delete", "device", 1, False, "Deletes the device's twin."),
    Topic("ack", "{device}/ack", "cloud", 1, False, "Cumulative: everything up to here is stored."),
    Topic("reconnect", "{device}/reconnect", "cloud", 1, False, "How long to wait after the next loss."),
    Topic("job-notify", "{device}/jobs/notify", "cloud", 1, False, "The list of pending executions changed."),
    Topic(
        "job-notify-next",
        "{device}/jobs/notify-next",
        "cloud",
        1,
        False,
        "The next pending execution changed.",
    ),
    Topic("job-get-accepted", "{device}/jobs/get/accepted", "cloud", 1, False, "Answer."),
    Topic("job-get-rejected", "{device}/jobs/get/rejected", "cloud", 1, False, "Answer."),
    Topic("job-start-next-accepted", "{device}/jobs/start-next/accepted", "cloud", 1, False, "Answer."),
    Topic("job-start-next-rejected", "{device}/jobs/start-next/rejected", "cloud", 1, False, "Answer."),
    Topic("job-describe-accepted", "{device}/jobs/{job}/get/accepted", "cloud", 1, False, "Answer."),
    Topic("job-describe-rejected", "{device}/jobs/{job}/get/rejected", "cloud", 1, False, "Answer."),
    Topic("job-update-accepted", "{device}/jobs/{job}/update/accepted", "cloud", 1, False, "Answer."),
    Topic("job-update-rejected", "{device}/jobs/{job}/update/rejected", "cloud", 1, False, "Answer."),
    Topic("twin-get-accepted", "{device}/shadow/get/accepted", "cloud", 1, False, "Answer: the whole twin."),
    Topic("twin-get-rejected", "{device}/shadow/get/rejected", "cloud", 1, False, "Answer."),
    Topic("twin-update-accepted", "{device}/shadow/update/accepted", "cloud", 1, False, "Answer."),
    Topic("twin-update-rejected", "{device}/shadow/update/rejected", "cloud", 1, False, "Answer."),
    Topic("twin-delete-accepted", "{device}/shadow/delete/accepted", "cloud", 1, False, "Answer."),
    Topic("twin-delete-rejected", "{device}/shadow/delete/rejected", "cloud", 1, False, "Answer."),
    Topic(
        "twin-delta",
        "{device}/shadow/update/delta",
        "cloud",
        1,
        False,
        "What is desired and not reported so.",
    ),
    Topic(
        "twin-documents", "{device}/shadow/update/documents", "cloud", 1, False, "The twin before and after."
    ),
)
BY_NAME = {topic.name: topic for topic in TOPICS}


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    body = "".join(f"(?P<{part}>[^/]+)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
    return re.compile(body)


_PATTERNS = tuple((topic, _pattern(topic.template)) for topic in TOPICS)


def build(name: str, *, root: str = ROOT_DEFAULT, **ids: str) -> str:
    """The topic called `name` with its ids filled in.

    Raises:
        MalformedError: an id has characters that a topic segment may not have.
    """
    for key, value in ids.items():
        if not _SEGMENT.fullmatch(value):
            raise MalformedError(
                f"{key} {value!r:.80} cannot stand in a topic: use letters, digits, '_', '.', '-'"
            )
    return f"{root}/{BY_NAME[name].template.format(**ids)}"


def parse(topic: str, *, root: str = ROOT_DEFAULT) -> tuple[str, dict[str, str]]:
    """The name and the ids of `topic`: the inverse of `build`.

    Raises:
        MalformedError: the topic is not in the table.
    """
    head = f"{root}/"
    if topic.startswith(head):
        tail = topic[len(head) :]
        for row, pattern in _PATTERNS:
            match = pattern.fullmatch(tail)
            if match and all(_SEGMENT.fullmatch(value) for value in match.groupdict().values()):
                return row.name, match.groupdict()
    raise MalformedError(f"{topic!r:.120} is not a topic of this fleet")


def subscription(name: str, *, root: str = ROOT_DEFAULT, device: str | None = None) -> str:
    """The filter that receives every topic called `name`, of all devices or of one."""
    template = BY_NAME[name].template
    if device is not None:
        template = template.replace("{device}", device)
    return f"{root}/" + re.sub(r"\{\w+\}", "+", template)


def device_rules(*, root: str = ROOT_DEFAULT) -> list[str]:
    """The lines of a mosquitto ACL file for every device; `%u` is the name in its certificate."""
    lines = []
    for row in TOPICS:
        access = "write" if row.sender == "device" else "read"
        pattern = re.sub(r"\{\w+\}", "+", row.template.replace("{device}", "%u"))
        lines.append(f"pattern {access} {root}/{pattern}")
    return lines


def service_rules(writes: frozenset[str], reads: frozenset[str], *, root: str = ROOT_DEFAULT) -> list[str]:
    """The lines of a mosquitto ACL file for one service: topic names that it may write and read."""
    return [f"topic write {subscription(name, root=root)}" for name in sorted(writes)] + [
        f"topic read {subscription(name, root=root)}" for name in sorted(reads)
    ]
