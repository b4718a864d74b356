"""A history that outlives processes: what plugins did, in SQLite or PostgreSQL.

`HistoryKeeper` observes and writes, `History` reads. Both need the extra `history`; nothing here
imports SQLAlchemy before it is used.
"""
