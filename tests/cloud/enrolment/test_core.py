"""Every state of a certificate, before, within and after its time, for both things that it is used for."""

from datetime import UTC, datetime, timedelta

import pytest

from cloud.enrolment.causes import Cause
from cloud.enrolment.core import (
    DROP_AGAIN_MAX,
    GOOD,
    UNPROVEN_MAX,
    Held,
    Purpose,
    Standing,
    drop_again_after,
    given_again,
    judge,
    surplus,
)
from contract.enrolment import CERTIFICATE

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)
DAY = timedelta(days=1)
GRACE = 90 * DAY
LIVING = sorted(GOOD)
TIMES = {
    "early": (NOW + DAY, NOW + 31 * DAY),
    "good": (NOW - DAY, NOW + 30 * DAY),
    "just over": (NOW - 31 * DAY, NOW),
    "within the grace": (NOW - 120 * DAY, NOW - GRACE + DAY),
    "too late": (NOW - 121 * DAY, NOW - GRACE),
}


def standing(state, times, *, out_of_service=False, replaced=False):
    valid_from, expires_at = TIMES[times]
    return Standing(state, valid_from, expires_at, out_of_service, replaced)


@pytest.mark.parametrize("state", LIVING)
@pytest.mark.parametrize(
    ("times", "service", "renewal"),
    [
        ("early", Cause.NOT_YET_VALID, Cause.NOT_YET_VALID),
        ("good", None, None),
        ("just over", Cause.EXPIRED_CERTIFICATE, None),
        ("within the grace", Cause.EXPIRED_CERTIFICATE, None),
        ("too late", Cause.EXPIRED_CERTIFICATE, Cause.EXPIRED_CERTIFICATE),
    ],
)
def test_an_expired_one_may_be_renewed_within_the_grace_and_nothing_else(state, times, service, renewal):
    assert judge(standing(state, times), Purpose.SERVICE, NOW, GRACE) == service
    assert judge(standing(state, times), Purpose.RENEWAL, NOW, GRACE) == renewal


@pytest.mark.parametrize("times", ["just over", "within the grace"])
def test_what_the_sweep_has_marked_as_expired_is_judged_alike(times):
    marked = standing("expired", times)
    assert judge(marked, Purpose.RENEWAL, NOW, GRACE) is None
    assert judge(marked, Purpose.SERVICE, NOW, GRACE) is Cause.EXPIRED_CERTIFICATE
    replaced = standing("expired", times, replaced=True)
    assert judge(replaced, Purpose.RENEWAL, NOW, GRACE) is Cause.EXPIRED_CERTIFICATE


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("times", TIMES)
def test_revoked_and_out_of_service_stay_so_at_any_time(times, purpose):
    assert judge(standing("revoked", times), purpose, NOW, GRACE) is Cause.REVOKED_CERTIFICATE
    for state in CERTIFICATE.states:
        away = standing(state, times, out_of_service=True)
        assert judge(away, purpose, NOW, GRACE) is Cause.OUT_OF_SERVICE


def test_only_states_of_the_contract_are_good():
    assert set(CERTIFICATE.states) - GOOD == {"requested", "refused", "revoked", "expired"}
    assert not CERTIFICATE.ends & GOOD


def held(serial, state, key="k", age=timedelta(hours=1)):
    return Held(serial, state, key, NOW - age, NOW - age + 30 * DAY)


@pytest.mark.parametrize(
    ("certificates", "shown", "again"),
    [
        ([held("a", "active", "old"), held("b", "issued")], "a", "b"),
        ([held("a", "active", "old"), held("b", "trial")], "a", "b"),
        ([held("a", "superseded", "old"), held("b", "active")], "a", "b"),
        ([held("b", "issued")], None, "b"),
        ([held("a", "active")], "a", None),
        ([held("a", "trial")], "a", None),
        ([held("a", "active", "old"), held("b", "issued", "another")], "a", None),
        ([held("a", "active", "old"), held("b", "revoked")], "a", None),
        ([held("a", "active", "old"), held("b", "superseded")], "a", None),
        ([held("a", "active", "old"), held("b", "issued", age=21 * DAY)], "a", None),
        ([held("b", "issued", age=2 * DAY), held("c", "issued")], None, "c"),
    ],
)
def test_the_same_key_gets_the_same_certificate_while_it_is_young_and_unproven(certificates, shown, again):
    assert given_again(certificates, "k", shown, NOW) == again


def test_of_what_is_never_proven_the_unused_and_the_oldest_end_first():
    hours = [timedelta(hours=hour) for hour in range(9, 0, -1)]
    certificates = [
        held("active", "active", age=hours[0]),
        held("shown", "trial", age=hours[1]),
        held("tried", "trial", age=hours[2]),
        held("first", "issued", age=hours[3]),
        held("second", "issued", age=hours[4]),
        held("new", "issued", age=hours[5]),
    ]
    assert UNPROVEN_MAX == 4
    assert surplus(certificates, {"shown", "new"}) == ["first"]
    more = [*certificates, held("third", "issued", age=hours[6]), held("fourth", "issued", age=hours[7])]
    assert surplus(more, {"shown", "fourth"}) == ["first", "second", "new"]
    assert surplus(certificates[:3], {"shown"}) == []
    only_kept = [held(str(i), "trial") for i in range(6)]
    assert surplus(only_kept, {str(i) for i in range(6)}) == []


def test_a_drop_is_tried_again_ever_more_slowly():
    waits = [drop_again_after(tries) for tries in range(1, 40)]
    assert waits[0] == timedelta(seconds=1)
    assert waits == sorted(waits)
    assert waits[-1] == DROP_AGAIN_MAX
