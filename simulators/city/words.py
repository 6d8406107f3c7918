"""Word error of captions against what was really said (Levenshtein over words)."""

import re
import unicodedata

_NUMBERS = {
    "0": "zero",
    "1": "one",
    "2": "two",
    "3": "three",
    "4": "four",
    "5": "five",
    "6": "six",
    "7": "seven",
    "8": "eight",
    "9": "nine",
    "10": "ten",
    "11": "eleven",
    "12": "twelve",
}


def words(text: str) -> list[str]:
    """Lower-case words without punctuation; small numbers spelled out, as speakers say them."""
    folded = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    return [_NUMBERS.get(word, word) for word in re.findall(r"[^\W_]+(?:'[^\W_]+)?", folded)]


def word_error(said: str, written: str) -> float:
    """Substituted, missing and added words, divided by the words that were said."""
    reference, hypothesis = words(said), words(written)
    if not reference:
        return 0.0 if not hypothesis else 1.0
    row = list(range(len(hypothesis) + 1))
    for i, wanted in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, found in enumerate(hypothesis, start=1):
            cost = diagonal + (wanted != found)
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, cost)
    return row[-1] / len(reference)
