"""What the kiosk needs of a page printer, in the words of IPP (RFC 8011)."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol


class JobState(IntEnum):
    """`job-state`, RFC 8011, section 5.3.7."""

    PENDING = 3
    HELD = 4
    PROCESSING = 5
    STOPPED = 6
    CANCELED = 7
    ABORTED = 8
    COMPLETED = 9


class PrinterState(IntEnum):
    """`printer-state`, RFC 8011, section 5.4.11."""

    IDLE = 3
    PROCESSING = 4
    STOPPED = 5


ENDED = frozenset({JobState.CANCELED, JobState.ABORTED, JobState.COMPLETED})
PAPER_OUT = frozenset({"media-empty", "media-needed"})
JAMMED = frozenset({"media-jam"})
BLOCKING = (
    PAPER_OUT
    | JAMMED
    | {
        "cover-open",
        "door-open",
        "input-tray-missing",
        "interlock-open",
        "marker-supply-empty",
        "marker-waste-full",
        "offline",
        "output-area-full",
        "paused",
        "shutdown",
        "stopped-partly",
        "timed-out",
        "toner-empty",
    }
)
"""Reasons of RFC 8011, section 5.4.12, for which no paper would come out; others, as toner-low, only warn."""
_SEVERITIES = ("-report", "-warning", "-error")


def plain(reason: str) -> str:
    """A reason without its severity: printers say `media-empty-warning` and still do not print."""
    for severity in _SEVERITIES:
        if reason.endswith(severity):
            return reason.removesuffix(severity)
    return reason


@dataclass(frozen=True)
class PrinterStatus:
    """What the printer says of itself; `reasons` are without severity, `toner_pct` is its lowest supply."""

    state: PrinterState
    reasons: tuple[str, ...] = ()
    accepting: bool = True
    toner_pct: float | None = None

    @property
    def ready(self) -> bool:
        """Whether a paper that is sent now would come out."""
        return self.accepting and self.state != PrinterState.STOPPED and not self.blocking

    @property
    def blocking(self) -> tuple[str, ...]:
        """The reasons why no paper would come out."""
        return tuple(reason for reason in self.reasons if reason in BLOCKING)


@dataclass(frozen=True)
class PrinterJob:
    """What the printer says of one job; `sheets` are its impressions, None where it does not count."""

    ipp_job_id: int
    name: str
    state: JobState
    reasons: tuple[str, ...] = ()
    sheets: int | None = None


class Printer(Protocol):
    """A page printer that takes PDF. Each verb asks once; trying again is the caller's decision.

    Every verb raises UnavailableError when no answer came in time. After `print_pdf` raised that, the
    printer may have the paper.
    """

    async def status(self) -> PrinterStatus:
        """Its state now."""

    async def print_pdf(self, name: str, pdf: bytes) -> int:
        """Print on A4 at true scale, one side, under the job name `name`; the printer's id of the job.

        Raises:
            RefusedError: the printer certainly took nothing.
        """

    async def job(self, ipp_job_id: int) -> PrinterJob | None:
        """One job; None when the printer does not know it (any more)."""

    async def jobs_named(self, name: str) -> list[PrinterJob]:
        """The jobs under this name that the printer remembers, ended or not."""

    async def cancel(self, ipp_job_id: int) -> None:
        """Ask that the job be given up; `job` tells what became of it. What has ended stays ended."""

    async def close(self) -> None:
        """Let go of the connection."""
