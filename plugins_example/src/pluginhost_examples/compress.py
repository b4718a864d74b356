"""Compresses any file in four ways and keeps the smallest: a plugin that keeps a processor busy."""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from pluginhost import hookimpl

LITERAL_CONTEXT_BITS = (0, 3)  # bits of the byte before that predict the next one: 3 suits text
POSITION_BITS = (0, 2)  # bits of the address that do: 2 suits data in words of four bytes


@dataclass(frozen=True)
class Compressed:
    """The file in the `.xz` format, and its size as a share of the original's (below 1 is good)."""

    data: bytes
    ratio: float


@hookimpl
def execute(payload: Path) -> Compressed:
    """Return the file's content compressed; takes every file."""
    content = payload.read_bytes()
    settings = product(LITERAL_CONTEXT_BITS, POSITION_BITS)
    data = min((_xz(content, lc, pb) for lc, pb in settings), key=len)
    return Compressed(data, len(data) / max(1, len(content)))


def _xz(content: bytes, lc: int, pb: int) -> bytes:
    lzma2 = {"id": lzma.FILTER_LZMA2, "preset": 6, "lc": lc, "pb": pb}
    return lzma.compress(content, filters=[lzma2])
