"""pytest's own hooks: which part of a suite they belong to, and which need no timing of their own."""

from __future__ import annotations

OWN = "_pytest."
"""Begins the names of the modules that pytest is made of."""

REPORTING_MODULES = (
    "_pytest.terminal",
    "_pytest.terminalprogress",
    "_pytest.junitxml",
    "_pytest.pastebin",
    "_pytest.reports",
)
REPORTING = frozenset(
    {
        "pytest_runtest_makereport", "pytest_runtest_logstart", "pytest_runtest_logreport",
        "pytest_runtest_logfinish", "pytest_collectreport", "pytest_report_teststatus",
        "pytest_report_header", "pytest_report_collectionfinish", "pytest_terminal_summary",
        "pytest_report_to_serializable", "pytest_report_from_serializable",
        "pytest_warning_recorded", "pytest_exception_interact",
    }
)  # fmt: skip
COLLECTION = frozenset(
    {
        "pytest_collection", "pytest_collect_file", "pytest_collect_directory",
        "pytest_pycollect_makemodule", "pytest_pycollect_makeitem", "pytest_generate_tests",
        "pytest_make_parametrize_id", "pytest_make_collect_report", "pytest_collectstart",
        "pytest_itemcollected", "pytest_ignore_collect", "pytest_collection_modifyitems",
        "pytest_collection_finish", "pytest_deselected", "perform_collect",
    }
)  # fmt: skip

_FOR_EACH_TEST = frozenset(
    {
        "pytest_runtest_protocol", "pytest_runtest_setup", "pytest_runtest_call",
        "pytest_runtest_teardown", "pytest_runtest_makereport", "pytest_runtest_logreport",
        "pytest_runtest_logstart", "pytest_runtest_logfinish", "pytest_pyfunc_call",
        "pytest_fixture_setup", "pytest_fixture_post_finalizer", "pytest_report_teststatus",
        "pytest_pycollect_makeitem", "pytest_itemcollected", "pytest_generate_tests",
        "pytest_make_parametrize_id", "pytest_plugin_registered", "pytest_assertrepr_compare",
    }
)  # fmt: skip
SPARED = frozenset(
    {"pytest_runtest_makereport", "pytest_runtest_logreport", "pytest_runtest_logstart"}
)
"""Hooks of which not every call of what is pytest's own is timed: seven for each test."""

_CONTAIN_REPORTING = (*REPORTING_MODULES, "_pytest.runner")


def needs_no_timing(module: str, hook: str, *, wraps: bool) -> bool:
    """Whether an implementation is pytest's own, runs for each test, and is in its caller's part.

    An empty test calls some eighty of them. To leave them to their callers costs a tenth of what it
    costs to time each, and says the same: it is pytest itself.
    """
    if hook not in _FOR_EACH_TEST or not module.startswith(OWN):
        return False
    if hook in REPORTING and hook != "pytest_report_teststatus":
        return wraps or not module.startswith(_CONTAIN_REPORTING)
    return True
