"""The device's half of the twin: when it asks, what it does, what it says, and when it keeps quiet."""

from typing import Any

import pytest

from contract.twin import LOG_LEVEL, REFUSED_MAX, TELEMETRY_INTERVAL, Section, State, Update
from edge_agent.twin import core as t

INTERVAL, LEVEL = TELEMETRY_INTERVAL.path, LOG_LEVEL.path
DEFAULTS = {INTERVAL: 15, LEVEL: "info"}
FACTS: Section = {"agent": "1.0", "kind": "kiosk", "boot": "b1"}


class Device:
    """The core with knobs that turn at once; `asked` and `said` are what it published last."""

    def __init__(self, kept: t.Values | None = None) -> None:
        self.core = t.Twin("b1", FACTS, DEFAULTS, kept or {})
        self.doing: dict[Any, Any] = dict(DEFAULTS)
        self.kept: dict[Any, Any] = dict(kept or {})
        self.asked: list[str] = []
        self.said: list[Update] = []
        self.now = 0.0
        self.tell(t.Started())

    def tell(self, event: t.Event) -> None:
        for effect in self.core.handle(event, self.now):
            match effect:
                case t.Ask(token):
                    self.asked.append(token)
                case t.Keep(values):
                    self.kept = dict(values)
                case t.Do(values):
                    self.doing = dict(values)
                    self.tell(t.Did(self.doing))
                case t.Report(update):
                    self.said.append(update)

    def wait(self) -> None:
        """Let time pass until the deadline."""
        deadline = self.core.deadline()
        assert deadline is not None
        self.now = deadline
        self.tell(t.TimePassed())

    def answer(
        self, desired: Section | None = None, reported: Section | None = None, version: int | None = 1
    ) -> None:
        """Answer what it asked last."""
        self.tell(t.Told(self.asked[-1], version, desired or {}, reported or {}))

    def accept(self, version: int) -> None:
        self.tell(t.Accepted(self.said[-1].client_token, version))

    def quiet(self) -> Section:
        """Everything that it would report, said and taken: it has no more to say."""
        self.answer(version=1)
        self.accept(2)
        state = self.said[-1].state.reported
        assert isinstance(state, dict)
        return state


def said(update: Update) -> Section:
    assert isinstance(update.state.reported, dict)
    return update.state.reported


def online(kept: t.Values | None = None) -> Device:
    device = Device(kept)
    device.tell(t.Connected())
    return device


def test_it_asks_after_each_connect() -> None:
    device = Device()
    assert device.asked == []
    device.tell(t.Connected())
    device.tell(t.Disconnected())
    device.tell(t.Connected())
    assert device.asked == ["b1-1", "b1-2"]


def test_it_says_what_it_does_and_who_it_is_with_the_version_that_it_has_seen() -> None:
    device = online()
    device.answer(version=7)
    assert device.said[0] == Update(
        state=State(reported=FACTS | {"telemetry": {"interval_s": 15}, "log": {"level": "info"}}),
        version=7,
        client_token="b1-2",
    )


def test_it_does_what_is_desired_after_it_has_written_it_down_and_says_it_after_that() -> None:
    device = online()
    effects = device.core.handle(t.Told("b1-1", 3, {"telemetry": {"interval_s": 30}}, {}), 0.0)
    assert effects == [t.Keep({INTERVAL: 30}), t.Do({INTERVAL: 30, LEVEL: "info"})]
    (report,) = device.core.handle(t.Did({INTERVAL: 30, LEVEL: "info"}), 0.0)
    assert isinstance(report, t.Report)
    assert said(report.update)["telemetry"] == {"interval_s": 30}


def test_it_says_only_what_the_twin_does_not_say_yet() -> None:
    device = online()
    reported = FACTS | {"telemetry": {"interval_s": 15}, "log": {"level": "debug"}, "of others": 1}
    device.answer(reported=reported, version=4)
    assert said(device.said[0]) == {"log": {"level": "info"}}
    device.accept(5)
    assert len(device.said) == 1
    device.tell(t.Changed(5))
    assert len(device.asked) == 1, "its own change is no news to it"


def test_a_restart_without_a_link_does_what_was_desired_last() -> None:
    assert Device({INTERVAL: 60}).doing == {INTERVAL: 60, LEVEL: "info"}


def test_what_is_no_longer_desired_is_again_as_the_settings_file_has_it() -> None:
    device = online({INTERVAL: 60, LEVEL: "debug"})
    device.answer({"log": {"level": "debug"}}, version=2)
    assert (device.doing, device.kept) == ({INTERVAL: 15, LEVEL: "debug"}, {LEVEL: "debug"})
    assert said(device.said[0])["telemetry"] == {"interval_s": 15}


def test_what_it_cannot_do_stays_as_it_was_and_it_says_why() -> None:
    device = online({INTERVAL: 60})
    device.answer({"telemetry": {"interval_s": 5}, "log": {"level": "loud"}, "fan": {"speed": 3}}, version=2)
    assert device.doing == {INTERVAL: 60, LEVEL: "info"}
    report = said(device.said[0])
    assert report["telemetry"] == {"interval_s": 60}
    assert report["refused"] == {
        "telemetry.interval_s": "telemetry.interval_s is a whole number from 10 to 3600 s",
        "log.level": "log.level is one of debug, info, warning, error",
        "fan.speed": "this agent does not know this setting",
    }


def test_a_setting_where_a_group_should_be_is_refused() -> None:
    device = online()
    device.answer({"telemetry": 5, "log": {"level": {"x": 1}}}, version=2)
    assert set(said(device.said[0])["refused"]) == {"telemetry", "log.level"}
    assert device.doing == DEFAULTS


def test_a_refusal_is_taken_back_when_its_reason_is_gone() -> None:
    device = online()
    reported = FACTS | {"telemetry": {"interval_s": 15}, "log": {"level": "info"}}
    both = {"telemetry.interval_s": "telemetry.interval_s is a whole number from 10 to 3600 s", "fan": "x"}
    device.answer({"telemetry": {"interval_s": 5}}, reported | {"refused": both}, version=2)
    assert said(device.said[0]) == {"refused": {"fan": None}}
    device.accept(3)
    device.tell(t.Changed(4))
    device.answer({}, reported | {"refused": both}, version=4)
    assert said(device.said[1]) == {"refused": None}


def test_refusals_have_a_bound() -> None:
    device = online()
    device.answer({f"key-{number:03}" * 20: number for number in range(50)}, version=2)
    refused = said(device.said[0])["refused"]
    assert len(refused) == REFUSED_MAX
    assert all(len(name) <= t.NAME_LENGTH_MAX for name in refused)


def test_without_a_twin_it_makes_one_and_looks_at_it_again() -> None:
    device = online()
    device.answer(version=None)
    assert device.said[0].version is None
    device.accept(9)
    assert len(device.asked) == 2, "somebody may have made one at the same moment"
    device.answer(reported=said(device.said[0]), version=9)
    assert len(device.said) == 1


def test_news_of_a_newer_version_makes_it_ask_and_old_news_does_not() -> None:
    device = online()
    device.quiet()
    device.tell(t.Changed(1))
    device.tell(t.Changed(2))
    assert len(device.asked) == 1
    device.tell(t.Changed(3))
    assert len(device.asked) == 2
    device.tell(t.Changed(4))
    assert len(device.asked) == 2, "one question at a time"
    device.answer(version=3)
    assert len(device.asked) == 3, "the answer was older than the news"


def test_a_deleted_twin_is_made_again() -> None:
    device = online()
    device.quiet()
    device.tell(t.Changed(None))
    device.answer(version=None)
    assert said(device.said[-1])["agent"] == "1.0"


def test_a_conflict_makes_it_look_again_at_once_and_then_with_patience() -> None:
    device = online()
    device.answer(version=1)
    device.tell(t.Rejected(device.said[-1].client_token, 409))
    assert len(device.asked) == 2
    device.answer(version=2)
    device.tell(t.Rejected(device.said[-1].client_token, 409))
    assert len(device.asked) == 2
    device.wait()
    assert len(device.asked) == 3


@pytest.mark.parametrize("code", [400, 413, 429, 500])
def test_a_refused_request_is_tried_again_later_and_later(code: int) -> None:
    device = online()
    waits = []
    for _ in range(12):
        device.tell(t.Rejected(device.asked[-1], code))
        before = device.now
        device.wait()
        waits.append(device.now - before)
    assert waits[:3] == [5, 10, 20]
    assert waits[-1] == t.RETRY_MAX_S


def test_an_answer_that_never_comes_is_asked_for_again() -> None:
    device = online()
    device.wait()
    device.wait()
    assert len(device.asked) == 2
    device.tell(t.Told(device.asked[0], 1, {"telemetry": {"interval_s": 30}}, {}))
    assert device.doing == DEFAULTS, "the late answer to the first question may be old"


def test_after_hours_without_news_it_asks_again() -> None:
    device = online()
    device.quiet()
    device.wait()
    assert (device.now, len(device.asked)) == (t.REFRESH_S, 2)


def test_without_a_link_nothing_is_asked_or_said() -> None:
    device = online()
    device.tell(t.Disconnected())
    assert device.core.deadline() is None
    device.tell(t.Changed(9))
    device.tell(t.Told("b1-1", 1, {"telemetry": {"interval_s": 30}}, {}))
    assert (len(device.asked), device.said, device.doing) == (1, [], DEFAULTS)


def test_answers_to_others_are_not_its_own() -> None:
    device = online()
    device.tell(t.Told("somebody", 5, {"telemetry": {"interval_s": 30}}, {}))
    device.tell(t.Accepted("somebody", 6))
    device.tell(t.Rejected("somebody", 409))
    assert (len(device.asked), device.said, device.doing) == (1, [], DEFAULTS)


def test_what_the_disk_did_not_take_is_written_down_with_the_next_answer() -> None:
    kiosk = Device()
    kiosk.tell(t.Connected())
    kiosk.quiet()
    kiosk.tell(t.Changed(3))
    kiosk.answer({"telemetry": {"interval_s": 30}}, version=3)
    kiosk.kept = {}
    kiosk.tell(t.NotKept())
    kiosk.accept(4)
    assert kiosk.kept == {}
    kiosk.tell(t.Changed(5))
    kiosk.answer({"telemetry": {"interval_s": 30}}, said(kiosk.said[-1]), version=5)
    assert kiosk.kept == {INTERVAL: 30}


def test_what_the_disk_did_not_take_waits_for_minutes_and_not_for_hours() -> None:
    kiosk = Device()
    kiosk.tell(t.Connected())
    kiosk.quiet()
    kiosk.tell(t.NotKept())
    kiosk.tell(t.Did(kiosk.doing))
    deadline = kiosk.core.deadline()
    assert deadline is not None
    assert deadline - kiosk.now <= t.RETRY_MAX_S
