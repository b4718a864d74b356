"""Where and with what this process runs."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import pluggy

from pluginhost.report import Environment


def environment() -> Environment:
    """Return where and with what this process runs."""
    return Environment(
        pluginhost=_version(),
        pluggy=pluggy.__version__,
        python=platform.python_version(),
        platform=_platform(),
        hostname=platform.node(),
        cpu_count=os.cpu_count() or 1,
        pid=os.getpid(),
    )


def _platform() -> str:
    """Return what `platform.platform()` does, which starts a process to ask for more than it says."""
    if sys.platform != "linux":
        return platform.platform()
    system = os.uname()
    library = "".join(platform.libc_ver())
    words = system.sysname, system.release, system.machine, "with", library
    return "-".join(filter(None, words))


def _version() -> str:
    try:
        return version("pluginhost")
    except PackageNotFoundError:
        return "unknown"
