"""The ledger of the link: what was counted of each boot, declared drops, skews, sightings, told delays."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COUNTS = ("stored", "refused", "dropped", "given_up", "repeated", "missing")


def upgrade() -> None:
    """Forward; what had arrived so far counts as stored."""
    for name in COUNTS:
        op.add_column("link_watermarks", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    op.execute("UPDATE link_watermarks SET stored = seq + json_array_length(above)")
    op.create_index(
        "ix_link_watermarks_missing",
        "link_watermarks",
        ["device"],
        unique=False,
        sqlite_where=sa.text("missing > 0"),
        postgresql_where=sa.text("missing > 0"),
    )
    op.create_table(
        "link_forgotten",
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("boots", sa.BigInteger(), nullable=False),
        sa.Column("stored", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("dropped", sa.BigInteger(), nullable=False),
        sa.Column("given_up", sa.BigInteger(), nullable=False),
        sa.Column("repeated", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("device", "lane", name=op.f("pk_link_forgotten")),
    )
    op.create_table(
        "link_skews",
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("skew_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_link_skews")),
    )
    _declared()
    op.create_table(
        "link_sightings",
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("seen", sa.JSON(), nullable=False),
        sa.Column("returns", sa.BigInteger(), nullable=False),
        sa.Column("returned_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_link_sightings")),
    )
    op.create_table(
        "link_delays",
        sa.Column("delay", sa.String(length=64), nullable=False),
        sa.Column("site", sa.String(length=120), nullable=False),
        sa.Column("min_s", sa.Integer(), nullable=False),
        sa.Column("max_s", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("told_to", sa.String(length=63), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_by", sa.String(length=64), nullable=False),
        sa.Column("cleared_to", sa.String(length=63), nullable=True),
        sa.PrimaryKeyConstraint("delay", name=op.f("pk_link_delays")),
    )
    with op.batch_alter_table("link_delays", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_link_delays_created_at"), ["created_at"], unique=False)


def _declared() -> None:
    op.create_table(
        "link_declared",
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("boot", sa.String(length=64), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("why", sa.String(length=16), nullable=False),
        sa.Column("numbered", sa.BigInteger(), nullable=False),
        sa.Column("unnumbered", sa.BigInteger(), nullable=False),
        sa.Column("declared_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("device", "boot", "lane", "why", name=op.f("pk_link_declared")),
    )
    op.create_table(
        "link_declared_ranges",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("device", sa.String(length=63), nullable=False),
        sa.Column("boot", sa.String(length=64), nullable=False),
        sa.Column("lane", sa.String(length=16), nullable=False),
        sa.Column("from_seq", sa.BigInteger(), nullable=False),
        sa.Column("to_seq", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.String(length=16), nullable=False),
        sa.Column("declared_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_link_declared_ranges")),
    )
    with op.batch_alter_table("link_declared_ranges", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_link_declared_ranges_device"), ["device"], unique=False)


def downgrade() -> None:
    """Back."""
    op.drop_table("link_delays")
    op.drop_table("link_sightings")
    op.drop_table("link_declared_ranges")
    op.drop_table("link_declared")
    op.drop_table("link_skews")
    op.drop_table("link_forgotten")
    op.drop_index("ix_link_watermarks_missing", table_name="link_watermarks")
    with op.batch_alter_table("link_watermarks", schema=None) as batch_op:
        for name in COUNTS:
            batch_op.drop_column(name)
