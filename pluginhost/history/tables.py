"""The tables of a history, the same in SQLite and PostgreSQL.

They are described in the documentation, for people who query them with other tools.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

SEQUENCE_BITS = 36
"""The id of an occurrence is the number of its run, shifted by so many bits, plus its own number."""

METADATA = MetaData()
_BIG = BigInteger().with_variant(Integer, "sqlite")

RUNS = Table(
    "runs",
    METADATA,
    Column("number", _BIG, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("python", Text, nullable=False),
    Column("pluginhost", Text, nullable=False),
    Column("pluggy", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("revision", Text),
    Column("branch", Text),
    Column("started_ns", BigInteger, nullable=False),
    Column("ended_ns", BigInteger),
    Column("last_ns", BigInteger),
    Column("occurrences", BigInteger, nullable=False),
    Column("lost", BigInteger, nullable=False),
    Column("lost_reasons", Text),
    Column("report", LargeBinary),
)

SITES = Table(
    "sites",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("plugin", Text, nullable=False),
    Column("hook", Text, nullable=False),
    UniqueConstraint("plugin", "kind", "hook"),
)

RUN_PLUGINS = Table(
    "run_plugins",
    METADATA,
    Column("run", BigInteger, primary_key=True),
    Column("plugin", Text, primary_key=True),
    Column("version", Text),
    Column("distribution", Text),
    Column("state", Text),
    Column("self_ns", BigInteger),
    Column("import_ns", BigInteger),
)

OCCURRENCES = Table(
    "occurrences",
    METADATA,
    Column("id", _BIG, primary_key=True, autoincrement=False),
    Column("site", Integer, nullable=False),
    Column("ended_ns", BigInteger, nullable=False),
    Column("duration_ns", BigInteger, nullable=False),
    Column("status", SmallInteger, nullable=False),
)

DETAILS = Table(
    "details",
    METADATA,
    Column("id", _BIG, primary_key=True, autoincrement=False),
    Column("error_type", Text),
    Column("error_message", Text),
    Column("metadata", Text),
    Column("task", Text),
)

READINGS = Table(
    "readings",
    METADATA,
    Column("id", _BIG, primary_key=True, autoincrement=False),
    Column("cpu_ns", BigInteger, nullable=False),
    Column("rss_before_bytes", BigInteger, nullable=False),
    Column("rss_after_bytes", BigInteger, nullable=False),
    Column("overlapped", SmallInteger, nullable=False),
)

ROLLUPS = Table(
    "rollups",
    METADATA,
    Column("site", Integer, primary_key=True, autoincrement=False),
    Column("seconds", Integer, primary_key=True, autoincrement=False),
    Column("start_s", BigInteger, primary_key=True, autoincrement=False),
    Column("run", BigInteger, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("timeouts", BigInteger, nullable=False),
    Column("cancelled", BigInteger, nullable=False),
    Column("total_ns", BigInteger, nullable=False),
    Column("min_ns", BigInteger, nullable=False),
    Column("max_ns", BigInteger, nullable=False),
    Column("sampled", BigInteger, nullable=False),
    Column("cpu_ns", BigInteger, nullable=False),
    Column("histogram", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

ANOMALIES = Table(
    "anomalies",
    METADATA,
    Column("run", BigInteger, primary_key=True),
    Column("plugin", Text, primary_key=True),
    Column("hook", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("first_ns", BigInteger, primary_key=True),
    Column("last_ns", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("usual", Float, nullable=False),
    Column("seen", Float, nullable=False),
    Column("score", Float, nullable=False),
)
