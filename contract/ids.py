"""Ids are made from a time and random bytes that the caller brings (RFC 9562, section 5.7)."""

import uuid

RANDOM_BYTES = 10


def uuid7(now_ms: int, random: bytes) -> str:
    """A UUID version 7 of `now_ms` (milliseconds since 1970 UTC) and ten random bytes."""
    assert len(random) == RANDOM_BYTES
    value = (now_ms & (1 << 48) - 1) << 80 | int.from_bytes(random, "big")
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return str(uuid.UUID(int=value))
