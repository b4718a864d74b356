"""What identifies a file and how much there is in it, by asking the plugins that know.

The manifest says `requires = ["checksum>=1", "compress>=1"]`, so that both are there in time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pluginhost import Host, hookimpl


@dataclass(frozen=True)
class Digest:
    """The file's checksum, and its compressed size as a share of the original's."""

    sha256: str
    ratio: float


@hookimpl
def execute(payload: Path, host: Host) -> Digest:
    """Return what `checksum` and `compress` say of the file; takes every file."""
    return Digest(
        sha256=host.execute("checksum", payload),
        ratio=host.execute("compress", payload).ratio,
    )
