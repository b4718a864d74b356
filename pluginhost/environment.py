"""Where and with what this process runs."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

from pluginhost.report import Environment


def environment() -> Environment:
    """Return where and with what this process runs."""
    return Environment(
        pluginhost=_version("pluginhost"),
        pluggy=_version("pluggy"),
        python=platform.python_version(),
        platform=platform.platform(),
        hostname=platform.node(),
        cpu_count=os.cpu_count() or 1,
        pid=os.getpid(),
    )


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
