"""What its twin adds to a device: the real core of it, between the link, a small file and two knobs."""

from collections.abc import Mapping
from typing import Any, assert_never

from msgspec import UNSET

from contract.messages import encode, read
from contract.twin import (
    BY_PATH,
    LOG_LEVEL,
    TELEMETRY_INTERVAL,
    Answer,
    Delta,
    Documents,
    ErrorCode,
    Path,
    Rejection,
    Request,
    find,
    wrong,
)
from edge_agent.twin import core as t
from simulators.world.broker import Packet
from simulators.world.device import Device
from simulators.world.disk import FullError

DEFAULTS: dict[Path, Any] = {TELEMETRY_INTERVAL.path: 15, LOG_LEVEL.path: "info"}
"""What the settings file of every device says."""
REFRESH_S = 1200.0
"""A world has no time to wait for the six hours of `edge_agent.twin.core`."""


class DeviceTwin:
    """The twin as one device lives it. What is remembered of it is for the checkers:

    `acted_on` are the versions of the twins that it has taken, in their order; `done` is every value that a
    knob ever had; `forgotten` says where it came back from a restart with other settings than it had kept.
    """

    def __init__(self, device: Device) -> None:
        self.name = device.name
        self.acted_on: list[int] = []
        self.done: set[tuple[Path, Any]] = set()
        self.forgotten: list[str] = []
        self.doing = dict(DEFAULTS)
        self._device = device
        self._may_be: list[dict[Path, Any]] = [dict(DEFAULTS)]
        """What a restart may come back with."""
        device.on_start.append(self._start)
        device.on_link.append(lambda up: self._tell(t.Connected() if up else t.Disconnected()))
        device.on_packet["twin-get-accepted"] = self._on_told
        device.on_packet["twin-get-rejected"] = self._on_not_told
        device.on_packet["twin-update-accepted"] = self._on_accepted
        device.on_packet["twin-update-rejected"] = self._on_rejected
        device.on_packet["twin-delta"] = self._on_delta
        device.on_packet["twin-documents"] = self._on_documents
        device.on_packet["twin-delete-accepted"] = lambda _: self._tell(t.Changed(None))

    @property
    def kept(self) -> Mapping[Path, Any]:
        """What is desired, as it lies on the disk."""
        found: Mapping[Path, Any] = self._device.disk.settings.get("desired", {})
        return found

    # --- the agent's life ---

    def _start(self) -> None:
        device, kept = self._device, self.kept
        self.doing = dict(DEFAULTS)
        if {**DEFAULTS, **kept} not in self._may_be:
            self.forgotten.append(f"{device.name} is back with {dict(kept)}, and did {self._may_be}")
        facts = {"agent": "1", "boot": device.boot}
        self._asked = ""
        self._all_kept = True
        self._core = t.Twin(device.boot, facts, DEFAULTS, kept, refresh_s=REFRESH_S)
        self._tell(t.Started())

    def _tell(self, event: t.Event) -> None:
        """Give the core an event and do what follows."""
        for effect in self._device.plant.twin(self._core.handle(event, self._device.now)):
            self._device.effect(effect, at_work=isinstance(effect, t.Keep))
            self._do(effect)
        self._device.arm("twin", self._core.deadline(), lambda: self._tell(t.TimePassed()))

    def _do(self, effect: t.Effect) -> None:
        device = self._device
        match effect:
            case t.Ask(token):
                self._asked = token
                device.publish("twin-get", {}, encode(Request(client_token=token)))
            case t.Keep(values):
                self._keep(dict(values))
            case t.Do(values):
                self.doing = dict(values)
                self.done |= set(values.items())
                device.later(0.0, lambda: self._tell(t.Did(dict(values))))
            case t.Report(update):
                if self._all_kept:
                    self._may_be = [dict(self.doing)]
                device.publish("twin-update", {}, encode(update))
            case _:
                assert_never(effect)

    def _keep(self, values: dict[Path, Any]) -> None:
        disk = self._device.disk
        try:
            disk.put(disk.settings, "desired", values)
        except FullError:
            self._all_kept = False
            self._device.later(0.0, lambda: self._tell(t.NotKept()))
            return
        self._all_kept = True
        self._may_be.append(DEFAULTS | values)
        self._device.sync(at_work=True)
        self._may_be = [DEFAULTS | values]

    # --- what comes ---

    def _on_told(self, packet: Packet) -> None:
        answer = read(packet.body, Answer)
        desired, reported = answer.state.desired, answer.state.reported
        told = t.Told(
            answer.client_token,
            answer.version,
            {} if desired is UNSET or desired is None else desired,
            {} if reported is UNSET or reported is None else reported,
        )
        if told.token == self._asked:
            self._asked = ""
            self.acted_on.append(answer.version)
        self._tell(told)

    def _on_not_told(self, packet: Packet) -> None:
        rejection = read(packet.body, Rejection)
        if rejection.code == ErrorCode.NOT_FOUND:
            self._tell(t.Told(rejection.client_token, None, {}, {}))
        else:
            self._tell(t.Rejected(rejection.client_token, rejection.code))

    def _on_accepted(self, packet: Packet) -> None:
        answer = read(packet.body, Answer)
        self._tell(t.Accepted(answer.client_token, answer.version))

    def _on_rejected(self, packet: Packet) -> None:
        rejection = read(packet.body, Rejection)
        self._tell(t.Rejected(rejection.client_token, rejection.code))

    def _on_delta(self, packet: Packet) -> None:
        delta = read(packet.body, Delta)
        if self._device.plant.applies_deltas:
            self._apply(delta)
        self._tell(t.Changed(delta.version))

    def _apply(self, delta: Delta) -> None:
        """A planted bug: what a notice says is done, however old it is."""
        self.acted_on.append(delta.version)
        for path, setting in BY_PATH.items():
            value = find(delta.state, path)
            if value is not None and not wrong(setting, value):
                self.doing[path] = value

    def _on_documents(self, packet: Packet) -> None:
        self._tell(t.Changed(read(packet.body, Documents).current.version))
