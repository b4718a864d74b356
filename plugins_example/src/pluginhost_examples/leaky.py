"""Remembers everything it was ever given: a plugin whose memory grows.

It has state, so it is a class; the host makes one instance, and lets go of it on unloading.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

from pluginhost import hookimpl

BLOCK_BYTES = 4 * 1024 * 1024
MAX_BLOCKS = 50  # 200 MiB: a real leak has no end, but this one must not take the machine down


class Leaky:
    """Keeps a block of memory for every execution."""

    def __init__(self) -> None:
        self._kept: deque[bytes] = deque(maxlen=MAX_BLOCKS)

    @hookimpl
    def execute(self, payload: Path) -> int:
        """Keep the beginning of the file, padded to 4 MiB; return the bytes kept so far."""
        with payload.open("rb") as file:
            self._kept.append(file.read(BLOCK_BYTES).ljust(BLOCK_BYTES))
        return len(self._kept) * BLOCK_BYTES
