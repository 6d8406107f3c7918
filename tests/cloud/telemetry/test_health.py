"""What an operator is told to look at."""

from datetime import UTC, datetime

import pytest

from cloud.telemetry.health import Concern, Newcomer, concerns, newcomer
from cloud.telemetry.store import Last

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


def latest(age_s: float = 5, **values: float) -> dict[str, Last]:
    return {name: Last(NOW_MS - int(age_s * 1000), value) for name, value in values.items()}


def test_a_device_that_is_well_needs_nothing() -> None:
    well = latest(
        cpu_pct=99, memory_pct=60, disk_pct=50, printer_ready=1, printer_paper_empty=0, clock_skew_ms=-400
    )
    assert concerns(True, well, NOW) == []


def test_of_a_device_that_is_away_only_that_is_said() -> None:
    assert concerns(False, latest(disk_pct=99), NOW) == [Concern.OFFLINE]


@pytest.mark.parametrize(
    ("values", "concern"),
    [
        ({"printer_ready": 0, "printer_paper_empty": 1}, Concern.PAPER),
        ({"printer_ready": 0, "printer_jammed": 1}, Concern.JAM),
        ({"printer_ready": 0, "printer_jammed": 0}, Concern.PRINTER),
        ({"printer_toner_pct": 4}, Concern.TONER),
        ({"disk_pct": 91}, Concern.DISK),
        ({"memory_pct": 96}, Concern.MEMORY),
        ({"temperature_c": 85}, Concern.HOT),
        ({"outbox_waiting": 501}, Concern.OUTBOX),
    ],
)
def test_each_fault_has_its_word(values: dict[str, float], concern: Concern) -> None:
    assert concerns(True, latest(**values), NOW) == [concern]


def test_a_connected_device_without_samples_is_silent() -> None:
    assert concerns(True, {}, NOW) == [Concern.SILENT]
    assert concerns(True, latest(61, cpu_pct=1), NOW) == [Concern.SILENT]
    assert concerns(True, latest(59, cpu_pct=1), NOW) == []


def test_a_device_that_samples_seldom_is_silent_later() -> None:
    assert concerns(True, latest(3600, cpu_pct=1), NOW, sampling_s=3600) == []
    assert concerns(True, latest(10_801, cpu_pct=1), NOW, sampling_s=3600) == [Concern.SILENT]


def test_a_wrong_clock_is_not_taken_for_silence() -> None:
    behind = latest(3600, cpu_pct=1, clock_skew_ms=-3_598_000)
    assert concerns(True, behind, NOW) == [Concern.CLOCK]


def test_only_who_never_was_here_is_a_newcomer_and_only_an_open_token_lets_it_come() -> None:
    assert newcomer(False, enrolled=False, invited=True) is Newcomer.AWAITED
    assert newcomer(False, enrolled=False, invited=False) is Newcomer.TOKENLESS
    for invited in (False, True):
        assert newcomer(False, enrolled=True, invited=invited) is None
        assert newcomer(True, enrolled=False, invited=invited) is None
