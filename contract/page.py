"""Keeps the tables and pictures of `contract/README.md` true: they are printed from the contract itself."""

import re

from contract.captions import SEGMENT, SITTING
from contract.documents import DOCUMENT
from contract.enrolment import CERTIFICATE
from contract.jobs import EXECUTION, JOB
from contract.lifecycle import Machine
from contract.presence import PRESENCE
from contract.recordings import RECORDING
from contract.telemetry import METRICS
from contract.topics import ROOT_DEFAULT, TOPICS
from contract.twin import SETTINGS, Setting
from contract.updates import UPDATE

MACHINES: tuple[Machine, ...] = (
    CERTIFICATE,
    DOCUMENT,
    JOB,
    EXECUTION,
    SITTING,
    SEGMENT,
    RECORDING,
    UPDATE,
    PRESENCE,
)

_BLOCK = re.compile(r"(<!-- from the contract: (?P<name>[a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def topics_table() -> str:
    """Every topic as a Markdown table."""
    rows = [
        f"| {row.name} | `{ROOT_DEFAULT}/{row.template}` | {row.sender} | {row.qos} "
        f"| {'yes' if row.retained else 'no'} | {row.about} |"
        for row in TOPICS
    ]
    return (
        "\n".join(["| name | topic | from | QoS | retained | what |", "|---|---|---|---|---|---|", *rows])
        + "\n"
    )


def metrics_table() -> str:
    """Every metric as a Markdown table."""
    rows = [
        f"| `{row.name}` | {row.type} | {row.unit} | {row.low:g} to {row.high:g} | {row.about} |"
        for row in METRICS
    ]
    return "\n".join(["| metric | type | unit | range | what |", "|---|---|---|---|---|", *rows]) + "\n"


def settings_table() -> str:
    """Everything that can be desired of a device, as a Markdown table."""
    rows = [f"| `{row.name}` | {_taken(row)} | {row.unit or '1'} | {row.about} |" for row in SETTINGS]
    return "\n".join(["| setting | taken | unit | what |", "|---|---|---|---|", *rows]) + "\n"


def _taken(row: Setting) -> str:
    return ", ".join(f"`{word}`" for word in row.choices) or f"whole number, {row.low} to {row.high}"


def blocks() -> dict[str, str]:
    """What stands between the marks, by name."""
    pictures = {machine.name: f"```mermaid\n{machine.mermaid()}```\n" for machine in MACHINES}
    return {"topics": topics_table(), "metrics": metrics_table(), "settings": settings_table(), **pictures}


def fill(page: str) -> str:
    """`page` with every marked block written anew.

    Raises:
        KeyError: a mark names a block that does not exist.
    """
    made = blocks()
    return _BLOCK.sub(lambda match: f"{match[1]}{made[match['name']]}{match[3]}", page)
