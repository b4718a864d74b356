"""Which plugin got slower between saved runs, and whether that is within its budget."""

from __future__ import annotations

from pluginhost.comparison.budgets import DEFAULT_BUDGETS, Budget, budget_of
from pluginhost.comparison.gate import Gate, GateRow, GateVerdict, judge
from pluginhost.comparison.gate_text import gate_lines, gate_markdown, gate_summary, gate_text
from pluginhost.comparison.judging import MIN_EXECUTIONS, compare, holm, ratio_interval
from pluginhost.comparison.movements import Movement, cpu_times, movements, stretch
from pluginhost.comparison.records import (
    Comparison,
    CostChange,
    ErrorChange,
    PluginChange,
    Run,
    Timing,
    Verdict,
)
from pluginhost.comparison.suites import suite_rows

__all__ = [
    "DEFAULT_BUDGETS",
    "MIN_EXECUTIONS",
    "Budget",
    "Comparison",
    "CostChange",
    "ErrorChange",
    "Gate",
    "GateRow",
    "GateVerdict",
    "Movement",
    "PluginChange",
    "Run",
    "Timing",
    "Verdict",
    "budget_of",
    "compare",
    "cpu_times",
    "gate_lines",
    "gate_markdown",
    "gate_summary",
    "gate_text",
    "holm",
    "judge",
    "movements",
    "ratio_interval",
    "stretch",
    "suite_rows",
]
