"""How often and how long one plugin has blocked event loops."""

from __future__ import annotations

from pluginhost.journal import Detail, PathGroup


class LoopBlocks:
    """Counts a plugin's blocks, and knows the longest, and where the last was."""

    def __init__(self) -> None:
        self.count = 0
        self.longest_ns: int | None = None
        self.last: str | None = None

    def add(self, group: PathGroup) -> None:
        """Add the records of one hook."""
        self.count += len(group.durations_ns)
        self.longest_ns = max(self.longest_ns or 0, group.max_ns)
        for extra in group.extras or ():
            if isinstance(extra, Detail) and extra.metadata:
                self.last = extra.metadata.get("where")


NO_BLOCKS = LoopBlocks()
