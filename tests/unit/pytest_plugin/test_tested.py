"""The fixture for those who write plugins of a plugin host."""

from __future__ import annotations

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
