"""The sentences of the captions pages, marked for translation; codes come from the core."""

from cloud.captions.core import Silence
from cloud.web.languages import N_
from contract.captions import SITTING, Recognition

STATES = {
    "planned": N_("Not begun"),
    "open": N_("Live"),
    "paused": N_("Paused"),
    "closed_to_public": N_("Closed to the public"),
    "ended": N_("Ended"),
}
SILENCES = {
    Silence.BEFORE: N_("The sitting has not begun yet. The text will appear here by itself."),
    Silence.WAITING: N_("The sitting is open. The text will appear here as soon as somebody speaks."),
    Silence.PAUSED: N_("The sitting is paused. The text goes on by itself when the sitting does."),
    Silence.CLOSED: N_("This part of the sitting is closed to the public, so no text is written."),
    Silence.ENDED: N_("The sitting has ended. Everything that was written is in the whole text."),
    Silence.NO_RECOGNISER: N_(
        "There is no speech recognition for the language of this sitting yet, so no text can be written."
    ),
    Silence.AWAY: N_(
        "The recorder in the hall is not connected at the moment. The text goes on by itself when it is back."
    ),
}
REASONS = {
    "public-order": N_("Legal reason: an open meeting would endanger public order."),
    "sensitive-information": N_(
        "Legal reason: sensitive information about persons or businesses is discussed."
    ),
    "court-proceedings": N_("Legal reason: court proceedings are discussed."),
}
LANGUAGES = {"sq": N_("Albanian"), "sr": N_("Serbian"), "en": N_("English")}
EVENTS = {
    "open": N_("Open"),
    "pause": N_("Pause"),
    "close-to-public": N_("Close to the public"),
    "end": N_("End"),
    "cancel": N_("Cancel"),
}
RESUME = N_("Resume")
"""What `open` is called once a sitting has begun."""
RECOGNISER = {
    None: N_("has not answered yet"),
    Recognition.RUNNING: N_("writes along"),
    Recognition.NO_MODEL: N_("has no model for this language"),
    Recognition.SILENT: N_("is silent"),
}

assert set(STATES) == set(SITTING.states)
assert set(EVENTS) == set(SITTING.events)
