"""Voice activity by the Silero model (version 6, the ONNX file for sequences of frames at 16 kHz)."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from edge_agent.captions.engine import Samples
from edge_agent.errors import RefusedError

FRAME = 512
"""Samples of one frame: 32 ms at 16 kHz, the only length that this model knows."""
CONTEXT = 64
"""Samples of the frame before that the model wants in front; without them it hears no speech and no error
is raised."""


class SileroVad:
    """The probability of speech, frame by frame; keeps the state of one stream of sound.

    Raises:
        RefusedError: the file is missing or is another model.
    """

    def __init__(self, model: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                model.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except OSError as error:
            raise RefusedError(f"voice activity model {model}: {error.strerror}; fetch the models") from error
        except Exception as error:  # onnxruntime's errors have no parent of their own
            raise RefusedError(f"voice activity model {model} cannot be loaded: {error}") from error
        names = {node.name for node in self._session.get_inputs()}
        if names != {"input", "h", "c"}:
            raise RefusedError(f"voice activity model {model} takes {sorted(names)}: use the sequence file")
        self.reset()

    def reset(self) -> None:
        """Begin anew, as after a gap."""
        self._hidden = np.zeros((1, 1, 128), np.float32)
        self._cell = np.zeros((1, 1, 128), np.float32)
        self._tail: Samples = np.zeros(CONTEXT, np.float32)

    def probabilities(self, samples: Samples) -> npt.NDArray[np.float32]:
        """One number between 0 and 1 for each frame; `samples` are a multiple of `FRAME` long."""
        assert len(samples) % FRAME == 0, "cut the sound into whole frames"
        if not len(samples):
            return np.zeros(0, np.float32)
        sound = np.concatenate([self._tail, samples])
        frames = np.lib.stride_tricks.sliding_window_view(sound, CONTEXT + FRAME)[::FRAME]
        speech, self._hidden, self._cell = self._session.run(
            None, {"input": np.ascontiguousarray(frames), "h": self._hidden, "c": self._cell}
        )
        self._tail = sound[-CONTEXT:]
        return np.asarray(speech, np.float32).reshape(-1)
