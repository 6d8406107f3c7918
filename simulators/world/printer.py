"""A printer with paper in it: it prints one job after the other, falls silent, is switched off and on."""

from dataclasses import replace

from edge_agent.documents.printer import ENDED, JobState, PrinterJob
from simulators.world.clock import Clock
from simulators.world.faults import Fault, Faults

SHEET_S = 3.0


class SilentError(Exception):
    """The printer does not answer; what it did nevertheless is not known."""


class Printer:
    """What came out is in `sheets`, by the name of the job, whatever anybody believes."""

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self.sheets: dict[str, int] = {}
        self.paper = True
        self.silent = False
        self._clock = clock
        self._faults = faults
        self._jobs: list[PrinterJob] = []
        self._switched_on = 0

    def ready(self) -> bool:
        """Whether it would print now; raises SilentError."""
        self._answer()
        return self.paper

    def spool(self, name: str) -> int:
        """Take a paper; raises SilentError, and may have taken it all the same."""
        self._answer()
        number = len(self._jobs) + 1
        self._jobs.append(PrinterJob(number, name, JobState.PENDING, (), 0))
        self._go_on()
        if self._faults.happens(Fault.PRINTER_SWALLOW):
            raise SilentError
        return number

    def job(self, number: int) -> PrinterJob | None:
        """One job; raises SilentError."""
        self._answer()
        return self._jobs[number - 1] if number <= len(self._jobs) else None

    def jobs_named(self, name: str) -> tuple[PrinterJob, ...]:
        """The jobs of this name; raises SilentError."""
        self._answer()
        return tuple(job for job in self._jobs if job.name == name)

    def cancel(self, number: int) -> None:
        """Give a job up; raises SilentError."""
        self._answer()
        job = self._jobs[number - 1] if number <= len(self._jobs) else None
        if job is not None and job.state not in ENDED:
            self._set(number, JobState.CANCELED, 0)
            self._go_on()

    def set_paper(self, there: bool) -> None:
        """Take the paper out or put it in."""
        self.paper = there
        self._go_on()

    def cycle(self) -> None:
        """Off and on: the sheet that was on its way comes out or not, the jobs are forgotten."""
        for job in self._jobs:
            if job.state == JobState.PROCESSING and self._faults.rng.random() < 0.5:
                self._eject(job.name)
        self._jobs.clear()
        self._switched_on += 1

    def _answer(self) -> None:
        if self.silent:
            raise SilentError

    def _go_on(self) -> None:
        if not self.paper or any(job.state == JobState.PROCESSING for job in self._jobs):
            return
        number = next((job.ipp_job_id for job in self._jobs if job.state == JobState.PENDING), None)
        if number is not None:
            self._set(number, JobState.PROCESSING, 0)
            on = self._switched_on
            self._clock.later(SHEET_S, lambda: self._out(on, number))

    def _out(self, on: int, number: int) -> None:
        if on != self._switched_on or self._jobs[number - 1].state != JobState.PROCESSING:
            return
        if not self.paper:
            self._set(number, JobState.PENDING, 0)
            return
        self._eject(self._jobs[number - 1].name)
        self._set(number, JobState.COMPLETED, 1)
        self._go_on()

    def _eject(self, name: str) -> None:
        self.sheets[name] = self.sheets.get(name, 0) + 1

    def _set(self, number: int, state: JobState, sheets: int) -> None:
        self._jobs[number - 1] = replace(self._jobs[number - 1], state=state, sheets=sheets)
