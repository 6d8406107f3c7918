"""Certificates are proven, given again, and connections of those without one are dropped."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("device_certificates", schema=None) as batch_op:
        batch_op.add_column(sa.Column("key_sha256", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("certificate", sa.LargeBinary(), nullable=True))
        batch_op.add_column(sa.Column("proven_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "connection_drops",
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("forget", sa.Boolean(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("trouble", sa.String(length=32), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["device"], ["devices.device"], name=op.f("fk_connection_drops_device_devices")
        ),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_connection_drops")),
    )
    with op.batch_alter_table("connection_drops", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_connection_drops_next_at"), ["next_at"], unique=False)


def downgrade() -> None:
    """Back: what was proven, and which connections were to end, is lost."""
    op.drop_table("connection_drops")
    with op.batch_alter_table("device_certificates", schema=None) as batch_op:
        batch_op.drop_column("proven_at")
        batch_op.drop_column("certificate")
        batch_op.drop_column("key_sha256")
