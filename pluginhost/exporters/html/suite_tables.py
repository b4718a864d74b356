"""The tables of a test suite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pluginhost.exporters.html.columns import CPU, SELF, count, filled, ns, share, size, text
from pluginhost.exporters.html.document import Table
from pluginhost.suite import SuiteReport, SuiteTests


def suite_tables(suite: SuiteReport) -> list[Table]:
    """Return tests, fixtures, files, markers and workers."""
    return [
        filled(_tests(suite)),
        filled(_fixtures(suite)),
        filled(_files(suite)),
        _markers(suite),
        filled(_workers(suite)),
    ]


def _fixtures(suite: SuiteReport) -> Table:
    return Table(
        id="fixtures",
        title="Fixtures",
        columns=(
            text("fixture"),
            text("scope"),
            text("defined in"),
            text("plugin"),
            count("setups"),
            count("errors"),
            SELF,
            share("share"),
            ns("setup"),
            ns("teardown"),
            ns("median"),
            ns("max"),
        ),
        rows=tuple(
            (
                f.name,
                f.scope,
                f.defined_in,
                f.owner or ("pytest" if f.own else ""),
                f.setups,
                f.errors,
                f.self_ns,
                f.share,
                f.setup_ns,
                f.teardown_ns,
                f.median_ns,
                f.max_ns,
            )
            for f in suite.fixtures
        ),
        sort=6,
    )


def _tests(suite: SuiteReport) -> Table:
    tests = suite.tests
    names = ("call_ns", "self_ns", "cpu_ns", "setup_ns", "teardown_ns")
    memory = ("rss_bytes", "peak_bytes", "kept_bytes")
    columns = [_column(tests, name) for name in (*names, *memory)]
    rows = zip(tests.ids, _padded(tests.outcomes, len(tests.ids)), *columns, strict=True)
    return Table(
        id="tests",
        title="Tests",
        columns=(
            text("test"),
            text("outcome"),
            ns("call"),
            SELF,
            CPU,
            ns("setup"),
            ns("teardown"),
            size("memory of the process", "at its end"),
            size("peak"),
            size("kept"),
        ),
        rows=tuple(rows),
        sort=3,
    )


def _column(tests: SuiteTests, name: str) -> Sequence[Any]:
    return _padded(getattr(tests, name), len(tests.ids))


def _padded(values: Sequence[Any], length: int) -> Sequence[Any]:
    """Return a column as long as the table: nothing where it was not measured."""
    return [*values[:length], *[None] * (length - len(values))]


def _files(suite: SuiteReport) -> Table:
    return Table(
        id="files",
        title="Files",
        columns=(
            text("file"),
            count("tests"),
            ns("tests' time"),
            ns("setup"),
            ns("teardown"),
            ns("collection"),
            ns("import"),
            ns("its own top level"),
            ns("rewriting"),
        ),
        rows=tuple(
            (
                f.path,
                f.tests,
                f.tests_ns,
                f.setup_ns,
                f.teardown_ns,
                f.collection_ns,
                f.import_ns,
                f.import_self_ns,
                f.rewriting_ns,
            )
            for f in suite.files
        ),
        sort=2,
    )


def _markers(suite: SuiteReport) -> Table:
    return Table(
        id="markers",
        title="Markers",
        columns=(text("marker"), count("tests"), SELF, CPU),
        rows=tuple((m.name, m.tests, m.self_ns, m.cpu_ns) for m in suite.markers),
        sort=2,
        note="A test with several counts for each.",
    )


def _workers(suite: SuiteReport) -> Table:
    return Table(
        id="workers",
        title="Processes that run tests",
        columns=(
            text("worker"),
            count("tests"),
            ns("time"),
            ns("startup"),
            ns("idle"),
            ns("unused"),
            text("missing"),
        ),
        rows=tuple(
            (w.id, w.tests, w.wall_ns, w.startup_ns, w.idle_ns, w.unused_ns, w.missing or "")
            for w in suite.workers
        ),
        sort=2,
    )
