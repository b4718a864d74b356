"""Observations that come and go in any order, while a manager is used in every way there is.

A bare manager beside it goes through the same, and nothing may differ.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Generator
from typing import Any

import pluggy
from hypothesis import given, settings, strategies as st

from pluginhost import observe
from pluginhost.observation import Observation
from tests.examples import examples

spec, impl = pluggy.HookspecMarker("t"), pluggy.HookimplMarker("t")


class Specs:
    """Hooks of each kind."""

    @spec(firstresult=True)
    def first(self, x: int) -> Any:
        """Answer, whoever can."""

    @spec
    def many(self, x: int, y: int = 0) -> Any:
        """Answer, all of you."""

    @spec(historic=True)
    def late(self, x: int) -> Any:
        """Answer, even if you come later."""


class Plugin:
    """Answers every hook, tells `log`, and calls the others from within while `x` is large."""

    def __init__(self, name: str, manager: pluggy.PluginManager, log: list[Any]) -> None:
        self.name, self.manager, self.log = name, manager, log

    @impl
    def first(self, x: int) -> Any:
        self.log.append((self.name, "first", x))
        if x > 3:
            return self.manager.hook.many(x=x - 4, y=1)
        if x == 3:
            raise LookupError(self.name)
        return None if x == 2 else (self.name, x)

    @impl(tryfirst=True)
    def many(self, x: int, y: int) -> Any:
        self.log.append((self.name, "many", x, y))
        return self.manager.hook.first(x=x - 1) if x > 4 else (self.name, x, y)

    @impl
    def late(self, x: int) -> Any:
        self.log.append((self.name, "late", x))
        return self.name, x


class Wrapper(Plugin):
    """Wraps the new way; what it does to others' failures is the same for both managers."""

    @impl(wrapper=True)
    def first(self, x: int) -> Generator[None, Any, Any]:
        self.log.append((self.name, "before", x))
        try:
            result = yield
        except LookupError as error:
            self.log.append((self.name, "after", repr(error)))
            raise KeyError(self.name) from error
        self.log.append((self.name, "after", result))
        return self.name, result

    @impl(wrapper=True)
    def many(self, x: int) -> Generator[None, Any, Any]:
        result = yield
        return [*result, self.name] if x % 2 else result

    late = None


class OldWrapper(Plugin):
    """Wraps the old way; ends the program now and then."""

    @impl(hookwrapper=True)
    def first(self, x: int) -> Generator[None, Any, None]:
        self.log.append((self.name, "before", x))
        outcome = yield
        self.log.append((self.name, "after", repr(outcome.exception)))
        if x == 5:
            raise SystemExit(self.name)

    @impl(hookwrapper=True)
    def many(self) -> Generator[None, Any, None]:
        outcome = yield
        outcome.force_result(outcome.get_result()[::-1])

    late = None


KINDS = (Plugin, Plugin, Wrapper, OldWrapper)


class World:
    """A manager, its plugins, and what they told."""

    def __init__(self, *, observed: bool) -> None:
        self.log: list[Any] = []
        self.outcomes: list[Any] = []
        self.observed = observed
        self.manager = pluggy.PluginManager("t")
        self.manager.add_hookspecs(Specs)
        self.plugins = [kind(f"p{n}", self.manager, self.log) for n, kind in enumerate(KINDS)]
        self.observations: dict[int, Observation] = {}

    def step(self, what: str, number: int) -> None:
        """Do one thing, and keep what came of it."""
        plugin, hook = self.plugins[number % len(self.plugins)], self.manager.hook
        if what in ("observe", "close"):
            if self.observed:
                self._observe(what, number)
        elif what == "come or go":
            if self.manager.is_registered(plugin):
                self.manager.unregister(plugin)
            else:
                self._keep(lambda: self.manager.register(plugin, name=plugin.name))
        elif what == "late":
            told: list[Any] = []
            self._keep(lambda: hook.late.call_historic(told.append, kwargs={"x": number}))
            self.outcomes.append(told)
        elif what == "subset":
            self._keep(lambda: self.manager.subset_hook_caller("many", [plugin])(x=number, y=2))
        elif what == "extra":
            extra = [lambda x: (x, "extra")]
            self._keep(lambda: hook.many.call_extra(extra, {"x": number, "y": 3}))
        elif what == "thread":
            thread = threading.Thread(target=self._keep, args=(lambda: hook.first(x=number),))
            thread.start()
            thread.join()
        else:
            self._keep(lambda: getattr(hook, what)(x=number, **({"y": 5} * (what == "many"))))
        self.outcomes.append(self.registered())

    def _observe(self, what: str, number: int) -> None:
        if what == "close":
            known = list(self.observations)
            if known:
                self.observations.pop(known[number % len(known)]).close()
        elif number not in self.observations and len(self.observations) < 3:
            self.observations[number] = observe(self.manager, analytics=None)

    def _keep(self, call: Callable[[], Any]) -> None:
        try:
            self.outcomes.append(call())
        except BaseException as error:
            self.outcomes.append((type(error), error.args, _seen(error.__cause__)))

    def registered(self) -> list[Any]:
        """Return all that can be seen of the implementations, with their signatures."""
        hooks = (self.manager.hook.first, self.manager.hook.many, self.manager.hook.late)
        return [
            (
                each.plugin_name,
                each.argnames,
                each.kwargnames,
                each.opts,
                each.function.__qualname__,
                inspect.signature(each.function),
            )
            for hook in hooks
            for each in hook.get_hookimpls()
        ] + [name for name, _ in self.manager.list_name_plugin()]


def _seen(error: BaseException | None) -> Any:
    return None if error is None else (type(error), error.args)


_STEPS = st.tuples(
    st.sampled_from(
        ("first", "many", "late", "subset", "extra", "thread")
        + 3 * ("observe", "close", "come or go")
    ),
    st.integers(0, 9),
)


@settings(max_examples=examples(150), deadline=None)
@given(steps=st.lists(_STEPS, min_size=5, max_size=25))
def test_observations_in_any_order_change_nothing(steps: list[tuple[str, int]]) -> None:
    """Results, exceptions, order, names, signatures, implementations: as in a manager without us.

    And when the last observation is closed, the manager has what it had at first, and no more.
    """
    bare, ours = World(observed=False), World(observed=True)
    before = vars(ours.manager).copy()
    for world in (bare, ours):
        for what, number in (*[("come or go", n) for n in range(4)], *steps):
            world.step(what, number)
    assert ours.outcomes == bare.outcomes
    assert ours.log == bare.log
    for observation in ours.observations.values():
        observation.close()
    after = vars(ours.manager)
    assert after["_inner_hookexec"] == before["_inner_hookexec"]
    assert after.keys() == before.keys()
    assert ours.registered() == bare.registered()
