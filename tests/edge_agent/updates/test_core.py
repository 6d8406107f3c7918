"""What becomes of an update: one version runs at the end, whatever is cut off, refused, busy or unwell."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.updates import BEFORE_ACTIVATION, UPDATE, UpdateCode
from edge_agent.updates import core
from edge_agent.updates import messages as m
from edge_agent.updates.health import Health, NotYet, Unwell, Well
from tests.edge_agent.updates.bench import LIMITS, NEW, OLD, Device, device, order

HOWS = {
    "well": lambda _version: Well(),
    "unwell": lambda _version: Unwell("it coughs"),
    "silent": lambda _version: NotYet(),
}


@pytest.mark.parametrize("ends", [True, False], ids=["agent", "board"])
def test_a_good_version_is_committed_and_told(ends: bool) -> None:
    one = device(ends=ends)
    one.order(order())
    assert one.slots.runs == one.slots.committed == NEW
    assert (one.told.state, one.told.code) == ("committed", "")
    assert one.answers == [("u-1", "")]
    assert not one.closed


@pytest.mark.parametrize("ends", [True, False], ids=["agent", "board"])
def test_an_unwell_version_is_rolled_back_with_what_was_found(ends: bool) -> None:
    one = device(ends=ends, health=HOWS["unwell"])
    one.order(order())
    assert one.slots.runs == one.slots.committed == OLD
    assert (one.told.state, one.told.code, one.told.detail) == (
        "rolled_back",
        "self-test-failed",
        "it coughs",
    )
    assert not one.closed


def test_a_version_that_says_nothing_is_rolled_back_after_its_time() -> None:
    one = device(health=HOWS["silent"])
    one.order(order())
    assert (one.told.state, one.told.code) == ("rolled_back", "no-answer")
    assert LIMITS.self_test_s <= one.now < LIMITS.self_test_s + 3 * core.PROBE_S


@pytest.mark.parametrize("ends", [True, False], ids=["agent", "board"])
@pytest.mark.parametrize("how", HOWS)
def test_a_power_cut_after_any_effect_leads_to_the_same_end(how: str, ends: bool) -> None:
    calm = device(ends=ends, health=HOWS[how])
    calm.order(order())
    wanted = (calm.slots.committed, calm.told.state)
    for cut in range(1, calm.effects + 1):
        one = device(ends=ends, health=HOWS[how], cut_after=cut)
        one.order(order())
        if not one.cloud:  # the power went before the order was on the disk: its job comes again
            one.order(order())
        assert (one.slots.committed, one.told.state) == wanted, f"cut after effect {cut}: {one.seen}"
        assert one.slots.runs == one.slots.committed
        assert not one.closed


def test_an_update_waits_while_the_device_is_used_and_says_so() -> None:
    one = device(busy="a visit is open")
    one.take(m.Ordered(order()))
    one.run(until_s=3600)
    assert (one.told.state, one.told.code, one.told.detail) == ("waiting", "device-busy", "a visit is open")
    assert one.slots.runs == OLD
    one.busy = ""
    one.run()
    assert one.told.state == "committed"


def test_it_does_not_wait_for_ever() -> None:
    one = device(busy="a visit is open")
    one.now = 0.0
    one.course._waiting_since = -core.WAIT_MAX_S
    one.order(order())
    assert (one.told.state, one.told.code) == ("failed", "device-busy")


SITTING = "a sitting is being held"


def on_trial(one: Device) -> Device:
    """A sitting opens as soon as the new version runs on trial."""
    one.take(m.Ordered(order()))
    one.run(until_s=one.now)
    assert one.told.state == "trial"
    one.busy = SITTING
    return one


def test_a_well_trial_is_committed_in_the_middle_of_a_sitting() -> None:
    one = on_trial(device(linked=False))
    one.run(until_s=30)
    one.take(m.LinkUp())
    one.run(until_s=40)
    assert (one.told.state, one.told.code) == ("committed", "")
    assert (one.slots.runs, one.interrupted) == (NEW, 0)


@pytest.mark.parametrize(
    ("linked", "health", "code"),
    [
        (True, NotYet("the microphone gives no sound"), "self-test-failed"),
        (True, NotYet(), "no-answer"),
        (False, Well(), "no-link"),
    ],
)
def test_what_has_not_proved_itself_is_taken_back_when_the_sitting_is_over(
    linked: bool, health: Health, code: str
) -> None:
    one = on_trial(device(linked=linked, health=lambda _version: health))
    one.run(until_s=LIMITS.trial_s - 10)
    assert (one.told.state, one.told.code, one.slots.runs) == ("trial", "device-busy", NEW)
    assert one.told.detail.startswith(f"{SITTING}; ")
    assert one.closed, "nothing else of the device is updated meanwhile"
    one.busy = ""
    one.run(until_s=LIMITS.trial_s)
    assert (one.told.state, one.told.code, one.slots.runs) == ("rolled_back", code, OLD)
    assert one.interrupted == 0


def test_what_proves_itself_late_in_a_sitting_is_committed() -> None:
    found: list[Health] = [NotYet("the microphone gives no sound")]
    one = on_trial(device(health=lambda _version: found[-1]))
    one.run(until_s=LIMITS.self_test_s + 100)
    assert one.told.code == "device-busy"
    found.append(Well())
    one.run()
    assert (one.told.state, one.told.code) == ("committed", "")
    assert one.interrupted == 0


def test_what_is_bad_is_taken_back_in_the_middle_of_a_sitting() -> None:
    found: list[Health] = [NotYet()]
    one = on_trial(device(health=lambda _version: found[-1]))
    found.append(Unwell("it coughs"))
    one.run(until_s=30)
    assert (one.told.state, one.told.detail, one.interrupted) == ("rolled_back", "it coughs", 1)


def test_a_sitting_that_nobody_ends_keeps_no_version_for_ever() -> None:
    one = on_trial(device(health=HOWS["silent"]))
    one.run()
    assert (one.told.state, one.told.code, one.interrupted) == ("rolled_back", "no-answer", 1)
    assert LIMITS.trial_s <= one.now < LIMITS.trial_s + 3 * core.PROBE_S


@given(
    st.lists(st.integers(1, 900), min_size=1, max_size=6),
    st.sampled_from(sorted(HOWS)),
    st.booleans(),
    st.lists(st.integers(1, 15), max_size=2),
)
def test_whenever_sittings_open_only_what_is_bad_interrupts_them(
    lengths: list[int], how: str, linked: bool, cuts: list[int]
) -> None:
    """Sittings and pauses take turns, the power goes meanwhile; only the unwell interrupts in its time."""
    one = device(health=HOWS[how], linked=linked)
    one.take(m.Ordered(order()))
    until = 0.0
    for number, length in enumerate(lengths):
        one.busy = SITTING if number % 2 else ""
        one.cut_after = one.effects + cuts[number] if number < len(cuts) else None
        until += min(length, (LIMITS.trial_s - 10) / len(lengths))
        one.run(until_s=until)
    assert one.interrupted == 0 or how == "unwell"
    one.busy, one.cut_after = "", None
    one.order(order())  # where the power went before it was on the disk, its job comes again
    assert one.told.state in UPDATE.ends
    assert (one.slots.committed == NEW) == (one.told.state == "committed")


@pytest.mark.parametrize("ends", [True, False], ids=["agent", "board"])
def test_what_was_given_up_after_it_was_decided_to_keep_it_is_not_told_as_committed(ends: bool) -> None:
    """After the verdict was saved the launcher gave the trial up, or the board went back."""
    one = device(ends=ends)
    one.journal.save(m.Entry(order=order(), state="trial", attempt=1, verdict=core.COMMIT))
    one.slots.undone = NEW
    one.boot()
    one.run()
    assert (one.told.state, one.told.code, one.told.detail) == ("rolled_back", "lost-track", f"{OLD} runs")
    assert one.slots.runs == one.slots.committed == OLD


def test_an_unplugged_cable_is_no_bad_image() -> None:
    one = device(linked=False, network=False)
    one.take(m.Ordered(order()))
    one.run(until_s=LIMITS.trial_s - 10)
    assert one.told.state == "trial"
    one.linked = True
    one.take(m.LinkUp())
    one.run()
    assert one.told.state == "committed"


def test_with_a_network_and_without_a_link_it_is_rolled_back() -> None:
    one = device(linked=False)
    one.order(order())
    assert (one.told.state, one.told.code) == ("rolled_back", "no-link")
    assert one.now < LIMITS.link_s + LIMITS.self_test_s


def test_even_a_cable_has_its_time() -> None:
    one = device(linked=False, network=False)
    one.order(order())
    assert (one.told.state, one.told.code) == ("rolled_back", "no-link")


def test_the_running_version_is_committed_at_once() -> None:
    one = device()
    one.order(order(version=OLD))
    assert (one.told.state, one.told.code) == ("committed", "already-running")
    assert "Fetch" not in one.seen


def test_an_older_version_is_taken_only_when_it_is_meant() -> None:
    one = device()
    one.order(order(version="0.9"))
    assert (one.told.state, one.told.code) == ("failed", "downgrade")
    one.order(order("u-2", "0.9", downgrade=True))
    assert (one.told.state, one.slots.runs) == ("committed", "0.9")


def test_a_newer_assignment_takes_the_place_of_one_that_waits() -> None:
    one = device(busy="a visit is open")
    one.take(m.Ordered(order()))
    one.run(until_s=100)
    one.busy = ""
    one.order(order("u-2", "3.0.0"))
    assert (one.cloud["u-1"].state, one.cloud["u-1"].code) == ("failed", "superseded")
    assert (one.cloud["u-2"].state, one.slots.runs) == ("committed", "3.0.0")


def test_an_assignment_during_a_trial_comes_after_it() -> None:
    one = device(linked=False)
    one.take(m.Ordered(order()))
    one.run(until_s=30)
    assert one.told.state == "trial"
    one.take(m.Ordered(order("u-2", "3.0.0")))
    one.run(until_s=40)
    assert one.cloud["u-2"].state == "assigned"
    one.linked = True
    one.take(m.LinkUp())
    one.run()
    assert one.cloud["u-1"].state == one.cloud["u-2"].state == "committed"
    assert one.slots.runs == "3.0.0"


def test_what_waits_can_be_cancelled_and_what_is_tried_cannot() -> None:
    one = device(busy="a visit is open")
    one.take(m.Ordered(order()))
    one.run(until_s=100)
    one.take(m.Cancelled("u-1"))
    one.run()
    assert (one.told.state, one.told.code) == ("failed", "cancelled")
    one.busy, one.linked = "", False
    one.boot()
    one.take(m.Ordered(order("u-2")))
    one.run(until_s=130)
    one.take(m.Cancelled("u-2"))
    one.run(until_s=140)
    assert one.answers[-1][0] == "u-2"
    assert "activated already" in one.answers[-1][1]
    assert one.cloud["u-2"].state == "trial"


def test_an_unknown_update_is_cancelled_already() -> None:
    one = device()
    one.take(m.Cancelled("u-9"))
    one.run()
    assert one.answers == [("u-9", "")]


def test_an_order_that_comes_again_changes_nothing() -> None:
    one = device()
    one.order(order())
    saves = one.seen.count("Save")
    one.order(order())
    assert one.seen.count("Save") == saves
    assert one.answers == [("u-1", ""), ("u-1", "")]


@pytest.mark.parametrize("state", ["polishing", "damaged"])
def test_a_state_that_this_agent_does_not_know_is_rolled_back(state: str) -> None:
    one = device()
    entry = m.Entry(order=order(), state=state, revision=9)
    one.journal.save(entry)
    one.slots.trial = NEW
    one.boot()
    one.run()
    assert one.slots.runs == OLD
    assert (one.told.state, one.told.code) == ("rolled_back", "lost-track")


def test_a_repository_that_is_away_is_asked_again_and_told_once() -> None:
    tries = []

    def away(work: int) -> m.Answered | None:
        tries.append(work)
        return m.Failed(work, "no route", again=True, code=UpdateCode.UNREACHABLE) if len(tries) < 8 else None

    one = device(fetch=away)
    one.order(order())
    assert one.told.state == "committed"
    assert len(tries) == 8
    assert one.told.revision <= 9


def test_a_repository_that_is_away_for_weeks_is_given_up() -> None:
    one = device(fetch=lambda work: m.Failed(work, "no route", again=True, code=UpdateCode.UNREACHABLE))
    one.course._entries["u-1"] = m.Entry(
        order=order(), state="downloading", revision=2, attempt=core.FETCH_TRIES_MAX
    )
    one.journal.save(one.course._entries["u-1"])
    one.boot()
    one.run()
    assert (one.told.state, one.told.code) == ("failed", "unreachable")


def test_what_is_refused_is_not_tried_again() -> None:
    one = device(fetch=lambda work: m.Failed(work, "expired", again=False, code=UpdateCode.METADATA_EXPIRED))
    one.order(order())
    assert (one.told.state, one.told.code, one.told.detail) == ("failed", "metadata-expired", "expired")
    assert one.seen.count("Fetch") == 1


def test_lost_bytes_are_downloaded_again() -> None:
    one = device(image_lost=True)
    one.order(order())
    assert one.told.state == "committed"
    assert one.seen.count("Fetch") == 2


def test_a_version_that_ends_the_agent_again_and_again_is_rolled_back() -> None:
    one = device(linked=False)
    one.take(m.Ordered(order()))
    one.run(until_s=10)
    for _ in range(core.ATTEMPTS_MAX + 1):
        one.boot()
        one.run(until_s=one.now + 5)
    assert (one.told.state, one.told.code) == ("rolled_back", "too-many-attempts")


def test_an_activation_that_never_reaches_the_target_is_given_up() -> None:
    one = device(activates=False)
    one.order(order())
    assert (one.told.state, one.told.code, one.slots.runs) == ("rolled_back", "too-many-attempts", OLD)
    assert one.seen.count("Activate") == core.ATTEMPTS_MAX


@pytest.mark.parametrize("refused", range(1, 30))
def test_a_full_disk_only_delays(refused: int) -> None:
    one = device()
    one.refuse_saves = refused
    one.order(order())
    while not one.cloud:  # the order itself was not taken: its job comes again
        one.order(order())
    assert one.told.state == "committed"
    assert not one.closed


def test_with_the_link_the_repository_is_asked_again_soon() -> None:
    away = [True]
    one = device(
        fetch=lambda work: (
            m.Failed(work, "no route", again=True, code=UpdateCode.UNREACHABLE) if away else None
        )
    )
    one.take(m.Ordered(order()))
    one.run(until_s=4 * core.FETCH_WAITS_S[-1])
    away.clear()
    one.take(m.LinkUp())
    one.run(until_s=one.now + core.FETCH_WAITS_S[0])
    assert one.told.state == "committed"


def test_only_so_many_ended_updates_are_remembered() -> None:
    one = device()
    for number in range(core.KEPT_ENDED + 10):
        one.order(order(f"u-{number}", f"2.0.{number}"))
    assert one.slots.runs == f"2.0.{core.KEPT_ENDED + 9}"
    one.course.handle(m.Started(), one.now)
    assert len(one.journal.entries(order().component)) == core.KEPT_ENDED
    assert len(one.course._entries) <= core.KEPT_ENDED


def test_a_target_that_never_takes_the_image_is_given_up() -> None:
    one = device(silent=(m.Stage,))
    one.order(order())
    assert (one.told.state, one.told.code, one.told.detail) == ("failed", "unavailable", "no answer")
    assert one.seen.count("Stage") == core.AGAIN_MAX


@pytest.mark.parametrize("ends", [True, False], ids=["agent", "board"])
def test_a_target_that_gives_no_answer_on_trial_is_taken_back(ends: bool) -> None:
    one = device(ends=ends, silent=(m.Probe,))
    one.order(order())
    assert (one.told.state, one.told.code, one.slots.runs) == ("rolled_back", "no-answer", OLD)
    assert one.now < LIMITS.self_test_s + 3 * core.AGAIN_S


def test_of_two_assignments_that_a_power_cut_left_open_the_newer_counts() -> None:
    one = device()
    for update, version in (("u-1", NEW), ("u-2", "3.0.0")):
        one.journal.save(m.Entry(order=order(update, version), state="assigned"))
    one.boot()
    one.run()
    assert (one.cloud["u-1"].state, one.cloud["u-1"].code) == ("failed", "superseded")
    assert (one.cloud["u-2"].state, one.slots.runs) == ("committed", "3.0.0")


@pytest.mark.parametrize("refused", range(1, 8))
def test_news_that_the_outbox_does_not_take_is_told_later(refused: int) -> None:
    one = device()
    one.refuse_news = refused
    one.order(order())
    assert one.refuse_news == 0
    assert (one.told.state, one.slots.runs) == ("committed", NEW)
    entry = one.journal.entries(order().component)[0]
    assert entry.told == entry.revision == one.told.revision


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.sampled_from(sorted(HOWS)), st.booleans())
def test_however_often_the_power_goes_one_version_runs_at_the_end(
    cuts: list[int], how: str, ends: bool
) -> None:
    one = device(ends=ends, health=HOWS[how])
    for cut in cuts:
        one.cut_after = one.effects + cut
        one.order(order())
    one.cut_after = None
    one.order(order())
    assert one.told.state in UPDATE.ends
    assert one.slots.runs == one.slots.committed
    assert (one.slots.committed == NEW) == (one.told.state == "committed")
    assert not one.closed


def test_every_edge_of_the_table_is_walked() -> None:
    """Together, the stories above leave no edge of the table unused."""
    walked: set[tuple[str, str]] = set()
    for how in HOWS:
        for busy in ("", "busy"):
            for lost in (False, True):
                one = Recording(health=HOWS[how], busy=busy, image_lost=lost, walked=walked)
                one.boot()
                one.take(m.Ordered(order()))
                one.run(until_s=50)
                one.busy = ""
                one.run()
    for state in BEFORE_ACTIVATION:
        one = Recording(busy="busy", walked=walked)
        one.journal.save(m.Entry(order=order(), state=state))
        one.boot()
        one.take(m.Cancelled("u-1"))
        one.run(until_s=0)
    one = Recording(walked=walked)
    one.boot()
    one.order(order(version=OLD))
    one = Recording(walked=walked, ends=False)
    one.boot()
    one.slots.staged = NEW
    one.journal.save(m.Entry(order=order(), state="activating", verdict="roll-back"))
    one.boot()
    one.run()
    wanted = {(state, target) for state, edges in UPDATE.edges.items() for target in edges.values()}
    assert walked == wanted


class Recording(Device):
    """A device that notes which states follow one another."""

    def __init__(self, *, walked: set[tuple[str, str]], **how: object) -> None:
        super().__init__(**how)  # type: ignore[arg-type]
        self.walked = walked

    def _save(self, entry: m.Entry) -> bool:
        for known in self.journal.entries(entry.order.component):
            if known.update == entry.update and known.state != entry.state:
                self.walked.add((known.state, entry.state))
        return super()._save(entry)


def test_planted_a_core_that_acts_before_it_saves_is_found() -> None:
    """The harness bites: without the verdict on the disk, a cut between commit and its note is no commit."""
    entry = m.Entry(order=order(), state="trial", attempt=1)
    one = device(linked=False)
    one.journal.save(entry)
    one.slots.trial, one.slots.staged = NEW, NEW
    one.boot()
    with pytest.raises(AssertionError):
        one._work(m.Commit(1, NEW))
    one.journal.save(msgspec.structs.replace(entry, verdict="commit"))
    one._work(m.Commit(1, NEW))
    assert one.slots.committed == NEW
