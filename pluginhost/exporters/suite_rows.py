"""Rows of a test suite: its fixtures, files and tests, in the form of all other rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pluginhost.exporters.view import Row, tidied
from pluginhost.suite import SuiteReport

_STATUSES = {"passed": "success", "failed": "error"}
"""What outcomes are called as a status; others, such as skipped, keep their name."""


def suite_rows(suite: SuiteReport) -> Iterator[Row]:
    """Yield fixtures (by their owner), files and tests (by their file).

    Their times are parts of the rows of plugins and application, not to be added to those.
    """
    for fixture in suite.fixtures:
        setups = Counter(success=fixture.setups - fixture.errors, error=fixture.errors)
        yield Row(
            plugin=tidied(fixture.owner or fixture.defined_in),
            hook=tidied(fixture.name),
            kind="fixture",
            statuses=tuple((status, count) for status, count in setups.items() if count > 0),
            total_ns=fixture.setup_ns + fixture.teardown_ns,
            self_ns=fixture.self_ns,
            cpu_ns=fixture.cpu_ns,
            min_ns=fixture.min_ns,
            p50_ns=fixture.median_ns,
            max_ns=fixture.max_ns,
            histogram=fixture.histogram,
        )
    for file in suite.files:
        spent_ns = file.setup_ns + file.tests_ns + file.teardown_ns
        yield Row(
            plugin=tidied(file.path),
            hook="(file)",
            kind="file",
            total_ns=spent_ns + file.collection_ns + file.import_ns,
            self_ns=file.import_self_ns,
        )
    tests = suite.tests
    for number, (test_id, outcome) in enumerate(zip(tests.ids, tests.outcomes, strict=True)):
        call_ns = tests.call_ns[number]
        yield Row(
            plugin=tidied(suite.files[tests.files[number]].path),
            hook=tidied(test_id),
            kind="test",
            statuses=((_STATUSES.get(outcome, outcome), 1),),
            total_ns=tests.setup_ns[number] + call_ns + tests.teardown_ns[number],
            self_ns=tests.self_ns[number],
            cpu_ns=tests.cpu_ns[number] if tests.cpu_ns else None,
        )
