"""Parses JSON, and does nothing about what is not JSON: a plugin that fails on some of its input.

It catches nothing. The host passes the exception on to the caller as it is, and the report says
how often that happened, and what the last one was.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pluginhost import hookimpl


@hookimpl
def execute(payload: Path) -> Any:
    """Return what a `.json` file holds, None for any other; raises `ValueError` if malformed."""
    if payload.suffix.lower() != ".json":
        return None
    return json.loads(payload.read_text(encoding="utf-8"))
