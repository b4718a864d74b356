"""Files for what is written and read back at once."""

from __future__ import annotations

import os
from typing import IO


def scratch_file() -> IO[bytes]:
    """Return an empty file without a name, which is gone once it is closed.

    It is in memory where the system has such files. `tempfile` is the other way: who is the first to
    ask it for a folder holds a lock, and a child process that is forked meanwhile waits for ever.
    """
    try:
        return os.fdopen(os.memfd_create("pluginhost"), "w+b")  # a plugin may have replaced `open`
    except (AttributeError, OSError):
        import tempfile

        return tempfile.TemporaryFile()
