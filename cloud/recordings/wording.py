"""The sentences of the recordings' pages, marked for translation."""

from cloud.recordings.guards import Doubt
from cloud.recordings.turns import RUN, Reason
from cloud.web.languages import N_
from contract.recordings import RECORDING

STATES = {
    "planned": N_("Not yet begun"),
    "recording": N_("Being recorded"),
    "interrupted": N_("Interrupted"),
    "finished": N_("Recorded"),
    "uploading": N_("Being sent"),
    "uploaded": N_("Arrived"),
    "transcribing": N_("Being transcribed"),
    "drafted": N_("Draft, not reviewed"),
    "reviewed": N_("Reviewed"),
    "published": N_("Published"),
    "failed": N_("Has failed"),
}
CHIPS = {
    "recording": "info",
    "uploading": "info",
    "transcribing": "info",
    "interrupted": "warn",
    "drafted": "warn",
    "reviewed": "good",
    "published": "good",
    "failed": "bad",
}
LANGUAGES = {"sq": N_("Albanian"), "sr": N_("Serbian"), "en": N_("English")}
MATERIALS = {
    "synthetic-debate": N_(
        "a synthetic debate of the simulated city: 70 s, 202 words, 4 clean voices; no real hall"
    ),
}
RUNS = {
    "queued": N_("Waits for a worker that transcribes."),
    "running": N_("Is being transcribed."),
    "done": N_("The draft is ready."),
    "refused": N_("There is no draft."),
    "failed": N_("The transcription failed."),
}
REASONS = {
    Reason.NOT_MEASURED: N_(
        "The speech model was never measured on this language, so it does not write. An administrator can "
        "allow it in the settings."
    ),
    Reason.NO_MODEL: N_("The workers have no speech model. An administrator names one in the settings."),
    Reason.EMPTY: N_("The recording has no sound."),
    Reason.CLOSED: N_("All its sound is of closed parts and breaks; that is neither heard nor written."),
    Reason.MISSING: N_("A part of the sound is missing on the server. Ask an administrator to restore it."),
    Reason.CHANGED: N_(
        "A part of the sound is not what the recorder sent. Ask an administrator to restore it."
    ),
    Reason.FORMAT: N_("A part of the sound cannot be read. Look at the recorder of this hall."),
    Reason.WORKER_DIED: N_(
        "The worker ended several times at the same place. Ask an administrator to look at its log."
    ),
    Reason.ERROR: N_("An unforeseen error. It has been recorded; try again, or ask an administrator."),
}
DOUBTS = {
    Doubt.REPETITION: N_("repeated itself, shortened"),
    Doubt.LOW_CONFIDENCE: N_("uncertain"),
    Doubt.INAUDIBLE: N_("inaudible"),
}
ROLES = {"chair": N_("Chair"), "member": N_("Member"), "unknown": N_("Unknown")}

assert set(STATES) == set(RECORDING.states)
assert set(RUNS) == set(RUN.states)
assert set(REASONS) == set(Reason)
assert set(DOUBTS) == set(Doubt)
