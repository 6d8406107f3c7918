"""A printer that speaks IPP (RFC 8011), straight to its endpoint: the sealed bytes reach it unchanged.

`pyipp` and with it `aiohttp` are imported at the first question: they weigh 18 MB, and only a kiosk prints.
"""

import asyncio
import math
from typing import TYPE_CHECKING, Any

from edge_agent.documents.printer import JobState, PrinterJob, PrinterState, PrinterStatus, plain
from edge_agent.errors import RefusedError, UnavailableError

if TYPE_CHECKING:
    from pyipp import IPP
    from pyipp.enums import IppOperation

ANSWER_S = 8.0
"""How long one question may take; a paper of 32 MB passes a slow USB bridge in that time."""
MEDIA = "iso_a4_210x297mm"
"""PWG 5101.1."""
JOBS_LISTED_MAX = 200
_REFUSABLE = frozenset({"PRINT_JOB", "GET_JOB_ATTRIBUTES", "CANCEL_JOB"})
_BUSY = frozenset({0x0503, 0x0506, 0x0507, 0x0509, 0x050A, 0x050B})
"""Answers of RFC 8011, appendix B, by which no job was made: version, not accepting, busy, deactivated."""


class IppPrinter:
    """The printer at `uri`, such as `ipp://printer.local/ipp/print`.

    Args:
        uri: ipp or ipps, with host and path.
        user: requesting-user-name, the kiosk's id.
        answer_s: how long one question may take.
    """

    def __init__(self, uri: str, user: str, answer_s: float = ANSWER_S) -> None:
        self._uri = uri
        self._user = user
        self._answer_s = answer_s
        self._client: IPP | None = None

    async def status(self) -> PrinterStatus:
        """Its state now."""
        answer = await self._ask(
            "GET_PRINTER_ATTRIBUTES",
            {
                "requested-attributes": [
                    "printer-state",
                    "printer-state-reasons",
                    "printer-is-accepting-jobs",
                    "marker-levels",
                    "marker-types",
                    "printer-supply",
                ]
            },
        )
        found = _first(answer, "printers")
        return PrinterStatus(
            state=PrinterState(int(found.get("printer-state", PrinterState.STOPPED))),
            reasons=_reasons(found.get("printer-state-reasons")),
            accepting=bool(found.get("printer-is-accepting-jobs", True)),
            toner_pct=_lowest_supply(found),
        )

    async def print_pdf(self, name: str, pdf: bytes) -> int:
        """Print-Job; `ipp-attribute-fidelity` refuses the job rather than scaling the paper."""
        answer = await self._ask(
            "PRINT_JOB",
            {"job-name": name, "document-format": "application/pdf", "ipp-attribute-fidelity": True},
            {
                "job-attributes-tag": {
                    "copies": 1,
                    "media": MEDIA,
                    "print-scaling": "none",
                    "sides": "one-sided",
                },
                "data": pdf,
            },
        )
        found = _first(answer, "jobs").get("job-id")
        if not isinstance(found, int):
            raise UnavailableError(f"printer {self._uri} took the paper and named no job")
        return found

    async def job(self, ipp_job_id: int) -> PrinterJob | None:
        """Get-Job-Attributes."""
        try:
            answer = await self._ask("GET_JOB_ATTRIBUTES", {"job-id": ipp_job_id})
        except RefusedError:
            return None
        return _job(_first(answer, "jobs"))

    async def jobs_named(self, name: str) -> list[PrinterJob]:
        """Get-Jobs, those under way and those that have ended."""
        found: list[PrinterJob] = []
        for which in ("not-completed", "completed"):
            answer = await self._ask(
                "GET_JOBS",
                {
                    "which-jobs": which,
                    "limit": JOBS_LISTED_MAX,
                    "requested-attributes": [
                        "job-id",
                        "job-name",
                        "job-state",
                        "job-state-reasons",
                        "job-impressions-completed",
                    ],
                },
            )
            found += [_job(row) for row in answer["jobs"] if row.get("job-name") == name]
        return found

    async def cancel(self, ipp_job_id: int) -> None:
        """Cancel-Job."""
        try:
            await self._ask("CANCEL_JOB", {"job-id": ipp_job_id})
        except RefusedError:
            pass  # it has ended or is not known: `job` tells which

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _ask(
        self, operation: str, attributes: dict[str, Any], more: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """One question; RefusedError only to the operations of `_REFUSABLE`."""
        client, number = self._open(operation)
        from aiohttp import ClientError  # imported by now
        from pyipp.exceptions import IPPError

        message = {
            "operation-attributes-tag": {"requesting-user-name": self._user, **attributes},
            **(more or {}),
        }
        try:
            # The library's own time limit ends with the headers; ours covers the body as well.
            async with asyncio.timeout(self._answer_s):
                answer: dict[str, Any] = await client.execute(number, message)
        except IPPError as error:
            if operation in _REFUSABLE and _certainly_nothing(operation, error):
                raise RefusedError(f"printer {self._uri}: {operation} was refused: {_code(error)}") from error
            raise UnavailableError(f"printer {self._uri}: {operation}: {_code(error)}") from error
        except (TimeoutError, OSError, ClientError) as error:
            raise UnavailableError(f"printer {self._uri}: {operation}: no whole answer in time") from error
        return answer

    def _open(self, operation: str) -> "tuple[IPP, IppOperation]":
        from pyipp import IPP  # 18 MB, see above
        from pyipp.enums import IppOperation, IppTag
        from pyipp.tags import ATTRIBUTE_TAG_MAP

        if self._client is None:
            # pyipp leaves out, without a word, every attribute whose syntax it does not know (RFC 8011, 5.2).
            ATTRIBUTE_TAG_MAP.update(
                {"print-scaling": IppTag.KEYWORD, "media": IppTag.KEYWORD, "limit": IppTag.INTEGER}
            )
            self._client = IPP(self._uri, request_timeout=math.ceil(self._answer_s) + 1)
        return self._client, IppOperation[operation]


def _certainly_nothing(operation: str, error: Exception) -> bool:
    """Whether the printer did certainly nothing; else nobody can tell."""
    from aiohttp import ClientConnectorError
    from pyipp.exceptions import IPPResponseError

    if isinstance(error.__cause__, ClientConnectorError):
        return operation == "PRINT_JOB"
    status = _status(error)
    if isinstance(error, IPPResponseError):
        return 400 <= status < 500  # HTTP's own: the request did not reach the printer's queue
    return 0x0400 <= status <= 0x04FF or status in _BUSY


def _status(error: Exception) -> int:
    details = error.args[1] if len(error.args) > 1 else None
    status = details.get("status-code") if isinstance(details, dict) else None
    return status if isinstance(status, int) else -1


def _code(error: Exception) -> str:
    status = _status(error)
    return f"status {status:#06x}" if status >= 0 else str(error.args[0] if error.args else error)


def _first(answer: dict[str, Any], group: str) -> dict[str, Any]:
    rows = answer.get(group) or [{}]
    found: dict[str, Any] = rows[0]
    return found


def _reasons(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value]
    return tuple(plain(reason) for reason in listed if isinstance(reason, str) and reason not in ("", "none"))


def _job(row: dict[str, Any]) -> PrinterJob:
    sheets = row.get("job-impressions-completed")
    return PrinterJob(
        ipp_job_id=int(row.get("job-id", 0)),
        name=str(row.get("job-name", "")),
        state=JobState(int(row.get("job-state", JobState.PENDING))),
        reasons=_reasons(row.get("job-state-reasons")),
        sheets=sheets if isinstance(sheets, int) else None,
    )


def _lowest_supply(found: dict[str, Any]) -> float | None:
    """The lowest level of what is consumed, in percent; None where the printer tells none.

    Source: `marker-levels`, or `printer-supply` of PWG 5100.13. Waste receptacles fill and are left out;
    negative levels mean unknown.
    """
    levels = _listed(found.get("marker-levels"))
    types = _listed(found.get("marker-types"))
    percents = [
        float(level)
        for i, level in enumerate(levels)
        if isinstance(level, int) and 0 <= level <= 100 and "waste" not in str(types[i : i + 1])
    ]
    for supply in _listed(found.get("printer-supply")):
        fields = dict(part.split("=", 1) for part in str(supply).split(";") if "=" in part)
        level, whole = fields.get("level", ""), fields.get("maxcapacity", "")
        if (
            fields.get("class") == "supplyThatIsConsumed"
            and level.isdigit()
            and whole.isdigit()
            and int(whole)
        ):
            percents.append(min(100.0, 100.0 * int(level) / int(whole)))
    return min(percents) if percents else None


def _listed(value: object) -> list[object]:
    if isinstance(value, list):
        return value
    return [] if value is None or value == "" else [value]
