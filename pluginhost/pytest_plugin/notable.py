"""Whether what comes after the summary is worth a word."""

from __future__ import annotations

LONG_NS = 1_000_000_000  # nobody waits for so long without asking why
LEAST_NS, _LEAST_SHARE = 300_000_000, 0.05  # of the time until then


def is_notable(later_ns: int, elapsed_ns: int) -> bool:
    """Whether somebody who has waited for `elapsed_ns` would notice so much more."""
    return later_ns >= LONG_NS or later_ns >= max(LEAST_NS, _LEAST_SHARE * elapsed_ns)
