"""A printer for tests and for reading: what it is told to do, it does at the next question."""

from dataclasses import dataclass, field, replace

from edge_agent.documents.printer import ENDED, JobState, PrinterJob, PrinterState, PrinterStatus
from edge_agent.errors import RefusedError, UnavailableError


@dataclass
class MemoryPrinter:
    """Prints at once, unless `reasons` block it; then a job waits until they are gone or it is cancelled.

    `silent`: answers nothing. `swallow`: takes the bytes and does not answer. `sheets` counts what came out,
    by job name.
    """

    reasons: tuple[str, ...] = ()
    silent: bool = False
    swallow: bool = False
    accepting: bool = True
    sheets: dict[str, int] = field(default_factory=dict)
    papers: dict[str, bytes] = field(default_factory=dict)
    jobs: list[PrinterJob] = field(default_factory=list)

    async def status(self) -> PrinterStatus:
        """Its state now."""
        self._answer()
        busy = any(job.state not in ENDED for job in self.jobs)
        state = PrinterState.PROCESSING if busy else PrinterState.IDLE
        return PrinterStatus(state=state, reasons=self.reasons, accepting=self.accepting, toner_pct=75.0)

    async def print_pdf(self, name: str, pdf: bytes) -> int:
        """Take a paper."""
        self._answer()
        if not self.accepting:
            raise RefusedError("the printer takes no jobs")
        self.papers[name] = pdf
        self.jobs.append(PrinterJob(len(self.jobs) + 1, name, JobState.PROCESSING, ("job-printing",), 0))
        if self.swallow:
            self.silent = True
            raise UnavailableError("the printer broke off")
        self._work()
        return self.jobs[-1].ipp_job_id

    async def job(self, ipp_job_id: int) -> PrinterJob | None:
        """One job."""
        self._answer()
        return next((job for job in self.jobs if job.ipp_job_id == ipp_job_id), None)

    async def jobs_named(self, name: str) -> list[PrinterJob]:
        """The jobs under this name."""
        self._answer()
        return [job for job in self.jobs if job.name == name]

    async def cancel(self, ipp_job_id: int) -> None:
        """Give a job up."""
        self._answer()
        self.jobs = [
            replace(job, state=JobState.CANCELED, reasons=("job-canceled-by-user",))
            if job.ipp_job_id == ipp_job_id and job.state not in ENDED
            else job
            for job in self.jobs
        ]

    async def close(self) -> None:
        """Nothing to let go of."""

    def forget(self) -> None:
        """Switched off and on: it knows no jobs and counts from one."""
        self.jobs.clear()

    def _answer(self) -> None:
        if self.silent:
            raise UnavailableError("the printer does not answer")
        self._work()

    def _work(self) -> None:
        if self.reasons:
            return
        for i, job in enumerate(self.jobs):
            if job.state not in ENDED:
                self.sheets[job.name] = self.sheets.get(job.name, 0) + 1
                self.jobs[i] = replace(
                    job, state=JobState.COMPLETED, reasons=("job-completed-successfully",), sheets=1
                )
