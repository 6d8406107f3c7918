"""Roll-outs of updates."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "update_rollouts",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("update", sa.String(length=64), nullable=False),
        sa.Column("component", sa.String(length=16), nullable=False),
        sa.Column("path", sa.String(length=120), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("downgrade", sa.Boolean(), nullable=False),
        sa.Column("target", sa.String(length=63), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_update_rollouts")),
        sa.UniqueConstraint("update", name=op.f("uq_update_rollouts_update")),
    )
    op.create_table(
        "update_assignments",
        sa.Column("update", sa.String(length=64), nullable=False),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.String(length=300), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["device"], ["devices.device"], name=op.f("fk_update_assignments_device_devices")
        ),
        sa.ForeignKeyConstraint(
            ["update"],
            ["update_rollouts.update"],
            name=op.f("fk_update_assignments_update_update_rollouts"),
        ),
        sa.PrimaryKeyConstraint("update", "device", name=op.f("pk_update_assignments")),
    )
    with op.batch_alter_table("update_assignments", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_update_assignments_device"), ["device"], unique=False)
        batch_op.create_index(batch_op.f("ix_update_assignments_state"), ["state"], unique=False)


def downgrade() -> None:
    """Back."""
    op.drop_table("update_assignments")
    op.drop_table("update_rollouts")
