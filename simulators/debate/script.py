"""Who speaks in the debate, how each voice sounds, and what is said.

The people are fictional and are known by their role only. The words are plain on purpose: the script
measures captions, not a recogniser's knowledge of names.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Voice:
    """How one role sounds, made from the one packaged voice.

    `tract` above 1 lengthens the vocal tract (lower formants, a larger person); `pitch` multiplies the
    fundamental on top of it; `pace` is the tempo that is heard, 1.0 being the packaged voice's own.
    """

    role: str
    tract: float
    pitch: float
    pace: float


@dataclass(frozen=True)
class Line:
    """One turn: `pause_ms` of quiet follow it."""

    role: str
    text: str
    pause_ms: int


VOICES = (
    Voice("Chair", tract=1.0, pitch=1.0, pace=0.95),
    Voice("Member A", tract=1.12, pitch=0.72, pace=1.0),
    Voice("Member B", tract=0.95, pitch=1.12, pace=1.06),
    Voice("Member C", tract=1.06, pitch=0.86, pace=0.92),
)

SEATS = {"Chair": "1", "Member A": "12", "Member B": "23", "Member C": "7"}
"""Whose microphone is whose; ids of the hall, not names."""

LINES = (
    Line("Chair", "Good morning. The meeting of the city council is open.", 900),
    Line("Chair", "Our first question today is the roof of the old school near the river.", 1000),
    Line("Member A", "Thank you. The roof has been leaking since last winter.", 800),
    Line(
        "Member A",
        "Children are sitting in cold rooms, and the teachers put buckets under the holes when it rains.",
        1000,
    ),
    Line("Member B", "I agree that the school needs help.", 700),
    Line("Member B", "But we have to ask how much the work will cost, and who is going to pay for it.", 1000),
    Line("Member C", "The money is already in the budget. We decided about it in the spring.", 900),
    Line("Member C", "What is missing is a company that can start before the end of the summer.", 1100),
    Line("Chair", "Does anyone want to speak against the plan?", 1000),
    Line("Member B", "I am not against it. I only want every family to know how long it will take.", 900),
    Line(
        "Member A",
        "The engineers told us that the work can be finished in six weeks if the weather stays dry.",
        1000,
    ),
    Line("Member C", "Then let us write that date into the contract, so that everybody can check it.", 1000),
    Line("Chair", "That is a good idea. Please raise your hand if you support the plan.", 1300),
    Line("Chair", "I see that all members are in favor. The plan is accepted.", 900),
    Line("Chair", "We will now take a short break and come back after lunch.", 1200),
)
