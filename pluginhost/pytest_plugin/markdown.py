"""A profile as a summary in GitHub's Markdown, for the page of a CI run or a comment."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pluginhost.costs import CostReport
from pluginhost.figures import short
from pluginhost.printable import printable
from pluginhost.pytest_plugin.gate import Judgement
from pluginhost.pytest_plugin.parts import OURS
from pluginhost.rendering.suite import answer, whole
from pluginhost.suite import SuiteReport

_ROWS = 5
_LEAST_PERCENT = 0.5
_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+!|~&@:])")


def markdown(costs: CostReport, suite: SuiteReport, judgement: Judgement | None = None) -> str:
    """Return the answer, a table of what took longest, what to do, and what got slower."""
    return "\n".join(_lines(costs, suite, judgement)) + "\n"


def _lines(costs: CostReport, suite: SuiteReport, judgement: Judgement | None) -> Iterator[str]:
    yield "### Where the tests' time went"
    yield ""
    yield f"**{answer(suite)}**, {whole(suite)}."
    yield ""
    if judgement is not None:
        yield from _judged(judgement)
    yield from (f"> missing: {escaped(text)}" for text in suite.incomplete)
    yield "| | | time | % |"
    yield "|---|---|--:|--:|"
    for kind, name, ns in _rows(costs, suite):
        share = 100 * ns / suite.busy_ns if suite.busy_ns else 0.0
        if share < _LEAST_PERCENT:
            continue
        yield f"| {kind} | {escaped(name)} | {short(ns)} | {share:.1f} |"
    if suite.advice:
        yield ""
    whose = " of all processes" if suite.workers else ""
    for each in suite.advice[:_ROWS]:
        saving = (
            "" if each.saving_ns is None else f" (saves {short(each.saving_ns)}{whose}, predicted)"
        )
        yield f"- {escaped(each.subject)}: {escaped(each.finding)} -> {escaped(each.remedy)}{saving}"
    yield ""


def _rows(costs: CostReport, suite: SuiteReport) -> Iterator[tuple[str, str, int]]:
    tests = suite.tests
    longest = sorted(range(len(tests.ids)), key=lambda n: -tests.self_ns[n])[:_ROWS]
    yield from (("test", tests.ids[n], tests.self_ns[n]) for n in longest)
    yield from (("fixture", row.name, row.self_ns) for row in suite.fixtures[:_ROWS])
    plugins = [row for row in costs.plugins if row.name not in OURS]
    yield from (("plugin", row.name, row.self_ns) for row in plugins[:_ROWS])
    files = sorted(suite.files, key=lambda row: -row.import_ns)[:_ROWS]
    yield from (("import", row.path, row.import_ns) for row in files if row.import_ns)


def _judged(judgement: Judgement) -> Iterator[str]:
    if judgement.culprits:
        yield f"**Slower than the baseline by more than {judgement.share:.0%}:**"
        yield ""
        yield from (f"- {escaped(str(each))}" for each in judgement.culprits)
    else:
        yield f"Nothing is slower than the baseline by more than {judgement.share:.0%}."
    yield ""
    yield from (f"- {escaped(note)}" for note in judgement.notes)
    yield ""


def escaped(text: str) -> str:
    """Return foreign text that Markdown and HTML show as it is."""
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", printable(text, 200))
