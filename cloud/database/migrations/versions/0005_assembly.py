"""Transcription runs, and who sits where."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    op.create_table(
        "assembly_seats",
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("seat", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("group_name", sa.String(length=120), nullable=False),
        sa.Column("chair", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("device", "seat", name=op.f("pk_assembly_seats")),
    )
    op.create_table(
        "transcription_workers",
        sa.Column("executor", sa.String(length=64), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("executor", name=op.f("pk_transcription_workers")),
    )
    op.create_table(
        "transcription_runs",
        sa.Column("recording", sa.String(length=64), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=True),
        sa.Column("stretches", sa.Integer(), nullable=True),
        sa.Column("transcript", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["recording"], ["recordings.recording"], name=op.f("fk_transcription_runs_recording_recordings")
        ),
        sa.ForeignKeyConstraint(
            ["transcript"], ["transcripts.id"], name=op.f("fk_transcription_runs_transcript_transcripts")
        ),
        sa.PrimaryKeyConstraint("recording", "attempt", name=op.f("pk_transcription_runs")),
    )
    with op.batch_alter_table("transcription_runs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_transcription_runs_state"), ["state"], unique=False)

    op.create_table(
        "transcription_stretches",
        sa.Column("recording", sa.String(length=64), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("begun", sa.Integer(), nullable=False),
        sa.Column("heard", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["recording", "attempt"],
            ["transcription_runs.recording", "transcription_runs.attempt"],
            name=op.f("fk_transcription_stretches_recording_transcription_runs"),
        ),
        sa.PrimaryKeyConstraint("recording", "attempt", "number", name=op.f("pk_transcription_stretches")),
    )


def downgrade() -> None:
    """Back."""
    op.drop_table("transcription_stretches")
    with op.batch_alter_table("transcription_runs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_transcription_runs_state"))

    op.drop_table("transcription_runs")
    op.drop_table("transcription_workers")
    op.drop_table("assembly_seats")
