"""Jobs have a state, a rate and devices that wait for it; devices have tags and groups."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_PENDING = "('QUEUED', 'IN_PROGRESS')"


def upgrade() -> None:
    """Forward."""
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("state", sa.String(length=24), server_default="COMPLETED", nullable=False)
        )
        batch_op.add_column(sa.Column("targets", sa.Integer(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("wish", sa.JSON(), server_default="{}", nullable=False))
        batch_op.add_column(sa.Column("per_minute", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("rollout_next_at", sa.DateTime(timezone=True), nullable=True))
    _judge()
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        for column in ("state", "targets", "wish"):
            batch_op.alter_column(column, server_default=None)
        batch_op.create_index(batch_op.f("ix_jobs_state"), ["state"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_rollout_next_at"), ["rollout_next_at"], unique=False)

    with op.batch_alter_table("job_executions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("afterwards", sa.JSON(), nullable=True))
        batch_op.create_index("ix_job_executions_job_status", ["job", "status"], unique=False)

    with op.batch_alter_table("update_rollouts", schema=None) as batch_op:
        batch_op.alter_column("target", existing_type=sa.String(length=63), type_=sa.String(length=69))

    op.create_table(
        "job_waiting",
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.device"], name=op.f("fk_job_waiting_device_devices")),
        sa.ForeignKeyConstraint(["job"], ["jobs.job"], name=op.f("fk_job_waiting_job_jobs")),
        sa.PrimaryKeyConstraint("job", "device", name=op.f("pk_job_waiting")),
    )
    with op.batch_alter_table("job_waiting", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_job_waiting_device"), ["device"], unique=False)
        batch_op.create_index("ix_job_waiting_position", ["job", "position"], unique=False)

    op.create_table(
        "device_groups",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("title", sa.String(length=120), nullable=False),
        sa.Column("query", sa.String(length=500), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_device_groups")),
    )
    op.create_table(
        "device_group_members",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.ForeignKeyConstraint(
            ["device"], ["devices.device"], name=op.f("fk_device_group_members_device_devices")
        ),
        sa.ForeignKeyConstraint(
            ["name"], ["device_groups.name"], name=op.f("fk_device_group_members_name_device_groups")
        ),
        sa.PrimaryKeyConstraint("name", "device", name=op.f("pk_device_group_members")),
    )
    op.create_table(
        "device_tags",
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("value", sa.String(length=256), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.device"], name=op.f("fk_device_tags_device_devices")),
        sa.PrimaryKeyConstraint("device", "key", name=op.f("pk_device_tags")),
    )


def _judge() -> None:
    """Give the jobs that are there the states that they have by the new rules."""
    open_ones = f"EXISTS (SELECT 1 FROM job_executions e WHERE e.job = jobs.job AND e.status IN {_PENDING})"  # noqa: S608 - constants
    op.execute(f"UPDATE jobs SET state = 'IN_PROGRESS' WHERE {open_ones}")  # noqa: S608 - constants
    op.execute("UPDATE jobs SET state = 'CANCELED' WHERE canceled_at IS NOT NULL")
    op.execute(
        "UPDATE jobs SET targets = "
        "(SELECT COUNT(DISTINCT e.device) FROM job_executions e WHERE e.job = jobs.job)"
    )


def downgrade() -> None:
    """Back."""
    op.drop_table("device_tags")
    op.drop_table("device_group_members")
    op.drop_table("device_groups")
    with op.batch_alter_table("job_waiting", schema=None) as batch_op:
        batch_op.drop_index("ix_job_waiting_position")
        batch_op.drop_index(batch_op.f("ix_job_waiting_device"))

    op.drop_table("job_waiting")
    with op.batch_alter_table("update_rollouts", schema=None) as batch_op:
        batch_op.alter_column("target", existing_type=sa.String(length=69), type_=sa.String(length=63))

    with op.batch_alter_table("job_executions", schema=None) as batch_op:
        batch_op.drop_index("ix_job_executions_job_status")
        batch_op.drop_column("afterwards")

    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_jobs_rollout_next_at"))
        batch_op.drop_index(batch_op.f("ix_jobs_state"))
        for column in ("rollout_next_at", "per_minute", "wish", "targets", "state"):
            batch_op.drop_column(column)
