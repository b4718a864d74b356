"""Figures for the file of --junit-xml: properties of the test suite, which CI systems show."""

from __future__ import annotations

from typing import Any

from pluginhost.suite import SuiteReport

_FIXTURES = 10


def properties(suite: SuiteReport) -> list[tuple[str, str]]:
    """Return names and values: each part in seconds, and the costliest fixtures."""
    found = [("pluginhost.wall_s", _seconds(suite.wall_ns))]
    found += [(f"pluginhost.{each.part}_s", _seconds(each.self_ns)) for each in suite.parts]
    found += [
        (f"pluginhost.fixture.{row.name}_s", _seconds(row.self_ns))
        for row in suite.fixtures[:_FIXTURES]
    ]
    return found


def add_properties(config: Any, suite: SuiteReport) -> bool:
    """Add them to pytest's own JUnit file; False if none is written."""
    from _pytest.junitxml import xml_key

    xml = config.stash.get(xml_key, None)
    if xml is None:
        return False
    for name, value in properties(suite):
        xml.add_global_property(name, value)
    xml.pytest_sessionfinish()  # it has written the file before anybody knew them
    return True


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:.6f}"
