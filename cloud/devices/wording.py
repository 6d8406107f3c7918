"""The words of the devices pages, marked for translation."""

from cloud.web.languages import N_
from contract.enrolment import KINDS as CONTRACT_KINDS

KINDS = {"kiosk": N_("Kiosk"), "recorder": N_("Hall recorder")}

assert set(KINDS) == set(CONTRACT_KINDS)
