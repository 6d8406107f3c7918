"""Who sits where. Names of members stand here and nowhere else: messages carry the id of the seat."""

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from cloud.database.models.base import Base

SEAT_LENGTH_MAX = 32
NAME_LENGTH_MAX = 120


class Seat(Base):
    """One microphone of a hall (`device` is its recorder) and who sits there; `chair` presides."""

    __tablename__ = "assembly_seats"

    device: Mapped[str] = mapped_column(sa.String(63), primary_key=True)
    seat: Mapped[str] = mapped_column(sa.String(SEAT_LENGTH_MAX), primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(NAME_LENGTH_MAX))
    group: Mapped[str] = mapped_column("group_name", sa.String(NAME_LENGTH_MAX), default="")
    chair: Mapped[bool] = mapped_column(default=False)
