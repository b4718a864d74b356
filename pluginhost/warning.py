"""Warnings: the application's way, or else on standard error."""

from __future__ import annotations

import contextlib
import sys


def warn(what: str, **details: object) -> None:
    """Log a warning by structlog if the application has configured it, else on standard error.

    (Not on standard output, which is the application's.) A log that fails costs nobody anything.
    """
    import structlog  # deferred: it costs far more to import than what warns

    with contextlib.suppress(Exception):
        if structlog.is_configured():
            structlog.get_logger("pluginhost").warning(what, **details)
        elif sys.stderr is not None:  # not by a logger with a lock, which may be held right here
            shown = " ".join(f"{name}={value!r}" for name, value in details.items())
            sys.stderr.write(f"pluginhost: {what} {shown}\n")
