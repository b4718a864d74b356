"""Fixtures of the exporters' tests: the command line."""

from __future__ import annotations

from tests.unit.cli.conftest import pluginhost

__all__ = ["pluginhost"]
