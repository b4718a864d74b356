"""Comparing what the plugins of a program cost in two runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import jsonschema
import pytest

from pluginhost.cli.comparison_lines import comparison_lines, summary
from pluginhost.comparison import Comparison, Verdict, compare
from pluginhost.costs import (
    HookCost,
    PluginCost,
    PluginKind,
)
from pluginhost.errors import ReportFileError
from pluginhost.histogram import DurationHistogram
from pluginhost.rendering.lines import plain
from pluginhost.report import Report, decode, encode, json_schema
from tests.unit.reports import report_of

MS = 1_000_000


def run_with(plugins: dict[str, tuple[int, Sequence[int]]], *, version: str = "1.0") -> Report:
    """Return the saved run of a program: (import, durations of a hook's calls) by plugin."""
    rows, hooks = [], []
    for name, (import_ns, durations_ns) in plugins.items():
        histogram = DurationHistogram()
        histogram.add_all(durations_ns)
        rows.append(
            PluginCost(
                name=name,
                kind=PluginKind.INSTALLED,
                version=version,
                import_ns=import_ns,
                self_ns=import_ns + sum(durations_ns),
            )
        )
        hooks.append(
            HookCost(
                plugin=name,
                hook="sell",
                style="function",
                calls=len(durations_ns),
                inclusive_ns=sum(durations_ns),
                self_ns=sum(durations_ns),
                histogram=histogram.buckets(),
            )
        )
    whole_ns = sum(row.self_ns for row in rows)
    return report_of("shop", rows, hooks, wall_ns=whole_ns)


def shown(found: Comparison) -> str:
    return plain(comparison_lines(found, "before.json", "after.json"))


BEFORE = run_with({"slow": (5 * MS, [MS + n for n in range(50)]), "old": (MS, [MS] * 30)})
AFTER = run_with(
    {"slow": (90 * MS, [2 * MS + n for n in range(50)]), "new": (3 * MS, [MS] * 30)}, version="2.0"
)


def test_hooks_are_tested_by_their_calls() -> None:
    """Each plugin's hook is compared by the durations of its calls, and can be to blame."""
    found = compare(BEFORE, AFTER)
    verdicts = {change.plugin_id: change.verdict for change in found.changes}
    assert verdicts == {
        "slow:sell": Verdict.SLOWER,
        "old:sell": Verdict.GONE,
        "new:sell": Verdict.NEW,
    }
    assert summary(found).startswith("worse: slow:sell (+100%")


def test_totals_are_told_without_a_test() -> None:
    """What plugins cost in all stands beside, with versions; a plugin that is gone has no figure."""
    found = compare(BEFORE, AFTER)
    assert [row.plugin for row in found.costs] == ["slow", "new", "old"]
    slow, new, old = found.costs
    assert slow.import_before_ns == 5 * MS
    assert slow.change_ns == (90 + 100 - 5 - 50) * MS
    assert (old.self_after_ns, new.self_before_ns) == (None, None)
    text = shown(found)
    row = next(line for line in text.splitlines() if line.startswith("slow 1.0 -> 2.0"))
    assert row.split()[-4:] == ["55.0ms", "190ms", "+135ms", "+85.0ms"]
    assert "one run each: no test" in text
    assert max(map(len, text.splitlines())) <= 80


def test_what_did_not_change_has_no_row() -> None:
    """A program has hundreds of hooks; the unchanged ones are counted."""
    found = compare(BEFORE, BEFORE)
    text = shown(found)
    assert "2 other hooks: no change, or too few calls to tell" in text
    assert summary(found).startswith("no hook of 2 compared is slower by 5.0 %")


@pytest.mark.parametrize("turned", [False, True])
def test_two_kinds_of_runs_are_not_compared(report_of: Callable[..., Any], turned: bool) -> None:
    """A call of a hook and an execution are not the same thing."""
    sides = (BEFORE, report_of({"a": [MS] * 20}))
    with pytest.raises(ReportFileError, match="compare two runs of one kind"):
        compare(*(reversed(sides) if turned else sides))


def test_a_histogram_that_cannot_be_is_an_error() -> None:
    """A file may have been edited."""
    assert BEFORE.costs is not None
    text = encode(BEFORE)
    broken = text.replace('"histogram":[[', '"histogram":[[999999,1],[').replace(
        '"histogram": [', '"histogram": [[999999, 1],', 1
    )
    assert broken != text
    with pytest.raises(ReportFileError, match="histogram is not valid"):
        compare(decode(broken, Report), AFTER)


def test_the_published_schema_holds() -> None:
    """The JSON of such a comparison is what the schema says."""
    jsonschema.validate(json.loads(encode(compare(BEFORE, AFTER))), json_schema(Comparison))
