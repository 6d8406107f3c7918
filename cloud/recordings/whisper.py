"""Whisper on CTranslate2: a stretch of sound becomes words with times."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cloud.errors import SettingsError
from cloud.recordings.guards import Heard, Word, better, wants_second_reading
from cloud.recordings.sound import ENGINE_HZ, Samples

BATCH = 8
"""Half minutes at once; more does not go faster on two cores."""
BEAM = 5
SECOND_READINGS_MAX = 10
"""Of one stretch; sound that is bad throughout must not hold up the queue."""
EDGE_MS = 200
"""Sound around a part that is read again."""


class Whisper:
    """One model in memory: 300 MB."""

    def __init__(self, folder: Path, threads: int) -> None:
        """Load it.

        Raises:
            SettingsError: it is not there, or is no such model.
        """
        from faster_whisper import BatchedInferencePipeline, WhisperModel  # only workers need it

        if not (folder / "model.bin").is_file():
            raise SettingsError(
                f"[transcription] model_dir {folder} has no model.bin; "
                "run `python -m cloud.recordings.models --into DIR` and name DIR/whisper-base"
            )
        try:
            self._model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=threads)
        except (RuntimeError, ValueError) as error:
            raise SettingsError(f"[transcription] model_dir {folder}: {error}") from error
        self._batched = BatchedInferencePipeline(self._model)

    def hear(self, samples: Samples, lang: str) -> list[Heard]:
        """What is said in `lang`; positions in ms from the beginning of `samples`.

        The quick way reads half minutes of speech in batches, silence left out. What looks suspicious is read
        again by the slow way, which raises the temperature until its own measures are content.
        """
        segments, _ = self._batched.transcribe(
            samples, language=lang, batch_size=BATCH, beam_size=BEAM, word_timestamps=True
        )
        found: list[Heard] = []
        again = 0
        for first in _heard(segments, 0):
            if again < SECOND_READINGS_MAX and wants_second_reading(first):
                again += 1
                found += better([first], self._again(samples, first, lang))
            else:
                found.append(first)
        return found

    def _again(self, samples: Samples, first: Heard, lang: str) -> list[Heard]:
        start_ms = max(first.start_ms - EDGE_MS, 0)
        part = samples[start_ms * ENGINE_HZ // 1000 : (first.end_ms + EDGE_MS) * ENGINE_HZ // 1000]
        segments, _ = self._model.transcribe(
            part,
            language=lang,
            beam_size=BEAM,
            word_timestamps=True,
            condition_on_previous_text=False,
            vad_filter=True,
        )
        return _heard(segments, start_ms)


def _heard(segments: Iterable[Any], offset_ms: int) -> list[Heard]:
    """faster-whisper's segments as ours; seconds become ms, and nothing ends before it begins."""
    found = []
    for segment in segments:
        words = []
        for word in segment.words or ():
            start = round(float(word.start) * 1000) + offset_ms
            end = max(round(float(word.end) * 1000) + offset_ms, start)
            words.append(Word(start, end, word.word, round(float(word.probability), 4)))
        start = round(float(segment.start) * 1000) + offset_ms
        found.append(
            Heard(
                start_ms=start,
                end_ms=max(round(float(segment.end) * 1000) + offset_ms, start),
                words=tuple(words),
                logprob=float(segment.avg_logprob),
                no_speech=float(segment.no_speech_prob),
                compression=float(segment.compression_ratio),
            )
        )
    return found
