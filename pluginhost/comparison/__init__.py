"""Which plugin got slower between two saved runs, as far as two runs can tell."""

from __future__ import annotations

from pluginhost.comparison.judging import MIN_EXECUTIONS, compare, holm, ratio_interval
from pluginhost.comparison.records import (
    Comparison,
    CostChange,
    ErrorChange,
    PluginChange,
    Run,
    Timing,
    Verdict,
)

__all__ = [
    "MIN_EXECUTIONS",
    "Comparison",
    "CostChange",
    "ErrorChange",
    "PluginChange",
    "Run",
    "Timing",
    "Verdict",
    "compare",
    "holm",
    "ratio_interval",
]
