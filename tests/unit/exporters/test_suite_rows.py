"""What of a test suite gets into rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from hypothesis import given

from pluginhost.exporters import export
from pluginhost.exporters.csv import guarded
from pluginhost.exporters.suite_rows import suite_rows
from pluginhost.exporters.view import tidied
from pluginhost.report import Report
from pluginhost.suite import FileCost, FixtureCost, SuiteReport, SuiteTests
from tests.unit.exporters.hostile_reports import NAMES


def suite(name: str = "test_a") -> SuiteReport:
    return SuiteReport(
        pytest="9",
        wall_ns=100,
        elapsed_ns=100,
        cpu_ns=0,
        parts=(),
        tests=SuiteTests(
            ids=(f"t.py::{name}", "t.py::b", "t.py::c"),
            outcomes=("passed", "failed", "skipped"),
            files=(0, 0, 0),
            setup_ns=(1, 1, 1),
            call_ns=(10, 20, 0),
            self_ns=(9, 19, 0),
            teardown_ns=(2, 2, 2),
        ),
        files=(FileCost(path="t.py", tests=3, tests_ns=30, import_ns=7, import_self_ns=5),),
        fixtures=(
            FixtureCost(name=name, scope="function", defined_in="t.py", setups=3, errors=1),
            FixtureCost(name="db", scope="session", defined_in="p.py", owner="pytest-db"),
        ),
    )


def test_fixtures_files_and_tests_have_rows() -> None:
    """Each with its calls and errors; a test that was skipped is no error."""
    rows = [(row.kind, row.plugin, row.calls, row.errors) for row in suite_rows(suite())]
    assert rows == [
        ("fixture", "t.py", 3, 1),
        ("fixture", "pytest-db", 0, 0),
        ("file", "t.py", 0, 0),
        ("test", "t.py", 1, 0),
        ("test", "t.py", 1, 1),
        ("test", "t.py", 1, 0),
    ]


def test_a_test_takes_all_its_phases() -> None:
    """The time of a test is that of set-up, call and teardown; its own is without fixtures."""
    row = [row for row in suite_rows(suite()) if row.kind == "test"][1]
    assert (row.total_ns, row.self_ns, row.cpu_ns) == (23, 19, None)


@given(NAMES)
def test_csv_has_them_whatever_they_are_called(report_of: Callable[..., Report], name: str) -> None:
    """What is read back is the name, guarded."""
    text = str(export("csv", report_of({}, suite=suite(name))))
    cells = [row[1] for row in csv.reader(io.StringIO(text, newline="")) if row[2] == "fixture"]
    assert cells == [guarded(tidied(name)), "db"]
