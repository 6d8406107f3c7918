"""What each device should do, and what it says it does."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "device_twins",
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("desired", sa.JSON(), nullable=False),
        sa.Column("reported", sa.JSON(), nullable=False),
        sa.Column("desired_at", sa.JSON(), nullable=False),
        sa.Column("reported_at", sa.JSON(), nullable=False),
        sa.Column("differs", sa.Boolean(), nullable=False),
        sa.Column("last", sa.String(length=64), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.device"], name=op.f("fk_device_twins_device_devices")),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_device_twins")),
    )
    with op.batch_alter_table("device_twins", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_device_twins_differs"), ["differs"], unique=False)


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("device_twins", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_device_twins_differs"))

    op.drop_table("device_twins")
