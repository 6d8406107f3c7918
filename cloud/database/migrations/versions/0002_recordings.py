"""Recordings."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward."""
    _recordings()
    _uploads()
    _transcripts()


def _recordings() -> None:
    op.create_table(
        "floor_events",
        sa.Column("session", sa.String(length=64), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seat", sa.String(length=32), nullable=False),
        sa.Column("taken", sa.Boolean(), autoincrement=False, nullable=False),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["session"], ["sittings.session"], name=op.f("fk_floor_events_session_sittings")
        ),
        sa.PrimaryKeyConstraint("session", "at_ms", "seat", "taken", name=op.f("pk_floor_events")),
    )
    op.create_table(
        "recordings",
        sa.Column("recording", sa.String(length=64), nullable=False),
        sa.Column("session", sa.String(length=64), nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("lang", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("segments_expected", sa.Integer(), nullable=True),
        sa.Column("failure", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["session"], ["sittings.session"], name=op.f("fk_recordings_session_sittings")
        ),
        sa.PrimaryKeyConstraint("recording", name=op.f("pk_recordings")),
        sa.UniqueConstraint("session", "channel", name=op.f("uq_recordings_session")),
    )
    with op.batch_alter_table("recordings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_recordings_created_at"), ["created_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_recordings_device"), ["device"], unique=False)
        batch_op.create_index(batch_op.f("ix_recordings_state"), ["state"], unique=False)

    op.create_table(
        "recording_gaps",
        sa.Column("recording", sa.String(length=64), nullable=False),
        sa.Column("after", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lost_ms", sa.BigInteger(), nullable=True),
        sa.Column("why", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["recording"], ["recordings.recording"], name=op.f("fk_recording_gaps_recording_recordings")
        ),
        sa.PrimaryKeyConstraint("recording", "after", "at_ms", name=op.f("pk_recording_gaps")),
    )


def _uploads() -> None:
    op.create_table(
        "recording_segments",
        sa.Column("recording", sa.String(length=64), nullable=False),
        sa.Column("segment", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("rate_hz", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("gap_before_ms", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.String(length=16), nullable=False),
        sa.Column("object_key", sa.String(length=160), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("corrupted", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["recording"], ["recordings.recording"], name=op.f("fk_recording_segments_recording_recordings")
        ),
        sa.PrimaryKeyConstraint("recording", "segment", name=op.f("pk_recording_segments")),
    )
    op.create_table(
        "recording_uploads",
        sa.Column("upload", sa.String(length=36), nullable=False),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("recording", sa.String(length=64), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("touched_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["recording"], ["recordings.recording"], name=op.f("fk_recording_uploads_recording_recordings")
        ),
        sa.PrimaryKeyConstraint("upload", name=op.f("pk_recording_uploads")),
        sa.UniqueConstraint("recording", "segment", name=op.f("uq_recording_uploads_recording")),
    )
    with op.batch_alter_table("recording_uploads", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_recording_uploads_device"), ["device"], unique=False)
        batch_op.create_index(batch_op.f("ix_recording_uploads_touched_at"), ["touched_at"], unique=False)


def _transcripts() -> None:
    op.create_table(
        "transcripts",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("recording", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("language", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["recording"], ["recordings.recording"], name=op.f("fk_transcripts_recording_recordings")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transcripts")),
        sa.UniqueConstraint("recording", "version", name=op.f("uq_transcripts_recording")),
    )
    op.create_table(
        "transcript_pieces",
        sa.Column(
            "transcript",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("seat", sa.String(length=32), nullable=True),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column("marks", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["transcript"], ["transcripts.id"], name=op.f("fk_transcript_pieces_transcript_transcripts")
        ),
        sa.PrimaryKeyConstraint("transcript", "number", name=op.f("pk_transcript_pieces")),
    )


def downgrade() -> None:
    """Back."""
    op.drop_table("transcript_pieces")
    op.drop_table("transcripts")
    with op.batch_alter_table("recording_uploads", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_recording_uploads_touched_at"))
        batch_op.drop_index(batch_op.f("ix_recording_uploads_device"))

    op.drop_table("recording_uploads")
    op.drop_table("recording_segments")
    op.drop_table("recording_gaps")
    with op.batch_alter_table("recordings", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_recordings_state"))
        batch_op.drop_index(batch_op.f("ix_recordings_device"))
        batch_op.drop_index(batch_op.f("ix_recordings_created_at"))

    op.drop_table("recordings")
    op.drop_table("floor_events")
