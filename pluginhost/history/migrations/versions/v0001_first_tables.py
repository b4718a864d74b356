"""The first tables: runs, sites, occurrences with details and readings, and roll-ups."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create them."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "runs",
        sa.Column("number", big, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        *_texts("name", "origin", "host"),
        sa.Column("pid", sa.BigInteger, nullable=False),
        *_texts("python", "pluginhost", "pluggy", "platform"),
        sa.Column("revision", sa.Text),
        sa.Column("branch", sa.Text),
        sa.Column("started_ns", sa.BigInteger, nullable=False),
        sa.Column("ended_ns", sa.BigInteger),
        sa.Column("last_ns", sa.BigInteger),
        *_counts("occurrences", "lost"),
        sa.Column("lost_reasons", sa.Text),
        sa.Column("report", sa.LargeBinary),
    )
    op.create_table(
        "sites",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        *_texts("kind", "plugin", "hook"),
        sa.UniqueConstraint("plugin", "kind", "hook"),
    )
    op.create_table(
        "run_plugins",
        sa.Column("run", sa.BigInteger, primary_key=True),
        sa.Column("plugin", sa.Text, primary_key=True),
        sa.Column("version", sa.Text),
        sa.Column("distribution", sa.Text),
        sa.Column("state", sa.Text),
        sa.Column("self_ns", sa.BigInteger),
        sa.Column("import_ns", sa.BigInteger),
    )
    _create_what_occurs(big)


def _create_what_occurs(big: sa.BigInteger) -> None:
    op.create_table(
        "occurrences",
        sa.Column("id", big, primary_key=True, autoincrement=False),
        sa.Column("site", sa.Integer, nullable=False),
        *_counts("ended_ns", "duration_ns"),
        sa.Column("status", sa.SmallInteger, nullable=False),
    )
    op.create_table(
        "details",
        sa.Column("id", big, primary_key=True, autoincrement=False),
        sa.Column("error_type", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("metadata", sa.Text),
        sa.Column("task", sa.Text),
    )
    op.create_table(
        "readings",
        sa.Column("id", big, primary_key=True, autoincrement=False),
        *_counts("cpu_ns", "rss_before_bytes", "rss_after_bytes"),
        sa.Column("overlapped", sa.SmallInteger, nullable=False),
    )
    op.create_table(
        "rollups",
        sa.Column("site", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seconds", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("start_s", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("run", sa.BigInteger, primary_key=True, autoincrement=False),
        *_counts("count", "errors", "timeouts", "cancelled"),
        *_counts("total_ns", "min_ns", "max_ns", "sampled", "cpu_ns"),
        sa.Column("histogram", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _counts(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger, nullable=False) for name in names]
