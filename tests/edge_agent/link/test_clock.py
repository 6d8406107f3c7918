"""What a device believes of the time, and how long the certificates are that it reads."""

import datetime as dt
import ssl

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from contract.messages import AT_MAX_MS, AT_MIN_MS
from edge_agent.errors import MalformedError
from edge_agent.link.certificate import lives
from edge_agent.link.clock import SAVE_STEP_MS, SAVE_WAIT_S, DeviceClock
from tests.edge_agent.authority import Authority

FLOOR = 1_800_000_000_000
BASE = FLOOR - 30 * SAVE_STEP_MS
CEILING = FLOOR + 30 * SAVE_STEP_MS


def clock() -> DeviceClock:
    return DeviceClock(FLOOR, BASE, CEILING)


def test_a_machine_in_1970_is_not_believed_and_the_cloud_is() -> None:
    found = clock()
    assert found.best_ms(5_000, 5.0) == 5_000 < found.floor_ms
    assert found.judge_ms(5_000) == found.certain_ms(5_000, 5.0) == FLOOR
    found.told(FLOOR + 60_000, 10.0)
    assert found.best_ms(15_000, 15.0) == FLOOR + 65_000
    assert found.judge_ms(15_000) == FLOOR + 60_000


def test_a_clock_that_can_be_right_counts_but_not_for_our_own_certificate() -> None:
    found = clock()
    found.told(FLOOR + 60_000, 0.0)
    ahead = FLOOR + SAVE_STEP_MS
    assert found.best_ms(ahead, 1.0) == ahead
    assert found.certain_ms(ahead, 1.0) == FLOOR + 61_000
    assert found.judge_ms(ahead) is None


def test_the_floor_is_written_once_a_day_and_not_more_often_than_hourly() -> None:
    found = clock()
    assert found.told(FLOOR + SAVE_STEP_MS - 1, 0.0) is None
    assert found.told(FLOOR + SAVE_STEP_MS, 1.0) == FLOOR + SAVE_STEP_MS
    assert found.told(FLOOR + 3 * SAVE_STEP_MS, 2.0) is None
    later = 1.0 + SAVE_WAIT_S
    assert found.told(FLOOR + 3 * SAVE_STEP_MS, later) == FLOOR + 3 * SAVE_STEP_MS


def test_a_cloud_that_was_far_ahead_cannot_shut_a_device_out() -> None:
    found = clock()
    found.told(AT_MAX_MS, 0.0)
    assert found.floor_ms == CEILING
    found.told(FLOOR + 1_000, 1.0)
    assert found.floor_ms == FLOOR + 1_000
    found.told(AT_MIN_MS, 2.0)
    assert found.floor_ms == BASE, "what a certificate proves to be past stays past"


@given(st.lists(st.tuples(st.integers(-(10**13), 10**13), st.floats(0, 1e6)), max_size=20))
def test_the_floor_stays_between_what_certificates_prove_and_where_ours_ends(
    told: list[tuple[int, float]],
) -> None:
    found, now = clock(), 0.0
    for server_ms, wait_s in told:
        now += wait_s
        found.told(server_ms, now)
        assert BASE <= found.floor_ms <= CEILING
        assert found.certain_ms(0, now) >= found.floor_ms


@pytest.mark.parametrize("year", [1975, 2026, 2049, 2050, 2067, 2150])
def test_a_life_is_read_as_the_library_reads_it(year: int) -> None:
    begins = dt.datetime(year, 2, 28, 23, 59, 58, tzinfo=dt.UTC)
    ends = begins + dt.timedelta(days=400)
    authority = Authority(devices=(begins, ends))
    made = authority.device(ec.generate_private_key(ec.SECP256R1()).public_key(), "kiosk-001")
    first, second = lives(made.public_bytes(Encoding.PEM) + authority.pem)
    assert (first.not_before_s, first.not_after_s) == (begins.timestamp(), ends.timestamp())
    assert first.begins_s == first.not_before_s + 86_400
    assert second.begins_s == second.not_before_s, "a life of an hour has no day to be backdated by"


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
def test_what_is_no_certificate_is_a_sentence(junk: bytes, at: int, octet: int) -> None:
    with pytest.raises(MalformedError):
        lives(junk)
    der = bytearray(MADE)
    der[at % len(der)] = octet
    try:
        lives(pem(bytes(der)))
    except MalformedError:
        pass  # the only thing that may come of it


def pem(der: bytes) -> bytes:
    return ssl.DER_cert_to_PEM_cert(der).encode()


MADE = (
    Authority()
    .device(ec.generate_private_key(ec.SECP256R1()).public_key(), "kiosk-001")
    .public_bytes(Encoding.DER)
)
