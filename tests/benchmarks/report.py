"""The row that each benchmark reports."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """One figure beside its baseline.

    `target` is a sentence such as `ratio >= 3`; `held` says whether it was met, None where none is set.
    `ratio` is value divided by baseline value.
    """

    name: str
    value: float
    unit: str
    baseline: str
    baseline_value: float | None
    ratio: float | None
    target: str
    held: bool | None
