"""The command `pluginhost`. What a command needs is imported when it is used, not before."""

from __future__ import annotations

from pluginhost.cli.group import COMMANDS, main

__all__ = ["COMMANDS", "main"]
