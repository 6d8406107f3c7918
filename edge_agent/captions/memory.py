"""What the recorder remembers about sittings, over restarts.

Segment numbers live here: the number of a segment is written down before anything of the segment is sent, so
that no number is used twice, whenever the power goes. A number whose segment never became final is left out.
"""

import msgspec

from contract.captions import SetSitting

SITTINGS_MAX = 16
"""Sittings that are remembered; a hall has one or two a day."""


class Sitting(msgspec.Struct, frozen=True, kw_only=True):
    """The newest state of a sitting that this recorder was told, and the last segment number it has used."""

    told: SetSitting
    last_segment: int = 0

    @property
    def name(self) -> tuple[str, str]:
        """Session and channel."""
        return self.told.session, self.told.channel


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest sitting first; the last one is that to which the microphone belongs now."""

    v: int = 1
    sittings: tuple[Sitting, ...] = ()
