"""The words of the pages of devices and incidents, marked for translation."""

from cloud.devices.hours import DAYS
from cloud.devices.incidents import INCIDENT
from cloud.devices.presence import Cause
from cloud.web.languages import N_
from contract.enrolment import KINDS as CONTRACT_KINDS
from contract.presence import PRESENCE

KINDS = {"kiosk": N_("Kiosk"), "recorder": N_("Hall recorder")}
PRESENCES = {"online": N_("Connected"), "degraded": N_("Unsteady"), "offline": N_("Not connected")}
PRESENCE_CHIPS = {"online": "good", "degraded": "warn", "offline": "bad"}
CAUSES = {
    Cause.NEVER.value: N_("It has never been here."),
    Cause.WELL.value: N_("Its link stands and its data comes."),
    Cause.LATE.value: N_("Its link stands, but its data is late: look at its agent."),
    Cause.FLAPPING.value: N_("Its data comes, but its link comes and goes: look at its cable."),
    Cause.ENDED.value: N_("Its link has ended: look at its power and its cable."),
    Cause.SILENT.value: N_("Nothing has come from it for minutes: look at its power and its cable."),
}
INCIDENT_STATES = {"open": N_("Going on"), "recovering": N_("All are back"), "closed": N_("Over")}
INCIDENT_CHIPS = {"open": "bad", "recovering": "warn", "closed": "good"}
DAY_NAMES = {
    "monday": N_("Monday"),
    "tuesday": N_("Tuesday"),
    "wednesday": N_("Wednesday"),
    "thursday": N_("Thursday"),
    "friday": N_("Friday"),
    "saturday": N_("Saturday"),
    "sunday": N_("Sunday"),
}

assert set(KINDS) == set(CONTRACT_KINDS)
assert set(PRESENCES) == set(PRESENCE_CHIPS) == set(PRESENCE.states)
assert set(CAUSES) == set(Cause)
assert set(INCIDENT_STATES) == set(INCIDENT_CHIPS) == set(INCIDENT.states)
assert set(DAY_NAMES) == set(DAYS)
