"""How far from its position the sound of a segment may have been said."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("recording_segments", schema=None) as batch_op:
        batch_op.add_column(sa.Column("early_ms", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("late_ms", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("recording_segments", schema=None) as batch_op:
        batch_op.drop_column("late_ms")
        batch_op.drop_column("early_ms")
