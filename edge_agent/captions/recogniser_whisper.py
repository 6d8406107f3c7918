"""Whisper, made to stream: the current utterance is read again and again while it grows.

Words with which all readings of the last second of sound begin are settled (after LocalAgreement, Macháček,
Dabre and Bojar, "Turning Whisper into Real-Time Transcription System", 2023). Settled words are given to the
decoder as the beginning of its answer, so that they stay and need not be decoded again.

Whisper was trained on windows of 30 s. An utterance here is at most 9 s, and the encoder is given 12 s:
a sixth of the work, and the 3 s of silence at the end are enough for the decoder to know that the speech is
over. With a second of silence instead it begins to repeat itself.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# One thread: the machine has other work. OpenMP reads this when ctranslate2 is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import ctranslate2
import tokenizers

from edge_agent.captions.engine import RATE_HZ, Hypothesis, Samples
from edge_agent.captions.mel import HOP, LogMel
from edge_agent.errors import RefusedError

UTTERANCE_S_MAX = 9.0
CONTEXT_S = 12.0
"""What the encoder sees: the utterance, then silence."""
AGREE_S = 0.9
"""Readings must agree over so much new sound; two readings half a second apart often share a mistake."""
TAIL_S = 0.6
"""A word that ends so close to a cut may be half a word; it stays for the next utterance."""
SHOWN_CONFIDENCE = 0.4
"""Below it a guess is more often wrong than right, and only the settled words are shown."""
TOKENS_PER_S_MAX = 8
"""Fast English has 5; what says more is going round in circles."""
TOKENS_SPARE = 12
NO_SPEECH = 0.6
NO_SPEECH_LOG_PROBABILITY = -1.0
"""Whisper's own rule: most likely no speech, and unsure of its words, is nothing said."""
LOOP_WORDS_MAX = 8
LOOP_TIMES = 3
"""The same words (up to so many) said so many times in a row at the end are one saying and a loop."""
ALIGN_FRAME_S = 0.02


@dataclass(frozen=True)
class Word:
    """A word with the space before it, and the tokens that it is made of."""

    text: str
    tokens: tuple[int, ...]

    @property
    def bare(self) -> str:
        """Without case and punctuation, to be compared."""
        return "".join(letter for letter in self.text.casefold() if letter.isalnum())


@dataclass(frozen=True)
class Reading:
    """What one pass of the decoder made of the utterance."""

    words: tuple[Word, ...]
    confidence: float


class WhisperRecogniser:
    """Any Whisper model in CTranslate2's form; `language` matters to the multilingual ones only.

    Raises:
        RefusedError: the folder has no such model, or the model does not know the language.
    """

    utterance_s_max = UTTERANCE_S_MAX

    def __init__(self, model_dir: Path, language: str) -> None:
        try:
            self._model = ctranslate2.models.Whisper(
                str(model_dir), device="cpu", compute_type="int8", inter_threads=1, intra_threads=1
            )
            self._tokenizer = tokenizers.Tokenizer.from_file(str(model_dir / "tokenizer.json"))
        except Exception as error:  # neither library has an error class of its own
            raise RefusedError(f"Whisper model {model_dir} cannot be loaded: {error}") from error
        self.name = model_dir.name
        self._start = self._prompt(language)
        self._end = self._special("<|endoftext|>")
        self._spectrogram = LogMel(self._model.n_mels)
        self._sound: Samples = np.zeros(0, np.float32)
        self._settled: tuple[Word, ...] = ()
        self._readings: list[tuple[int, tuple[Word, ...]]] = []

    def hear(self, samples: Samples) -> None:
        """Take in more of the current utterance; quick."""
        self._sound = np.concatenate([self._sound, samples])

    def guess(self) -> Hypothesis:
        """What was heard so far, read now."""
        reading = self._read(self._encode())
        self._settle(reading.words)
        words = reading.words if reading.confidence >= SHOWN_CONFIDENCE else self._settled
        text = _text(words)
        return Hypothesis(text, min(len(text), len(_text(self._settled))), reading.confidence)

    def finish(self) -> Hypothesis:
        """The final reading; what is heard next is another utterance."""
        reading = self._read(self._encode())
        self.forget()
        return _final(reading)

    def cut(self) -> tuple[Hypothesis, int]:
        """The final reading of the words that end safely, and how many samples that was."""
        encoded = self._encode()
        reading = self._read(encoded)
        ends = self._word_ends_s(encoded, reading.words)
        safe_s = len(self._sound) / RATE_HZ - TAIL_S
        count = sum(1 for end in ends if end <= safe_s)
        if not count:
            length = len(self._sound)
            self.forget()
            return _final(reading), length
        length = min(len(self._sound), int(ends[count - 1] * RATE_HZ))
        rest = self._sound[length:]
        self.forget()
        self.hear(rest)
        return _final(Reading(reading.words[:count], reading.confidence)), length

    def forget(self) -> None:
        """Drop the current utterance unread."""
        self._sound = np.zeros(0, np.float32)
        self._settled = ()
        self._readings = []

    def _settle(self, words: tuple[Word, ...]) -> None:
        now = len(self._sound)
        old = [i for i, (length, _) in enumerate(self._readings) if now - length >= AGREE_S * RATE_HZ]
        if old:
            self._readings = self._readings[old[-1] :]
            agreed = min(_agreed(before, words) for _, before in self._readings)
            self._settled = words[: max(agreed, len(self._settled))]
        self._readings.append((now, words))

    def _encode(self) -> ctranslate2.StorageView:
        columns = int(CONTEXT_S * RATE_HZ) // HOP
        spectrogram = self._spectrogram(self._sound, columns)
        return self._model.encode(ctranslate2.StorageView.from_array(spectrogram[None]))

    def _read(self, encoded: ctranslate2.StorageView) -> Reading:
        settled = [token for word in self._settled for token in word.tokens]
        prompt = self._start + settled
        seconds = len(self._sound) / RATE_HZ
        new_max = max(TOKENS_SPARE, int(seconds * TOKENS_PER_S_MAX) + TOKENS_SPARE - len(settled))
        result = self._model.generate(
            encoded,
            [prompt],
            beam_size=1,
            max_length=len(prompt) + new_max,
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        tokens = [token for token in result.sequences_ids[0] if token < self._end]
        score = float(result.scores[0])
        if not settled and result.no_speech_prob > NO_SPEECH and score < NO_SPEECH_LOG_PROBABILITY:
            return Reading((), 0.0)
        words = _without_loop(self._words(tokens))
        return Reading(words, round(min(1.0, math.exp(score)), 3))

    def _words(self, tokens: list[int]) -> tuple[Word, ...]:
        # In Whisper's vocabulary a token that begins a word carries the space before it, written as Ġ.
        groups: list[list[int]] = []
        for token in tokens:
            piece = self._tokenizer.id_to_token(token) or ""
            if piece.startswith("Ġ") or not groups:
                groups.append([])
            groups[-1].append(token)
        words = (Word(self._tokenizer.decode(group), tuple(group)) for group in groups)
        return tuple(word for word in words if word.text.strip())

    def _word_ends_s(self, encoded: ctranslate2.StorageView, words: tuple[Word, ...]) -> list[float]:
        """When each word ends, in seconds from the beginning of the utterance."""
        if not words:
            return []
        tokens = [token for word in words for token in word.tokens]
        columns = len(self._sound) // HOP
        aligned = self._model.align(encoded, self._start[:-1], [tokens], columns)[0].alignments
        starts: dict[int, float] = {}
        for token_index, frame in aligned:
            starts.setdefault(token_index, frame * ALIGN_FRAME_S)
        ends, index = [], 0
        for word in words:
            index += len(word.tokens)
            ends.append(starts.get(index, len(self._sound) / RATE_HZ))
        return ends

    def _prompt(self, language: str) -> list[int]:
        start = [self._special("<|startoftranscript|>")]
        if self._model.is_multilingual:
            start += [self._special(f"<|{language}|>"), self._special("<|transcribe|>")]
        elif language != "en":
            raise RefusedError(f"{self.name} knows English only, not {language!r}")
        return [*start, self._special("<|notimestamps|>")]

    def _special(self, token: str) -> int:
        number = self._tokenizer.token_to_id(token)
        if number is None:
            raise RefusedError(f"{self.name} does not know {token}")
        return int(number)


def _text(words: tuple[Word, ...]) -> str:
    return "".join(word.text for word in words).strip()


def _final(reading: Reading) -> Hypothesis:
    text = _text(reading.words)
    return Hypothesis(text, len(text), reading.confidence if text else None)


def _agreed(before: tuple[Word, ...], now: tuple[Word, ...]) -> int:
    """How many words both readings begin with. The last word may be half heard and does not count."""
    count = 0
    for old, new in zip(before, now[:-1], strict=False):
        if old.bare != new.bare:
            break
        count += 1
    return count


def _without_loop(words: tuple[Word, ...]) -> tuple[Word, ...]:
    bare = [word.bare for word in words]
    for length in range(1, LOOP_WORDS_MAX + 1):
        times = 1
        while bare[-length * (times + 1) : len(bare) - length * times] == bare[-length:]:
            times += 1
        if times >= LOOP_TIMES and len(bare) >= length * times:
            return words[: len(words) - length * (times - 1)]
    return words
