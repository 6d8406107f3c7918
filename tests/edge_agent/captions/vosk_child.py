"""The recogniser child as it is, but that Vosk may only recognise the loanwords of the tests."""

import sys
from pathlib import Path

from edge_agent.captions import recogniser
from edge_agent.captions.engine import Recogniser
from edge_agent.captions.recogniser_vosk import VoskRecogniser
from tests.speech import LOANWORDS


def load(engine: str, model_dir: Path, _language: str) -> Recogniser:
    """See `recogniser.load`."""
    assert engine == "vosk", engine
    return VoskRecogniser(model_dir, LOANWORDS)


if __name__ == "__main__":
    recogniser.load = load
    sys.exit(recogniser.main())
