"""The words of the settings pages, marked for translation."""

from cloud.web.languages import N_
from contract.twin import BY_PATH, LOG_LEVEL, SETTINGS, TELEMETRY_INTERVAL

NAMES = {
    TELEMETRY_INTERVAL.name: N_("Time between two samples of health"),
    LOG_LEVEL.name: N_("What the device writes into its log"),
}
CHOICES = {
    "debug": N_("Everything, for looking for a fault"),
    "info": N_("Events"),
    "warning": N_("Warnings and errors"),
    "error": N_("Errors only"),
}
STATES = {
    "own": N_("from the device's own file"),
    "in-force": N_("in force"),
    "waiting": N_("not in force yet"),
    "refused": N_("the device did not take it"),
}
CHIPS = {"own": "", "in-force": "good", "waiting": "info", "refused": "bad"}

assert set(NAMES) == {setting.name for setting in BY_PATH.values()}
assert set(CHOICES) == {word for setting in SETTINGS for word in setting.choices}
