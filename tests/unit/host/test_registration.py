"""Plugins go into pluggy whole or not at all, whichever pluggy it is."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pluggy
import pytest

from pluginhost.errors import PluginLoadError
from pluginhost.hookspecs import PROJECT_NAME, PluginSpec, Task, hookimpl, hookspec
from pluginhost.host.registration import (
    call_with_host,
    implementation,
    is_async,
    one_plugin_caller,
    register,
    unregister,
)


class AppSpec:
    @hookspec
    def menu(self, items):
        """A hook of a host application."""


class Good:
    @hookimpl
    def setup(self, host):
        host.append("setup")

    @hookimpl
    def execute(self, payload):
        return payload

    @hookimpl
    def menu(self):
        return "good"


@pytest.fixture
def manager():
    """Return a manager with the plugins' specification and an application's."""
    manager = pluggy.PluginManager(PROJECT_NAME)
    manager.add_hookspecs(PluginSpec)
    manager.add_hookspecs(AppSpec)
    return manager


def implementations(manager):
    """Return the plugin names behind every hook that has implementations."""
    return {
        name: [impl.plugin_name for impl in caller.get_hookimpls()]
        for name, caller in vars(manager.hook).items()
        if caller.get_hookimpls()
    }


def refused(manager, plugin):
    """Register a plugin that must be refused, see that nothing remains, and return the error."""
    before = manager.list_name_plugin(), implementations(manager)
    with pytest.raises(PluginLoadError) as caught:
        register(manager, plugin, "bad")
    assert (manager.list_name_plugin(), implementations(manager)) == before
    register(manager, Good(), "bad")  # the id is still free
    assert caught.value.plugin_id == "bad"
    assert caught.value.remedy
    return caught.value


def test_a_plugin_is_registered_under_its_id(manager):
    """All its implementations are there, by the plugin's id."""
    register(manager, Good(), "a")
    assert implementations(manager) == {"setup": ["a"], "execute": ["a"], "menu": ["a"]}


def test_a_plugin_is_unregistered_whole(manager):
    """Nothing of it stays, and doing it twice does nothing."""
    register(manager, Good(), "a")
    unregister(manager, "a")
    unregister(manager, "a")
    assert manager.list_name_plugin() == []
    assert implementations(manager) == {}


class WrongArgument:
    @hookimpl
    def menu(self):
        return "registered before the hook that does not fit"

    @hookimpl
    def setup(self, host, colour):
        """Ask for what the specification does not have."""


class OldStyleArgument:
    @hookimpl
    def execute(self, context):
        """Ask for what the specification does not have."""


@pytest.mark.parametrize("kind", [WrongArgument, OldStyleArgument])
def test_a_signature_that_does_not_fit(manager, kind):
    """Not even the plugin's good hooks are registered (older pluggy would leave them)."""
    error = refused(manager, kind())
    assert "does not fit its specification" in error.message


class Typo:
    @hookimpl
    def exceute(self, payload):
        """Look like `execute`."""


class AppTypo:
    @hookimpl
    def mneu(self):
        """Look like the application's `menu`."""


class Unheard:
    @hookimpl
    def zzzzzz(self):
        """Look like nothing."""


@pytest.mark.parametrize(
    ("kind", "hook", "hint"),
    [
        pytest.param(Typo, "exceute", "did you mean 'execute'?", id="ours"),
        pytest.param(AppTypo, "mneu", "did you mean 'menu'?", id="the-application's"),
        pytest.param(Unheard, "zzzzzz", "known are execute, menu, setup, teardown.", id="neither"),
    ],
)
def test_a_hook_that_does_not_exist(manager, kind, hook, hint):
    """The error names it and suggests what it may have been."""
    error = refused(manager, kind())
    assert error.hook == hook
    assert hint in error.remedy


class Hopeful:
    @hookimpl(optionalhook=True)
    def of_another_host(self):
        """Serve a host that has such a hook."""


def test_an_optional_hook_need_not_exist(manager):
    """A plugin may say that a hook is for hosts that have it."""
    register(manager, Hopeful(), "a")
    assert implementations(manager) == {"of_another_host": ["a"]}


@pytest.mark.parametrize(
    "plugin",
    [
        pytest.param(SimpleNamespace(execute=print), id="nothing-marked"),
        pytest.param(object(), id="plain-object"),
        pytest.param("text", id="text"),
        pytest.param(42, id="number"),
    ],
)
def test_a_plugin_without_hooks(manager, plugin):
    """It is refused, and told about the decorator."""
    error = refused(manager, plugin)
    assert "implements no hook" in error.message
    assert "@pluginhost.hookimpl" in error.remedy


def test_none_is_not_a_plugin(manager):
    """An entry that names None is refused; older pluggy would block the id for good."""
    assert "None" in refused(manager, None).message


class EqualToAll(Good):
    __hash__ = None

    def __eq__(self, other):
        return True


class Incomparable(Good):
    __hash__ = None

    def __eq__(self, other):
        raise ValueError("the truth of this is ambiguous")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        pytest.param(EqualToAll, "equal to anything", id="equal-to-all"),
        pytest.param(Incomparable, "the truth of this is ambiguous", id="raises"),
    ],
)
def test_a_plugin_that_cannot_be_told_apart(manager, kind, reason):
    """pluggy compares plugins with `==`: one that lies would take others down with it."""
    register(manager, Good(), "other")
    assert reason in refused(manager, kind()).message


def test_two_ids_for_one_object(manager):
    """The second is refused by the name of the first, without a dump of everything."""
    plugin = Good()
    register(manager, plugin, "first")
    assert "plugin 'first'" in refused(manager, plugin).message


def test_two_equal_dataclasses(manager):
    """Equality that a dataclass brings counts as being the same object."""

    @dataclass
    class Settings(Good):
        size: int = 1

    register(manager, Settings(), "first")
    assert "dataclass" in refused(manager, Settings()).remedy


def test_an_id_that_is_taken_by_hand(manager):
    """What the application registered under the id stays as it is."""
    own = Good()
    manager.register(own, "a")
    with pytest.raises(PluginLoadError, match="another object is registered"):
        register(manager, Good(), "a")
    assert manager.get_plugin("a") is own


class Wrapping:
    @hookimpl(wrapper=True)
    def execute(self):
        return (yield)


class OldWrapping:
    @hookimpl(hookwrapper=True)
    def execute(self):
        yield


class Twice:
    @hookimpl
    def execute(self, payload):
        return payload

    @hookimpl(specname="execute")
    def run(self, payload):
        return payload


class AsyncSetup:
    @hookimpl
    async def setup(self):
        """Never be awaited."""


class AsyncTeardown:
    @hookimpl
    async def teardown(self):
        """Never be awaited."""


@pytest.mark.parametrize(
    ("kind", "hook", "reason"),
    [
        pytest.param(Wrapping, "execute", "wrapper", id="wrapper"),
        pytest.param(OldWrapping, "execute", "wrapper", id="old-style-wrapper"),
        pytest.param(Twice, "execute", "2 times", id="twice"),
        pytest.param(AsyncSetup, "setup", "asynchronous", id="async-setup"),
        pytest.param(AsyncTeardown, "teardown", "asynchronous", id="async-teardown"),
    ],
)
def test_implementations_that_cannot_be_called_alone(manager, kind, hook, reason):
    """They are refused with plugin, hook, reason and remedy."""
    plugin = kind()
    register(manager, plugin, "a")
    with pytest.raises(PluginLoadError, match=reason) as caught:
        implementation(manager, plugin, hook, "a")
    assert (caught.value.plugin_id, caught.value.hook) == ("a", hook)
    assert caught.value.remedy


def test_the_implementation_is_the_plugins_own(manager):
    """Among many plugins with the hook, each gets its own; one without gets None."""
    plugins = {f"p{i}": Good() for i in range(5)}
    for name, plugin in plugins.items():
        register(manager, plugin, name)
    for name, plugin in plugins.items():
        assert implementation(manager, plugin, "execute", name).plugin is plugin
        assert implementation(manager, plugin, "teardown", name) is None


@pytest.mark.parametrize(
    ("names", "given"),
    [
        pytest.param((), (), id="nothing"),
        pytest.param(("payload",), ("P",), id="payload"),
        pytest.param(("host",), ("H",), id="another"),
        pytest.param(("options", "payload"), ("O", "P"), id="two-in-any-order"),
        pytest.param(("payload", "options", "host"), ("P", "O", "H"), id="all"),
    ],
)
def test_an_implementation_gets_what_it_asks_for(manager, names, given):
    """By name, in its own order, and nothing else."""
    namespace = {"hookimpl": hookimpl}
    arguments = ", ".join(names)
    exec(f"@hookimpl\ndef execute({arguments}): return ({arguments}{',' * bool(names)})", namespace)
    plugin = SimpleNamespace(execute=namespace["execute"])
    register(manager, plugin, "a")
    call = one_plugin_caller(implementation(manager, plugin, "execute", "a"))
    task = Task(run=None, payload="P", options="O", host="H", deadline=None)
    assert call(task) == given


def test_setup_may_leave_the_host_out(manager):
    """`setup()` and `setup(host)` are both called; no setup is no call."""
    calls = []

    @hookimpl
    def setup():
        calls.append("without")

    for name, plugin in (("with", Good()), ("without", SimpleNamespace(setup=setup))):
        register(manager, plugin, name)
        call_with_host(implementation(manager, plugin, "setup", name), calls)
    call_with_host(None, calls)
    assert calls == ["setup", "without"]


def test_what_is_asynchronous():
    """A coroutine function is, also behind a decorator that keeps track of what it wraps."""
    import functools

    async def execute(payload):
        return payload

    @functools.wraps(execute)
    def decorated(*args):
        return execute(*args)

    def plain(payload):
        return payload

    kinds = [is_async(SimpleNamespace(function=f)) for f in (execute, decorated, plain)]
    assert kinds == [True, True, False]
