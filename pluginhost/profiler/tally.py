"""The least that adds up, of anything that is called."""

from __future__ import annotations

from pluginhost.journal import PathGroup


class Tally:
    """Calls and time of one kind, with the longest."""

    __slots__ = ("count", "errors", "max_ns", "total_ns")

    def __init__(self) -> None:
        self.count = self.errors = self.total_ns = self.max_ns = 0

    def add(self, group: PathGroup) -> None:
        """Count the records of a group."""
        self.count += len(group.durations_ns)
        self.total_ns += group.total_ns
        self.max_ns = max(self.max_ns, group.max_ns)
