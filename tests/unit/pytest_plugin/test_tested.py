"""The fixture for those who write plugins of a plugin host."""

from __future__ import annotations

import pytest

from pluginhost import hookimpl
from pluginhost.errors import DuplicatePluginError, PluginLoadError, PluginNotFoundError
from pluginhost.pytest_plugin.tested import hosts_under_test

PLUGIN_TEST = """
    import pytest
    from pluginhost import hookimpl

    class Sum:
        @hookimpl
        def execute(self, payload): return sum(payload)

    class Broken:
        @hookimpl
        def execute(self, payload, host):
            host.execute("Sum", [1])
            raise ValueError("no")

    def test_counts(plugin_host):
        tested = plugin_host(Sum, Broken)
        assert tested.execute("Sum", [1, 2]) == 3
        with pytest.raises(ValueError, match="no"):
            tested.execute("Broken")
        assert tested.counts("Sum").executions == 2
        assert tested.counts("Broken")[:2] == (1, 1)

    def test_local_plugins_and_reasons(plugin_host):
        class Local:
            def __init__(self): raise RuntimeError("not today")
            @hookimpl
            def execute(self, payload): return payload
        with pytest.raises(Exception, match="not today"):
            plugin_host(Local)
"""


def test_the_fixture_is_there_and_counts(profiled) -> None:
    """Without a profile; hosts are real, plugins are classes, failures are counted."""
    found = profiled({"test_plugin.py": PLUGIN_TEST}, profile=False)
    assert "2 passed" in found.out


def test_ratios_are_those_of_the_work() -> None:
    """Ten times the work is about ten times the cost, whatever the machine does."""
    with hosts_under_test() as hosts:
        ratio = hosts.cost_ratio(lambda: sum(range(20_000)), lambda: sum(range(2_000)))
    assert 4 < ratio < 25


class Split:
    @hookimpl
    def execute(self, payload):
        return payload.split()


def test_the_counts_of_a_plugin_that_is_not_there_are_an_error() -> None:
    """A slip in its name does not pass for a plugin without failures."""
    with hosts_under_test() as hosts:
        tested = hosts(Split)
        assert tested.counts("Split").executions == 0
        with pytest.raises(PluginNotFoundError, match="there are 'Split'"):
            tested.counts("Splt")


def test_a_plugin_given_twice_is_an_error() -> None:
    """One of them would be left out without a word."""
    with hosts_under_test() as hosts, pytest.raises(DuplicatePluginError, match="plugin 'Split'"):
        hosts(Split, Split)


def test_reasons_of_several_lines_are_readable() -> None:
    """No line end stands there as an escape, and none gets through to a terminal."""

    class Broken:
        def __init__(self) -> None:
            raise RuntimeError("first\n  second\x1b[31m\n")

    with hosts_under_test() as hosts, pytest.raises(PluginLoadError) as caught:
        hosts(Broken)
    assert "RuntimeError: first; second\\x1b[31m" in str(caught.value)
    assert str(caught.value).isprintable()
    assert "\\n" not in str(caught.value)
