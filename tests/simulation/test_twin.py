"""The twin's two halves with a link between them that loses, repeats and reorders: they agree in the end.

Both cores are the real ones; the link, the disk and the staff are this machine's.
"""

import random
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cloud.twin import core, shapes
from cloud.twin.core import Changed, Refusal, Repeated, Twin
from contract.messages import encode
from contract.twin import LOG_LEVEL, TELEMETRY_INTERVAL, Answer, Delta, Section, difference, find, wrong
from edge_agent.twin import core as t

INTERVAL, LEVEL = TELEMETRY_INTERVAL.path, LOG_LEVEL.path
DEFAULTS: dict[Any, Any] = {INTERVAL: 15, LEVEL: "info"}
ROUNDS_MAX = 40
"""A calm link brings the two together within so many exchanges, or they talk for ever."""
WISHES = st.one_of(
    st.fixed_dictionaries(
        {}, optional={"interval_s": st.sampled_from([None, 5, 10, 30, 3600, True, "x"])}
    ).map(lambda inner: {"telemetry": inner}),
    st.sampled_from([None, "debug", "error", "loud"]).map(lambda level: {"log": {"level": level}}),
    st.sampled_from([None, 1, {"speed": 3}]).map(lambda fan: {"fan": fan}),
    st.just({"telemetry": 7}),
)


class Fleet(RuleBasedStateMachine):
    """One device, its twin in the cloud, staff, and a bad link."""

    def __init__(self) -> None:
        super().__init__()
        self.twin = Twin()
        self.to_cloud: list[tuple[str, bytes]] = []
        self.to_device: list[t.Event] = []
        self.kept: dict[Any, Any] = {}
        self.boots = 0
        self.connected = False
        self.lost = False
        """Whether something was lost since the device has connected: then time or a new connection helps."""
        self.now = 0.0
        self.versions: list[int] = []

    # --- the device ---

    @initialize()
    def start(self) -> None:
        """Power on: what was kept holds before there is a link."""
        self.boots += 1
        self.connected = False
        boot = f"boot-{self.boots}"
        self.doing = dict(DEFAULTS)
        self.device = t.Twin(boot, {"agent": "1.0", "boot": boot}, DEFAULTS, self.kept)
        self.hear(t.Started())
        assert self.doing == DEFAULTS | self.kept

    @rule()
    def power_cut(self) -> None:
        self.start()

    @precondition(lambda self: not self.connected)
    @rule()
    def connect(self) -> None:
        """Messages of an earlier connection may still come."""
        self.connected, self.lost = True, False
        self.hear(t.Connected())

    @precondition(lambda self: self.connected)
    @rule()
    def disconnect(self) -> None:
        self.connected = False
        self.hear(t.Disconnected())

    @rule()
    def wait(self) -> None:
        deadline = self.device.deadline()
        if deadline is not None:
            self.now = max(self.now, deadline)
            self.hear(t.TimePassed())

    def hear(self, event: t.Event) -> None:
        for effect in self.device.handle(event, self.now):
            match effect:
                case t.Ask(token):
                    self.to_cloud.append(("get", msgspec.json.encode({"clientToken": token})))
                case t.Report(update):
                    self.to_cloud.append(("update", encode(update)))
                case t.Keep(values):
                    self.kept = dict(values)
                case t.Do(values):
                    self.doing = dict(values)
                    self.hear(t.Did(dict(values)))

    # --- the link ---

    @precondition(lambda self: self.to_cloud)
    @rule(data=st.data(), repeat=st.booleans())
    def deliver_to_cloud(self, data: st.DataObject, repeat: bool) -> None:
        index = data.draw(st.integers(0, len(self.to_cloud) - 1))
        message = self.to_cloud[index] if repeat else self.to_cloud.pop(index)
        self.serve(*message)

    @precondition(lambda self: self.to_device)
    @rule(data=st.data(), repeat=st.booleans())
    def deliver_to_device(self, data: st.DataObject, repeat: bool) -> None:
        index = data.draw(st.integers(0, len(self.to_device) - 1))
        event = self.to_device[index] if repeat else self.to_device.pop(index)
        if self.connected:
            self.hear(event)
        else:
            self.lost = True

    @precondition(lambda self: len(self.to_cloud) + len(self.to_device) > 1)
    @rule(chance=st.randoms(use_true_random=False))
    def reorder(self, chance: random.Random) -> None:
        chance.shuffle(self.to_cloud)
        chance.shuffle(self.to_device)

    @precondition(lambda self: self.to_cloud or self.to_device)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        lane: list[Any] = data.draw(
            st.sampled_from([each for each in (self.to_cloud, self.to_device) if each])
        )
        lane.pop(data.draw(st.integers(0, len(lane) - 1)))
        self.lost = True

    # --- the cloud ---

    def serve(self, name: str, payload: bytes) -> None:
        tree = core.read_tree(payload)
        assert isinstance(tree, dict)
        token = tree["clientToken"]
        if name == "get":
            self.to_device.append(self.told(token))
            return
        wish = core.read_update(payload)
        assert not isinstance(wish, Refusal), "the device speaks well"
        outcome = core.update(self.twin, wish, core.fingerprint(name, token, payload), 0)
        match outcome:
            case Refusal():
                self.to_device.append(t.Rejected(token, outcome.code))
            case Repeated(twin):
                self.to_device.append(t.Accepted(token, twin.version))
            case Changed():
                self.take(outcome.after)
                self.to_device.append(t.Accepted(token, outcome.after.version))
                self.tell()

    def told(self, token: str) -> t.Told:
        if not self.twin.exists:
            return t.Told(token, None, {}, {})
        answer = msgspec.json.decode(encode(shapes.whole(self.twin, 0, token)), type=Answer)
        sections: list[Section] = [
            each if isinstance(each, dict) else {} for each in (answer.state.desired, answer.state.reported)
        ]
        return t.Told(token, answer.version, *sections)

    def take(self, twin: Twin) -> None:
        self.versions.append(twin.version)
        self.twin = twin

    def tell(self) -> None:
        """Documents, and the delta where there is one: both say a version."""
        self.to_device.append(t.Changed(self.twin.version))
        delta = shapes.delta(self.twin, 0)
        if delta is not None:
            self.to_device.append(t.Changed(msgspec.json.decode(encode(delta), type=Delta).version))

    @rule(wish=WISHES)
    def desire(self, wish: Section) -> None:
        """Staff, or whoever else writes the twin: anything that the limits let through."""
        found = core.read_update(msgspec.json.encode({"state": {"desired": wish}}))
        assert not isinstance(found, Refusal)
        outcome = core.update(self.twin, found, "", 0)
        assert isinstance(outcome, Changed)
        self.take(outcome.after)
        self.tell()

    @precondition(lambda self: self.twin.exists)
    @rule()
    def delete(self) -> None:
        gone = core.delete(self.twin, "", "")
        assert isinstance(gone, Twin)
        self.twin = gone
        self.to_device.append(t.Changed(None))

    # --- what must hold ---

    @invariant()
    def versions_only_grow(self) -> None:
        assert self.versions == sorted(set(self.versions))

    @invariant()
    def what_is_done_and_kept_is_always_allowed(self) -> None:
        if self.boots:
            assert 10 <= self.doing[INTERVAL] <= 3600
            assert self.doing[LEVEL] in LOG_LEVEL.choices
            assert self.doing == DEFAULTS | self.kept

    def teardown(self) -> None:
        """In the end the link is good: the old messages come late, and then a new connection."""
        if not self.boots:
            return
        if self.connected:
            self.disconnect()
        self.connect()
        self.calm()

    @precondition(lambda self: self.connected)
    @rule()
    def calm(self) -> None:
        """What is on its way comes, and time passes; then both sides say the same."""
        for _ in range(ROUNDS_MAX):
            while self.to_cloud:
                self.serve(*self.to_cloud.pop(0))
            while self.to_device:
                self.hear(self.to_device.pop(0))
            deadline = self.device.deadline()
            assert deadline is not None
            if not self.to_cloud and not self.lost and deadline - self.now > t.RETRY_MAX_S:
                break  # nothing is on its way, and nothing is tried again soon
            if not self.to_cloud:
                self.lost = False
                self.wait()
        else:
            raise AssertionError("the two sides answer each other for ever")
        self._they_agree()

    def _they_agree(self) -> None:
        assert self.twin.exists
        for path in DEFAULTS:
            wanted = find(self.twin.desired, path)
            setting = {INTERVAL: TELEMETRY_INTERVAL, LEVEL: LOG_LEVEL}[path]
            if wanted is None:
                assert self.doing[path] == DEFAULTS[path]
            elif not wrong(setting, wanted):
                assert self.doing[path] == wanted
            assert find(self.twin.reported, path) == self.doing[path], "it reports what it does"
        left = difference(self.twin.desired, self.twin.reported)
        refused = self.twin.reported.get("refused", {})
        assert bool(left) == bool(refused), "whatever is left open has its reason, and nothing else has one"


Fleet.TestCase.settings = settings(max_examples=400, stateful_step_count=40, deadline=None)
TestTwoHalvesOfATwin = Fleet.TestCase
