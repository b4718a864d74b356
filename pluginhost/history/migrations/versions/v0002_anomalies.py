"""A table of the anomalies that were seen in live streams."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create it."""
    op.create_table(
        "anomalies",
        sa.Column("run", sa.BigInteger, primary_key=True),
        sa.Column("plugin", sa.Text, primary_key=True),
        sa.Column("hook", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("first_ns", sa.BigInteger, primary_key=True),
        sa.Column("last_ns", sa.BigInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("usual", sa.Float, nullable=False),
        sa.Column("seen", sa.Float, nullable=False),
        sa.Column("score", sa.Float, nullable=False),
    )
