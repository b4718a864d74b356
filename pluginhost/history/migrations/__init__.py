"""The revisions of a history's schema, for alembic; they come with the package."""
