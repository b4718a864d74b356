"""Plugins under test, in a real host that is observed: what they did in counts, what they cost in ratios."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from time import thread_time_ns
from types import ModuleType
from typing import Any, NamedTuple

from pluginhost.errors import DuplicatePluginError, PluginNotFoundError
from pluginhost.host.host import PluginHost
from pluginhost.observation import Observation, observe

_LEAST_NS = 2_000_000
"""How long a batch takes at least: the CPU clock must be able to tell."""


class Counts(NamedTuple):
    """How often a plugin was executed, how often that failed, and how often each hook was called."""

    executions: int
    failures: int
    hook_calls: dict[str, int]


class TestedHost:
    """A host with the plugins under test loaded, observed from before they were."""

    __test__ = False

    def __init__(self, host: PluginHost, observation: Observation) -> None:
        self.host = host
        self.observation = observation

    def execute(self, plugin_id: str, payload: Any = None) -> Any:
        """Execute a plugin, as its host does."""
        return self.host.execute(plugin_id, payload)

    def counts(self, plugin_id: str) -> Counts:
        """Return what was counted of a plugin until now: exact, on any machine.

        `PluginNotFoundError` is raised for one that was never there.
        """
        profiler = self.observation.profiler
        assert profiler is not None
        report = profiler.report()
        mine = [row for row in report.plugins if row.plugin_id == plugin_id]
        if not mine and plugin_id not in self.host.plugins:
            raise PluginNotFoundError(
                "there is no such plugin under test",
                plugin_id=plugin_id,
                remedy=f"there are {', '.join(map(repr, sorted(self.host.plugins))) or 'none'}",
            )
        hooks = {
            row.hook: row.call_count
            for row in report.hooks
            if row.plugin_id == plugin_id and row.hook not in ("load", "unload")
        }
        return Counts(
            sum(row.execution_count for row in mine),
            sum(row.failure_count + row.timeout_count for row in mine),
            hooks,
        )


class TestedHosts:
    """Makes hosts: `plugin_host(Plugin, ...)`; they are closed when the test is over."""

    __test__ = False

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def __call__(self, *plugins: Any, **options: Any) -> TestedHost:
        """Return a host with `plugins` loaded: classes, or sources as `PluginHost` takes them.

        `options` are those of `PluginHost`. A plugin that does not load raises, with the reason, and
        so does a second one with the id of another.
        """
        sources = [self._source(plugin) for plugin in plugins]
        host = self._stack.enter_context(PluginHost("test", sources=sources, **options))
        observation = self._stack.enter_context(observe(host))
        host.discover()
        for info in host.rejected:
            raise DuplicatePluginError(
                info.error or "it is there twice", plugin_id=info.id, remedy=info.remedy
            )
        for plugin_id in list(host.plugins):
            host.load(plugin_id)
        return TestedHost(host, observation)

    @staticmethod
    def cost_ratio(
        function: Callable[[], Any], reference: Callable[[], Any], *, rounds: int = 15
    ) -> float:
        """Return how many times the CPU time of `reference` a call of `function` takes.

        The median of pairs, in turn, each long enough to be measured: that is the same on a slow
        machine and on a fast one, which no number of milliseconds is.
        """
        calls = _enough(function), _enough(reference)
        ratios = []
        for number in range(rounds):
            pair = [(function, calls[0]), (reference, calls[1])]
            taken = [_each_ns(*each) for each in (pair[::-1] if number % 2 else pair)]
            first, second = taken[::-1] if number % 2 else taken
            ratios.append(first / max(second, 1e-3))
        return median(ratios)

    def _source(self, plugin: Any) -> Any:
        if not isinstance(plugin, type):
            return plugin
        module = ModuleType(f"plugin_under_test_{id(plugin):x}")
        setattr(module, plugin.__name__, plugin)
        sys.modules[module.__name__] = module
        self._stack.callback(sys.modules.pop, module.__name__, None)
        return f"module:{module.__name__}:{plugin.__name__}"


@contextmanager
def hosts_under_test() -> Iterator[TestedHosts]:
    """Yield what makes hosts, and close them all."""
    with ExitStack() as stack:
        yield TestedHosts(stack)


def _enough(function: Callable[[], Any]) -> int:
    """Return how many calls take long enough to be measured."""
    calls = 1
    while True:
        started = thread_time_ns()
        for _ in range(calls):
            function()
        if thread_time_ns() - started >= _LEAST_NS or calls >= 1_000_000:
            return calls
        calls *= 4


def _each_ns(function: Callable[[], Any], calls: int) -> float:
    started = thread_time_ns()
    for _ in range(calls):
        function()
    return (thread_time_ns() - started) / calls
