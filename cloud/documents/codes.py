"""The code of a paper: 128 random bits in letters that are not mistaken for one another.

Crockford's base 32 (https://www.crockford.com/base32.html): reading is forgiving, writing is not.
"""

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_BYTES = 16
CODE_LENGTH = 26
TYPED_LENGTH_MAX = 80
_FORGIVEN = str.maketrans({"O": "0", "I": "1", "L": "1"})


def encode(random: bytes) -> str:
    """The code of 16 random bytes."""
    assert len(random) == CODE_BYTES
    value = int.from_bytes(random, "big")
    digits = []
    for _ in range(CODE_LENGTH):
        value, digit = divmod(value, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def normal(typed: str) -> str | None:
    """What a person typed, as it was written; None where it cannot be a code."""
    if len(typed) > TYPED_LENGTH_MAX:
        return None
    code = "".join(letter for letter in typed.upper() if not letter.isspace() and letter not in "-–—_.")
    code = code.translate(_FORGIVEN)
    return code if len(code) == CODE_LENGTH and all(letter in ALPHABET for letter in code) else None
