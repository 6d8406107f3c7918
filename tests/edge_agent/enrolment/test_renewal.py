"""Renewal: when it is due, how it is tried, how it goes back; and nothing is lost whenever the power goes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.errors import IllegalTransitionError
from edge_agent.enrolment import renewal as r
from edge_agent.link.certificate import Life
from tests.edge_agent.enrolment.renewal_world import DAY_S, LIFE_S, LIMITS, Device, device

DUE_S = 20 * DAY_S
LAST_DUE_S = 21.5 * DAY_S


def kinds(found: Device) -> list[str]:
    return [type(effect).__name__ for effect in found.effects]


@pytest.mark.parametrize("state", r.RENEWAL.states)
@pytest.mark.parametrize("event", r.RENEWAL.events)
def test_an_event_moves_along_its_edge_or_is_refused(state: str, event: str) -> None:
    target = r.RENEWAL.edges[state].get(event)
    if target is None:
        with pytest.raises(IllegalTransitionError):
            r.RENEWAL.apply(state, event)
    else:
        assert r.RENEWAL.apply(state, event) == target


def test_a_certificate_is_renewed_after_two_thirds_of_its_life() -> None:
    kiosk = device()
    kiosk.run(DUE_S - 1)
    assert kinds(kiosk) == []
    kiosk.run(LAST_DUE_S)
    assert kinds(kiosk) == ["Ask", "Use", "Prove", "Commit", "ClearSpare"]
    assert (kiosk.disk.current, kiosk.disk.next, kiosk.disk.old) == (2, 0, 0)
    assert (kiosk.core.state, kiosk.connected, kiosk.core.failures) == ("resting", True, 0)


def test_a_fleet_does_not_renew_in_one_moment() -> None:
    found = r.Found(life=Life(-DAY_S, LIFE_S), proven=True)
    due = set()
    for seed in range(50):
        core = r.Renewal(found, LIMITS, random.Random(seed), r.Moment(0, DUE_S))
        core.handle(r.TimePassed(), r.Moment(0, DUE_S))
        due.add(core._due_s)
    assert len(due) == 50
    assert DUE_S <= min(due) < max(due) <= LAST_DUE_S


def test_the_first_certificate_is_proven_once() -> None:
    kiosk = device(proven=False)
    kiosk.run(DAY_S)
    assert kinds(kiosk) == ["Prove", "NoteProven"]
    kiosk.boot()
    kiosk.run(2 * DAY_S)
    assert kinds(kiosk) == ["Prove", "NoteProven"]
    assert kiosk.cloud.active == 1


def test_a_plain_key_is_encrypted_without_any_hurry() -> None:
    kiosk = device(plain=True)
    kiosk.run(DAY_S)
    assert kinds(kiosk) == ["Encrypt"]
    assert not kiosk.disk.plain


def test_nothing_is_moved_while_an_update_is_on_trial() -> None:
    kiosk = device(plain=True)
    kiosk.update_on_trial = True
    kiosk.boot()
    kiosk.run(25 * DAY_S)
    assert kinds(kiosk) == []
    kiosk.update_on_trial = False
    kiosk.run(25 * DAY_S + 120)
    assert kinds(kiosk)[:2] == ["Encrypt", "Ask"]
    assert kiosk.disk.current == 2


def test_a_new_certificate_that_the_broker_refuses_is_put_back_and_given_up() -> None:
    kiosk = device()
    kiosk.run(DUE_S - 1)
    kiosk.cloud.refuses_new = True
    kiosk.run(LAST_DUE_S + DAY_S)
    assert (kiosk.disk.current, kiosk.connected, kiosk.core.shows_next) == (1, True, False)
    assert kiosk.core.failures > r.TRIALS_MAX
    assert "does not know" in kiosk.core.sentence
    assert len(kiosk.cloud.lives) < 60, "it asks slowly"
    kiosk.cloud.refuses_new = False
    kiosk.run(LAST_DUE_S + 2 * DAY_S)
    assert (kiosk.disk.current, kiosk.connected) == (kiosk.cloud.active, True)
    assert (kiosk.core.failures, kiosk.core.sentence) == (0, "")


def test_a_trial_that_hears_nothing_ends_and_comes_again_with_the_network() -> None:
    kiosk = device()
    kiosk.run(DUE_S - 1)
    kiosk.disk.next = kiosk.cloud.issue(kiosk.now_s)
    kiosk.boot()
    kiosk.run(kiosk.now_s)
    kiosk.network = False
    kiosk.run(kiosk.now_s + 2 * LIMITS.trial_s)
    assert (kiosk.core.state, kiosk.shows_next) == ("staged", False)
    kiosk.network = True
    kiosk.run(kiosk.now_s + LIMITS.retry_s + 100)
    assert (kiosk.disk.current, kiosk.connected) == (2, True)


def test_a_control_plane_that_is_away_is_asked_again_and_the_new_certificate_stays_in_use() -> None:
    kiosk = device()
    kiosk.run(DUE_S - 1)
    kiosk.disk.next = kiosk.cloud.issue(kiosk.now_s)
    kiosk.cloud.away = True
    kiosk.boot()
    kiosk.run(kiosk.now_s + 3600)
    assert (kiosk.core.state, kiosk.shown, kiosk.connected) == ("proving", 2, True)
    kiosk.lose_link()
    assert kiosk.core.state == "trial"
    kiosk.cloud.away = False
    kiosk.run(kiosk.now_s + 2 * LIMITS.retry_max_s)
    assert kiosk.disk.current == kiosk.cloud.active == 2


def test_a_new_certificate_that_ends_unproven_while_its_link_stands_is_followed_by_another() -> None:
    kiosk = device()
    kiosk.run(DUE_S - 1)
    kiosk.disk.next = kiosk.cloud.issue(kiosk.now_s)
    kiosk.cloud.lives[2] = Life(kiosk.now_s - DAY_S, kiosk.now_s + 60)
    kiosk.cloud.away = True
    kiosk.boot()
    kiosk.run(kiosk.now_s + 60)
    assert (kiosk.core.state, kiosk.shown, kiosk.connected) == ("proving", 2, True)
    kiosk.cloud.away = False
    kiosk.run(kiosk.now_s + DAY_S)
    assert kinds(kiosk)[: r.PROOFS_MAX + 3] == ["Use", *["Prove"] * r.PROOFS_MAX, "Use", "Use"]
    assert (kiosk.disk.current, kiosk.connected) == (3, True)


def test_who_is_refused_with_the_old_certificate_goes_on_with_the_new_one() -> None:
    kiosk = device()
    kiosk.disk.next = kiosk.cloud.issue(0.0)
    kiosk.cloud.prove(2)
    kiosk.boot()
    kiosk.run(60)
    assert (kiosk.disk.current, kiosk.connected) == (2, True)
    assert kinds(kiosk) == ["Use", "Prove", "Commit", "ClearSpare"]


def test_an_expired_device_asks_for_a_certificate_before_anything_else() -> None:
    kiosk = device()
    kiosk.now_s = LIFE_S + 10 * DAY_S
    kiosk.cloud.away = True
    kiosk.boot()
    kiosk.run(kiosk.now_s + 3600)
    assert set(kinds(kiosk)) == {"Hold", "Ask"}
    assert "ended" in kiosk.held
    assert not kiosk.connected
    assert kiosk.core.days_left(kiosk.now_s) == pytest.approx(-10, abs=0.1)
    kiosk.cloud.away = False
    kiosk.run(kiosk.now_s + LIMITS.retry_s + 10)
    assert (kiosk.disk.current, kiosk.connected, kiosk.held) == (2, True, "")


@pytest.mark.parametrize("why", ["revoked", "out of grace"])
def test_who_may_not_renew_says_so_asks_slowly_and_takes_a_token_at_once(why: str) -> None:
    kiosk = device()
    if why == "revoked":
        kiosk.cloud.revoke(1)
    else:
        kiosk.now_s = LIFE_S + 91 * DAY_S
    kiosk.boot()
    kiosk.run(kiosk.now_s + 6 * 3600)
    assert (kiosk.core.state, kiosk.core.sentence) == ("refused", "make a new token")
    assert kinds(kiosk).count("Ask") <= 2 * 6 * 3600 / LIMITS.refused_s + 1
    kiosk.token = True
    kiosk.run(kiosk.now_s + 2 * LIMITS.token_look_s + 60)
    assert (kiosk.disk.current, kiosk.connected, kiosk.core.state) == (2, True, "resting")


def test_a_revocation_that_was_taken_back_needs_nobody() -> None:
    kiosk = device()
    kiosk.cloud.revoke(1)
    kiosk.run(3600)
    assert kiosk.core.state == "refused"
    kiosk.cloud.revoked.clear()
    kiosk.cloud.good.add(1)
    kiosk.run(kiosk.now_s + 3600)
    assert (kiosk.core.state, kiosk.connected) == ("resting", True)


def test_a_clock_that_was_ahead_releases_the_link_again() -> None:
    core = r.Renewal(r.Found(life=Life(0, LIFE_S), proven=True), LIMITS, random.Random(1), r.Moment(0, 0))
    ahead = r.Moment(10, LIFE_S + 1)
    effects = core.handle(r.TimePassed(), ahead)
    assert [type(effect) for effect in effects] == [r.Hold, r.LookForToken]
    assert core.handle(r.TimePassed(), r.Moment(11, DAY_S)) == [r.Release()]
    assert core.deadline() > 100, "what was not due is not asked for"


def asked_at(seed: int, found: r.Found, start_s: float) -> float:
    """Seconds until a device that starts then asks, or tries what it has."""
    core = r.Renewal(found, LIMITS, random.Random(seed), r.Moment(0, start_s))
    while True:
        now = r.Moment(core.deadline(), start_s + core.deadline())
        effects = core.handle(r.TimePassed(), now)
        if any(isinstance(effect, r.Ask | r.Use) for effect in effects):
            return now.instant


@pytest.mark.parametrize("staged", [False, True], ids=["asks", "tries the next one"])
@pytest.mark.parametrize(
    "start_s", [LIFE_S - 3600, LIFE_S + DAY_S, LAST_DUE_S + DAY_S], ids=["ends", "ended", "overdue"]
)
def test_devices_whose_certificates_end_together_ask_at_moments_by_chance(
    start_s: float, staged: bool
) -> None:
    waits_for_the_end = staged and start_s < LIFE_S
    first_s = LIFE_S - start_s if waits_for_the_end else 0.0
    found = r.Found(life=Life(-DAY_S, LIFE_S), proven=True, staged=staged)
    moments = sorted(asked_at(seed, found, start_s) - first_s for seed in range(200))
    assert len(set(moments)) == 200
    assert 0 <= moments[0] < moments[-1] <= LIMITS.spread_s
    in_a_tenth = max(sum(at <= each < at + LIMITS.spread_s / 10 for each in moments) for at in moments)
    assert in_a_tenth < 50, "full jitter: of 200 devices about 20 ask in a tenth of the time"


def test_a_device_on_a_bench_asks_at_once_with_a_new_token() -> None:
    kiosk = device()
    kiosk.cloud.revoke(1)
    kiosk.now_s = LIFE_S + 100 * DAY_S
    kiosk.token = True
    kiosk.boot()
    kiosk.run(kiosk.now_s)
    assert kinds(kiosk)[:2] == ["Hold", "Ask"]
    kiosk.run(kiosk.now_s + 5)
    assert (kiosk.disk.current, kiosk.connected) == (2, True)


def test_a_token_that_comes_during_the_wait_ends_it() -> None:
    kiosk = device()
    kiosk.now_s = LIFE_S + 100 * DAY_S
    kiosk.boot()
    kiosk.run(kiosk.now_s)
    assert kinds(kiosk) == ["Hold"]
    kiosk.token = True
    kiosk.run(kiosk.now_s + LIMITS.token_look_s)
    assert kinds(kiosk)[:2] == ["Hold", "Ask"]


@pytest.mark.parametrize("after_s", [0.0, 300.0])
def test_a_busy_control_plane_is_asked_by_chance_and_not_before_it_has_said(after_s: float) -> None:
    moments = set()
    for seed in range(50):
        found = r.Found(life=Life(-DAY_S, LIFE_S), proven=True)
        core = r.Renewal(found, LIMITS, random.Random(seed), r.Moment(0, LIFE_S))
        core.handle(r.TimePassed(), r.Moment(0, LIFE_S))
        began_s = core.deadline()
        while not any(
            isinstance(effect, r.Ask)
            for effect in core.handle(r.TimePassed(), r.Moment(began_s, LIFE_S + began_s))
        ):
            began_s = core.deadline()
        core.handle(r.Failed(False, "busy", after_s), r.Moment(began_s, LIFE_S + began_s))
        told_s = core.again_at
        while core.state != "asking":
            at_s = core.deadline()
            core.handle(r.TimePassed(), r.Moment(at_s, LIFE_S + at_s))
        assert at_s == told_s
        moments.add(at_s - began_s)
    assert len(moments) == 50
    assert after_s <= min(moments) < max(moments) <= after_s + LIMITS.retry_s


def story(cut_at: int | None) -> Device:
    """Two renewals, a plain key, a first proof, a lost link and a control plane that is away for an hour."""
    kiosk = device(cut_at, proven=False, plain=True)
    kiosk.run(DUE_S)
    kiosk.cloud.away = True
    kiosk.run(LAST_DUE_S + 3600)
    kiosk.cloud.away = False
    kiosk.run(30 * DAY_S)
    kiosk.lose_link()
    kiosk.run(60 * DAY_S)
    return kiosk


EFFECTS = len(story(None).effects)


def test_the_calm_story_renews_twice() -> None:
    kiosk = story(None)
    assert (kiosk.disk.current, len(kiosk.cloud.lives)) == (3, 3)


@pytest.mark.parametrize("cut_at", range(2 * EFFECTS))
def test_the_power_may_go_before_and_after_every_effect(cut_at: int) -> None:
    kiosk = story(cut_at)
    assert kiosk.cut_at is None, "the power was never cut"
    assert kiosk.disk.current == kiosk.cloud.active
    assert (kiosk.disk.next, kiosk.disk.old, kiosk.disk.proven, kiosk.disk.plain) == (0, 0, True, False)
    assert kiosk.connected
    assert len(kiosk.cloud.lives) <= 4, "a cut costs one certificate at most"


SAYINGS = st.sampled_from(["up", "down", "refused", "time", "token", "trial", "wait"])


@settings(max_examples=300, deadline=None)
@given(
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.lists(st.tuples(SAYINGS, st.booleans(), st.booleans(), st.floats(0, 5 * DAY_S)), max_size=60),
)
def test_whatever_is_said_in_whatever_order(
    proven: bool, plain: bool, staged: bool, said: list[tuple[str, bool, bool, float]]
) -> None:
    """No illegal move, no proof of the wrong identity, no deadline that has passed and changes nothing."""
    now = r.Moment(0, 0)
    found = r.Found(life=Life(-DAY_S, LIFE_S), proven=proven, plain=plain, staged=staged)
    core = r.Renewal(found, LIMITS, random.Random(1), now)
    holds = proven_next = False
    for what, works, refused, wait_s in said:
        now = r.Moment(now.instant + wait_s, now.utc_s + wait_s)
        event: r.Event = {
            "up": r.LinkUp(),
            "down": r.LinkDown(),
            "refused": r.LinkRefused("no"),
            "token": r.TokenSeen(),
            "trial": r.TimePassed(update_on_trial=True),
        }.get(what, r.TimePassed())
        pending: r.Event | None = event
        while pending is not None:
            effects, pending = core.handle(pending, now), None
            for position, effect in enumerate(effects):
                answer: r.Event | None = None
                match effect:
                    case r.Ask():
                        answer = r.Staged()
                    case r.Use(following):
                        assert following == core.shows_next
                        holds = holds and not following
                        proven_next = False
                    case r.Hold():
                        assert not holds
                        holds = True
                    case r.Release():
                        assert holds
                        holds = False
                    case r.Prove():
                        answer = r.Proven()
                    case r.Commit():
                        assert proven_next, "only what the cloud has taken is committed"
                        answer = r.Committed(Life(now.utc_s - DAY_S, now.utc_s + LIFE_S))
                    case r.LookForToken():
                        pass
                    case _:
                        answer = r.Done()
                if answer is not None:
                    assert position == len(effects) - 1, "only the last effect has an answer"
                    pending = answer if works else r.Failed(refused, "it did not work")
                    proven_next = works and isinstance(effect, r.Prove) and core.shows_next
        assert core.deadline() >= now.instant
        if core.deadline() == now.instant:
            assert core.handle(r.TimePassed(what == "trial"), now), (
                f"the deadline of {core.state} changes nothing"
            )
            break
