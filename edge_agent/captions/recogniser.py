"""The recogniser child: `python -m edge_agent.captions.recogniser --engine … --model-dir … …`.

Frames come in on stdin, messages go out on stdout (`child_protocol`). It keeps nothing that the agent
cannot give it again, ends when stdin ends, and needs no signal handlers: it may be killed at any moment.
"""

import argparse
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from edge_agent.captions.child_protocol import Failed, Frame, Message, Ready, encode_message, read_frame
from edge_agent.captions.engine import RATE_HZ, Recogniser
from edge_agent.captions.listener import Listener
from edge_agent.errors import AgentError, MalformedError

FRAMES_AHEAD_MAX = 16
"""Frames that are read before they are needed; what is not read yet waits in the agent's ring."""
GUESS_EVERY_S = 0.6
"""New speech that is worth another guess."""
GUESS_SHARE_MAX = 0.5
"""Guessing may take this share of the time; on a slow machine guesses become rarer."""
QUIET_S = 1.0
"""Without frames for so long, a sign of life is given anyway."""


def serve(read: Callable[[int], bytes], write: Callable[[bytes], None], listener: Listener) -> None:
    """Answer frames with messages until the input ends.

    Raises:
        MalformedError: the input cannot be followed any more.
    """
    frames: queue.Queue[Frame | MalformedError | None] = queue.Queue(FRAMES_AHEAD_MAX)
    threading.Thread(target=_read_ahead, args=(read, frames), name="frames", daemon=True).start()
    guess_every = GUESS_EVERY_S
    while True:
        try:
            frame = frames.get(timeout=QUIET_S)
        except queue.Empty:
            write(encode_message(listener.heard))
            continue
        if frame is None:
            return
        if isinstance(frame, MalformedError):
            raise frame
        for message in listener.hear(frame):
            write(encode_message(message))
        if frames.empty() and listener.speech_unread >= guess_every * RATE_HZ:
            began = time.perf_counter()
            _write_some(write, listener.guess())
            guess_every = max(GUESS_EVERY_S, (time.perf_counter() - began) / GUESS_SHARE_MAX)


def _read_ahead(read: Callable[[int], bytes], frames: "queue.Queue[Frame | MalformedError | None]") -> None:
    # A decoder that is busy must not fill the pipe: the agent would take a full pipe for a hanging child.
    while True:
        try:
            frame = read_frame(read)
        except MalformedError as error:
            frames.put(error)
            return
        frames.put(frame)
        if frame is None:
            return


def _write_some(write: Callable[[bytes], None], message: Message | None) -> None:
    if message is not None:
        write(encode_message(message))


def load(engine: str, model_dir: Path, language: str) -> Recogniser:
    """The engine with its model; only the chosen engine's libraries are imported.

    Raises:
        RefusedError: the model cannot be used.
    """
    if engine == "vosk":
        from edge_agent.captions.recogniser_vosk import VoskRecogniser

        return VoskRecogniser(model_dir)
    from edge_agent.captions.recogniser_whisper import WhisperRecogniser

    return WhisperRecogniser(model_dir, language)


def main() -> int:
    """Load the model, then serve; the exit code is 1 after a reason was written to stdout."""
    parser = argparse.ArgumentParser(prog="recogniser")
    parser.add_argument("--engine", choices=("whisper", "vosk"), required=True)
    parser.add_argument("--model-dir", type=Path, required=True)
    parser.add_argument("--vad-model", type=Path, required=True)
    parser.add_argument("--rate-hz", type=int, required=True)
    parser.add_argument("--language", required=True)
    asked = parser.parse_args()
    # Ctrl-C is meant for the agent, which ends its child.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = _private_stdout()

    def write(line: bytes) -> None:
        answers.write(line)
        answers.flush()

    try:
        recogniser = load(asked.engine, asked.model_dir, asked.language)
        from edge_agent.captions.vad_silero import SileroVad

        listener = Listener(recogniser, SileroVad(asked.vad_model), asked.rate_hz)
        write(encode_message(Ready(engine=recogniser.name)))
        serve(sys.stdin.buffer.read, write, listener)
    except BrokenPipeError:
        return 1  # the agent is gone
    except AgentError as error:
        write(encode_message(Failed(reason=str(error))))
        return 1
    return 0


def _private_stdout() -> BinaryIO:
    # Native libraries may print; their words go to stderr, only messages go to the agent.
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return private


if __name__ == "__main__":
    sys.exit(main())
