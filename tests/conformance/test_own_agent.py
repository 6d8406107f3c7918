"""Our own agent behind AWS's topics: one job, and one change of its twin, from end to end."""

from typing import Any

from tests.cloud.fleet_link import wait_for
from tests.conformance.things import DEADLINE_S, Things

DEVICE = "own-agent"


def test_our_agent_does_a_job_and_keeps_to_its_twin(things: Things) -> None:
    agent = things.agent(DEVICE)
    agent.wait_for("link_connected")

    def reported() -> dict[str, Any]:
        found: dict[str, Any] = things.twin(DEVICE)["state"]["reported"]
        return found

    wait_for(lambda: "telemetry" in reported(), "the agent reports by itself", DEADLINE_S)
    assert (reported()["telemetry"], reported()["log"]) == ({"interval_s": 3600}, {"level": "info"})
    assert (reported()["kind"], "refused" in reported()) == ("kiosk", False)

    job = things.job(DEVICE, "collect-diagnostics")
    agent.wait_for("job_ended", job=job)
    wait_for(lambda: things.status(job, DEVICE) == "SUCCEEDED", "the job's end is known", DEADLINE_S)

    things.desire(DEVICE, {"telemetry": {"interval_s": 1200}, "log": {"level": "warning"}})
    wait_for(lambda: things.twin(DEVICE)["state"]["delta"] == {}, "what is desired is reported", DEADLINE_S)
    assert reported()["telemetry"] == {"interval_s": 1200}
    quiet = things.job(DEVICE, "collect-diagnostics")
    wait_for(lambda: things.status(quiet, DEVICE) == "SUCCEEDED", "it still works", DEADLINE_S)
    assert not any(each.get("job") == quiet for each in agent.events), "events are no longer logged"
    boot = reported()["boot"]
    assert agent.end() == 0

    things.desire(DEVICE, {"telemetry": None})
    again = things.agent(DEVICE)
    wait_for(lambda: reported().get("boot") != boot, "a new start is reported", DEADLINE_S)
    wait_for(lambda: things.twin(DEVICE)["state"]["delta"] == {}, "and so is the rest", DEADLINE_S)
    assert reported()["telemetry"] == {"interval_s": 3600}, "nothing is desired, its own file holds"
    assert reported()["log"] == {"level": "warning"}
    assert again.end() == 0
