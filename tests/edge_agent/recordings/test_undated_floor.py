"""Who has the floor before the time is known is kept like the sound, and dated with it."""

import msgspec
import pytest

from contract.recordings import FloorAction, FloorEvent, RecorderState
from edge_agent.recordings import floor_kept
from edge_agent.recordings import messages as m
from edge_agent.recordings.floor_kept import AT_ONCE, KEPT_MAX, RESEND_S
from edge_agent.recordings.memory import Memory
from edge_agent.recordings.records import FloorTurn, Record, Undated
from tests.edge_agent.recordings.worlds import NAME, Disk, World, time, told

SAID_MS = 1000
"""What was recorded before the power went for the first time."""


class PowerCutError(Exception):
    """Nothing after it happens."""


class Hall(World):
    """A world whose power goes before the effect number `cut_before` of this start, counted from 0."""

    def __init__(self, disk: Disk | None = None, *, cut_before: int | None = None, **more: object) -> None:
        self.effects = 0
        self.cut_before = cut_before
        super().__init__(disk, floor=True, **more)  # type: ignore[arg-type]  # what a World takes

    def _do(self, effect: m.Effect, event: m.Event) -> m.Event | None:
        if self.effects == self.cut_before:
            raise PowerCutError
        self.effects += 1
        return super()._do(effect, event)

    def seat(self, seat: str, on: bool) -> None:
        self.tell(m.FloorTold(seat, on, self.position))


def turns(events: list[FloorEvent]) -> list[tuple[int, str, bool]]:
    return [(each.at_ms, each.seat, each.action is FloorAction.TAKEN) for each in events]


def restarted(world: World, **more: object) -> Hall:
    """The agent starts again; all it knows is that the sitting was open."""
    again = Hall(world.disk, server=world.server, **more)
    again.tell(m.SittingTold(told(), 0, None))
    return again


@pytest.fixture
def undated() -> Hall:
    """A second start in an open sitting, with nobody to tell the time."""
    first = Hall()
    first.sitting()
    first.speak(SAID_MS)
    return restarted(first)


def test_the_floor_of_a_start_that_never_knew_the_time_lies_where_its_sound_lies(undated):
    undated.speak(500)
    undated.seat("A1", True)
    undated.speak(300)
    undated.seat("A1", False)
    last = restarted(undated)
    last.speak(400)
    last.tell(m.TimeTold(400, time(600_000)))
    last.settle()
    assert turns(last.floor) == [(SAID_MS + 250, "A1", True), (SAID_MS + 550, "A1", False)]
    sound = last.news[-1].segments[1]
    assert sound.start_ms <= SAID_MS + 250 < SAID_MS + 550 <= sound.start_ms + sound.duration_ms
    assert sound.late_ms > 590_000, "the segment says how sure that is"
    (said,) = [note.details for note in last.notes if note.event == "recording_dated"]
    assert said == {"recording": NAME, "floor_events": "2", "bounded_floor_events": "2"}
    assert last.disk.records[NAME].floor == ()


def test_a_clock_that_is_told_in_the_middle_of_a_turn_dates_both_its_ends(undated):
    undated.speak(500)
    undated.seat("A1", True)
    undated.speak(1000)
    assert undated.floor == []
    undated.tell(m.TimeTold(undated.position, time(91_500)))
    undated.settle()
    assert turns(undated.floor) == [(90_500, "A1", True)]
    undated.speak(700)
    undated.seat("A1", False)
    assert turns(undated.floor)[1:] == [(92_200, "A1", False)]


def test_a_time_that_comes_with_the_next_state_dates_what_waited(undated):
    undated.speak(500)
    undated.seat("A1", True)
    undated.tell(m.SittingTold(told("open", 3, session="s2"), 500, time(90_500)))
    undated.settle()
    assert [
        turn for turn, each in zip(turns(undated.floor), undated.floor, strict=True) if each.session == "s1"
    ] == [
        (90_500, "A1", False),
        (90_500, "A1", True),
    ]


def test_a_full_outbox_takes_the_dated_floor_when_it_has_room_and_the_end_waits_for_it(undated):
    undated.speak(500)
    count = AT_ONCE + 5
    for number in range(count):
        undated.seat(f"S{number}", True)
    undated.outbox_full = True
    undated.tell(m.TimeTold(500, time(90_500)))
    undated.sitting("ended", 2)
    assert undated.floor == []
    assert len(undated.disk.records[NAME].floor) == 2 * count
    again = Hall(undated.disk, server=undated.server)
    again.tell(m.SittingTold(told("ended", 2), 0, None))
    again.settle()
    order = [type(step) for step in again.steps if isinstance(step, m.SendNews | m.SendKeptFloor)]
    assert {each.seat for each in again.floor} == {f"S{number}" for number in range(count)}
    assert {each.at_ms for each in again.floor} == {90_500}
    finished = [step.news.state for step in again.steps if isinstance(step, m.SendNews)]
    assert finished[-1] is RecorderState.FINISHED
    assert order[-1] is m.SendNews, "whoever transcribes has the whole floor"


def test_sound_is_not_kept_waiting_by_a_long_floor(undated):
    undated.speak(500)
    for number in range(3 * AT_ONCE):
        undated.seat(f"S{number}", True)
    undated.tell(m.TimeTold(500, time(90_500)))
    assert len(undated.floor) == AT_ONCE, "the rest has its turn after the microphone"
    undated.settle()
    assert len(undated.floor) == 3 * AT_ONCE


def test_an_event_that_the_outbox_refused_outlives_the_power():
    hall = Hall()
    hall.sitting()
    hall.speak(500)
    hall.outbox_full = True
    hall.seat("A1", True)
    again = Hall(hall.disk)
    assert turns(again.floor) == [(500, "A1", True)]


def test_nothing_goes_under_a_date_that_is_not_on_the_disk(undated):
    """It would be dated anew, and told twice, if the power went now."""
    undated.speak(500)
    undated.seat("A1", True)
    undated.disk.full = True
    undated.tell(m.TimeTold(500, time(90_500)))
    undated.now += RESEND_S
    undated.tell(m.TimePassed())
    assert undated.floor == []
    undated.disk.full = False
    undated.settle()
    assert turns(undated.floor)[0] == (90_500, "A1", True)


def test_a_floor_without_end_is_bounded_and_what_has_no_room_is_counted(undated, monkeypatch):
    monkeypatch.setattr(floor_kept, "KEPT_MAX", 3)
    for number in range(5):
        undated.seat(f"S{number}", True)
    assert [note.details["count"] for note in undated.notes if note.event == "floor_events_dropped"] == [
        "1",
        "2",
    ]
    assert [turn.seat for turn in undated.disk.records[NAME].undated[-1].floor] == ["S0", "S1", "S2"]
    monkeypatch.undo()
    assert KEPT_MAX == 10_000, "one every four seconds of twelve hours"


def history(disk: Disk, cut_before: int | None) -> tuple[Hall, list[tuple[str, bool]]]:
    """A start without the time in which one seat speaks, and then another; then the time is told."""
    given: list[tuple[str, bool]] = []
    hall = Hall(disk, cut_before=None)
    hall.cut_before = cut_before
    hall.effects = 0
    try:
        hall.tell(m.SittingTold(told(), 0, None))
        for seat in ("A1", "B2"):
            for on in (True, False):
                hall.speak(300)
                hall.seat(seat, on)
                given.append((seat, on))
        hall.tell(m.TimeTold(hall.position, time(90_000)))
        hall.settle()
    except PowerCutError:
        pass
    return hall, given


def test_no_power_cut_costs_an_event_or_tells_it_of_two_moments():
    whole, _ = history(Disk(), None)
    assert whole.effects > 20
    for cut in range(whole.effects):
        cut_off, given = history(Disk(), cut)
        again = Hall(cut_off.disk, server=cut_off.server)
        again.tell(m.SittingTold(told(), 0, None))
        again.speak(300)
        again.tell(m.TimeTold(300, time(400_000)))
        again.settle()
        # The cloud notes an event once by seat, action and moment.
        stored = {*turns(cut_off.floor), *turns(again.floor)}
        known = [(seat, on) for _, seat, on in stored]
        assert set(given) <= set(known), f"lost when the power goes before effect {cut}"
        assert len(known) == len(set(known)), f"told of two moments when the power goes before effect {cut}"
        assert again.disk.records[NAME].floor == again.disk.records[NAME].undated == ()


def test_the_floor_comes_back_from_the_disk_and_an_older_record_has_none(tmp_path):
    memory = Memory(tmp_path / "recordings.db")
    turn = FloorTurn(at_ms=1250, seat="A1", on=True)
    start = Undated(opened_at=1, segment=0, gaps=0, at_ms=0, anchor=None, why="late", floor=(turn,))
    record = Record(recording="r", session="s", channel="c", lang="sq", undated=(start,), floor=(turn, turn))
    memory.save(record)
    ((found,), damaged) = memory.load()
    assert (found, damaged) == (record, [])
    memory.close()
    older = msgspec.to_builtins(record)
    del older["floor"], older["undated"][0]["floor"]
    assert msgspec.convert(older, Record).floor == msgspec.convert(older, Record).undated[0].floor == ()
