"""Plugins through their states: found, loaded, failed, skipped, unloaded, found again."""

from __future__ import annotations

import random
import sys
from difflib import SequenceMatcher

import pytest

from pluginhost import PluginHost, PluginState, hookimpl
from pluginhost.errors import (
    DependencyError,
    DuplicatePluginError,
    IncompatiblePluginError,
    InvalidValueError,
    ManifestError,
    PluginHostError,
    PluginLoadError,
    PluginNotFoundError,
    PluginSkippedError,
    PluginStateError,
)
from pluginhost.host.sources import PluginSource

ECHO = "from pluginhost import hookimpl\n@hookimpl\ndef execute(payload): return payload\n"
FAILING = "from pluginhost import hookimpl\n1 / 0\n"


def diary(plugin_id):
    """Return a plugin that notes its setup and teardown in a list kept on the host."""
    return (
        "from pluginhost import hookimpl\n"
        f"@hookimpl\ndef setup(host): host.diary.append('+{plugin_id}')\n"
        f"@hookimpl\ndef teardown(host): host.diary.append('-{plugin_id}')\n"
    )


def states(host):
    """Return the state of every plugin by id."""
    return {plugin_id: str(info.state) for plugin_id, info in host.plugins.items()}


def registered(host):
    """Return all that pluggy knows: names, and the names behind every implementation."""
    names = {name for name, _ in host.manager.list_name_plugin()}
    return names | {
        impl.plugin_name for c in vars(host.manager.hook).values() for impl in c.get_hookimpls()
    }


def test_a_life(plugin_folder, make_host):
    """Discovered, loaded, unloaded; each step returns the info that `plugins` has."""
    host = make_host(plugin_folder({"a.py": ECHO}))
    assert dict(host.plugins) == {}
    steps = [host.discover()[0], host.load("a"), host.unload("a"), host.load("a")]
    assert [str(info.state) for info in steps] == ["discovered", "loaded", "unloaded", "loaded"]
    assert host.plugins["a"] == steps[-1]


def test_loading_discovers_when_need_be(plugin_folder, make_host):
    """`load` of what is not known yet looks for it first."""
    host = make_host(plugin_folder({"a.py": ECHO}))
    assert host.load("a").state is PluginState.LOADED


def test_loading_twice_does_nothing(plugin_folder, make_host):
    """A loaded plugin stays as it is."""
    host = make_host(plugin_folder({"a.py": diary("a")}))
    host.diary = []
    host.load("a")
    host.load("a")
    host.load_all()
    assert host.diary == ["+a"]


def test_only_what_is_loaded_is_unloaded(plugin_folder, make_host):
    """Anything else is an error that names the state."""
    host = make_host(plugin_folder({"a.py": ECHO}))
    host.discover()
    with pytest.raises(PluginStateError, match="it is discovered"):
        host.unload("a")


def test_the_view_of_plugins_is_read_only(plugin_folder, make_host):
    """It is a snapshot: it neither changes nor can be changed."""
    host = make_host(plugin_folder({"a.py": ECHO}))
    host.discover()
    before = host.plugins
    host.load("a")
    assert before["a"].state is PluginState.DISCOVERED
    with pytest.raises(TypeError):
        before["a"] = None


def test_loading_takes_the_peers_along(plugin_folder, make_host):
    """What is required, directly or not, is loaded first; what is not is left alone."""
    host = make_host(
        plugin_folder(
            {
                **{f"{name}.py": diary(name) for name in "abcd"},
                "pluginhost.toml": "[plugins.a]\nrequires = ['b']\n[plugins.b]\nrequires = ['c']\n",
            }
        )
    )
    host.diary = []
    host.load("a")
    assert host.diary == ["+c", "+b", "+a"]
    assert states(host)["d"] == "discovered"


def test_all_are_loaded_in_order_and_closed_in_reverse(plugin_folder, make_host):
    """The order follows `requires` and `after`; closing turns it around."""
    host = make_host(
        plugin_folder(
            {
                **{f"{name}.py": diary(name) for name in "abc"},
                "pluginhost.toml": "[plugins.a]\nafter = ['c']\n[plugins.c]\nrequires = ['b']\n",
            }
        )
    )
    host.diary = []
    host.load_all()
    host.close()
    assert host.diary == ["+b", "+c", "+a", "-a", "-c", "-b"]


def test_leaving_the_host_closes_it(plugin_folder):
    """As a context manager it unloads everything in the end."""
    with PluginHost("test", sources=[str(plugin_folder({"a.py": diary("a")}))]) as host:
        host.diary = []
        host.load_all()
    assert host.diary == ["+a", "-a"]
    assert states(host) == {"a": "unloaded"}


def test_a_peer_in_use_is_not_unloaded(plugin_folder, make_host):
    """Its users are named; once they are gone it goes."""
    host = make_host(
        plugin_folder(
            {
                **{f"{name}.py": ECHO for name in ("peer", "x", "y", "z")},
                "pluginhost.toml": "".join(
                    f"[plugins.{name}]\nrequires = ['peer']\n" for name in "xyz"
                ),
            }
        )
    )
    host.load_all()
    host.unload("z")
    with pytest.raises(PluginStateError, match="plugins x, y require it") as caught:
        host.unload("peer")
    assert caught.value.plugin_id == "peer"
    assert host.plugins["peer"].state is PluginState.LOADED
    host.unload("x")
    host.unload("y")
    assert host.unload("peer").state is PluginState.UNLOADED


REASONS = [
    pytest.param({"a.py": "1 +"}, PluginLoadError, "SyntaxError", id="syntax"),
    pytest.param({"a.py": "import nowhere"}, PluginLoadError, "'nowhere'", id="import"),
    pytest.param(
        {"a.py": ECHO, "pluginhost.toml": "[plugins.a]\napi = '>=9'"},
        IncompatiblePluginError,
        "host API >=9",
        id="api",
    ),
    pytest.param(
        {"a.py": ECHO, "pluginhost.toml": "[plugins.a]\nrequires = ['b']"},
        DependencyError,
        "'b'",
        id="missing-peer",
    ),
    pytest.param(
        {"a.py": ECHO, "b.py": FAILING, "pluginhost.toml": "[plugins.a]\nrequires = ['b']"},
        PluginSkippedError,
        "which is failed",
        id="failed-peer",
    ),
    pytest.param(
        {"a.py": ECHO, "pluginhost.toml": "[plugins.a]\nrequires = ['a']"},
        DependencyError,
        "a -> a",
        id="cycle",
    ),
    pytest.param(
        {"a.py": ECHO, "pluginhost.toml": "[plugins.a]\nrequires = ['b c']"},
        DependencyError,
        "'b c'",
        id="malformed-requirement",
    ),
    pytest.param(
        {"a.py": ECHO, "b.py": ECHO,
         "pluginhost.toml": "[plugins.a]\nrequires = ['b']\n[plugins.b]\nrequires = ['?']"},
        PluginSkippedError,
        "which is failed",
        id="peer-with-malformed-requirement",
    ),
    pytest.param(
        {"a.py": ECHO, "pluginhost.toml": "[plugins.a]\nx = 1"},
        ManifestError,
        "unknown field `x`",
        id="manifest",
    ),
    pytest.param(
        {"pluginhost.toml": "[plugins.a]\nentry = 'b'"}, ManifestError, "'b'", id="no-such-file"
    ),
    pytest.param(
        {"a.py": ECHO, "pluginhost.toml": "[plugins.a]\nentry = 'a:Plugin'"},
        PluginLoadError,
        "has no 'Plugin'",
        id="no-such-attribute",
    ),
    pytest.param({"a.py": ""}, PluginLoadError, "no hook", id="no-hooks"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "kind", "reason"), REASONS)
def test_why_it_was_not_loaded(plugin_folder, make_host, files, kind, reason):
    """`load` raises it, `plugins` keeps it, `execute` repeats it, each with what to do."""
    host = make_host(plugin_folder(files))
    with pytest.raises(PluginLoadError) as caught:
        host.load("a")
    error, info = caught.value, host.plugins["a"]
    assert type(error) is kind
    assert error.plugin_id == "a"
    assert reason in error.message
    assert info.state == ("skipped" if kind is PluginSkippedError else "failed")
    assert (info.error, info.remedy) == (
        error.message if error.hook is None else f"{error.hook}: {error.message}",
        error.remedy,
    )
    with pytest.raises(PluginStateError) as refused:
        host.execute("a")
    assert reason in refused.value.message
    assert refused.value.remedy == error.remedy
    assert registered(host) <= {"b"}


def test_a_failed_plugin_can_be_mended(plugin_folder, make_host):
    """The next `load` runs what is on disk then, and forgets the reason."""
    folder = plugin_folder({"a.py": FAILING})
    host = make_host(folder)
    with pytest.raises(PluginLoadError):
        host.load("a")
    plugin_folder({"a.py": ECHO})
    info = host.load("a")
    assert (info.state, info.error, info.remedy) == (PluginState.LOADED, None, None)


@pytest.mark.parametrize("load", ["load", "load_all"])
def test_a_failed_manifest_can_be_mended(plugin_folder, make_host, load):
    """What failed before it could be imported is looked at again as well."""
    host = make_host(plugin_folder({"a.py": ECHO, "pluginhost.toml": "[plugins.a]\nx = 1"}))
    host.load_all()
    assert host.plugins["a"].state is PluginState.FAILED
    plugin_folder({"pluginhost.toml": "[plugins.a]\nversion = '1'"})
    host.load("a") if load == "load" else host.load_all()
    assert host.plugins["a"].state is PluginState.LOADED
    assert host.plugins["a"].version == "1"


def test_discovering_again_keeps_what_is_known(plugin_folder, make_host):
    """States and reasons survive as long as the plugin is described as before."""
    folder = plugin_folder(
        {
            "bad.py": FAILING,
            "good.py": ECHO,
            "gone.py": ECHO,
            "user.py": ECHO,
            "pluginhost.toml": "[plugins.user]\nrequires = ['bad']",
        }
    )
    host = make_host(folder)
    host.load_all()
    host.unload("gone")
    before = dict(host.plugins)
    assert {info.state for info in before.values()} == {"failed", "loaded", "unloaded", "skipped"}
    host.discover()
    assert dict(host.plugins) == before


def test_discovering_again_takes_a_new_description(plugin_folder, make_host):
    """A plugin that is not loaded starts over when its manifest has changed; a loaded one stays."""
    folder = plugin_folder({"bad.py": FAILING, "good.py": ECHO})
    host = make_host(folder)
    host.load_all()
    plugin_folder({"pluginhost.toml": "[plugins.bad]\nversion='2'\n[plugins.good]\nversion='2'\n"})
    host.discover()
    assert (host.plugins["bad"].state, host.plugins["bad"].version) == ("discovered", "2")
    assert (host.plugins["good"].state, host.plugins["good"].version) == ("loaded", None)


def test_what_is_gone_is_no_longer_listed(plugin_folder, make_host):
    """A file that was removed is forgotten, unless its plugin is loaded or was unloaded."""
    folder = plugin_folder({f"{name}.py": ECHO for name in ("found", "loaded", "unloaded")})
    host = make_host(folder)
    host.discover()
    host.load("loaded")
    host.load("unloaded")
    host.unload("unloaded")
    for path in folder.glob("*.py"):
        path.unlink()
    assert {info.id for info in host.discover()} == {"loaded", "unloaded"}
    assert host.execute("loaded", 1) == 1


@pytest.mark.parametrize(
    ("asked", "suggestion"),
    [
        pytest.param("resise", "did you mean 'resize'?", id="one-letter"),
        pytest.param("checksums", "did you mean 'checksum'?", id="plural"),
        pytest.param(
            "zzzzzzzz", "discover(), or 'pluginhost list', shows what there is", id="nothing-near"
        ),
        pytest.param(
            "checksum" * 10_000,
            "discover(), or 'pluginhost list', shows what there is",
            id="endless",
        ),
    ],
)
@pytest.mark.parametrize("call", ["load", "unload", "reload", "execute"])
def test_an_unknown_plugin(plugin_folder, make_host, call, asked, suggestion):
    """Near names are suggested, whatever was asked of it."""
    host = make_host(plugin_folder({"resize.py": ECHO, "checksum.py": ECHO}), name="my app")
    host.discover()
    with pytest.raises(PluginNotFoundError, match="in 'my app'") as caught:
        getattr(host, call)(asked)
    assert isinstance(caught.value, LookupError)
    assert caught.value.plugin_id == asked
    assert caught.value.remedy == suggestion


def test_the_nearest_names_come_first(plugin_folder, make_host):
    """At most three are suggested, in the order of their likeness."""
    names = [f"plugin{i}" for i in range(9)]
    host = make_host(plugin_folder({f"{name}.py": ECHO for name in names}))
    with pytest.raises(PluginNotFoundError) as caught:
        host.load("plugin7x")
    nearest = max(names, key=lambda name: SequenceMatcher(None, "plugin7x", name).ratio())
    assert caught.value.remedy.startswith(f"did you mean '{nearest}' or ")
    assert caught.value.remedy.count("'") == 6


def test_two_claims_to_one_id(plugin_folder, make_host):
    """The first source has it; the other is in `rejected`, with where the first was found."""
    first = plugin_folder({"a.py": ECHO}, name="first")
    second = plugin_folder({"a.py": FAILING, "b.py": ECHO}, name="second")
    host = make_host(first, second)
    host.load_all()
    assert states(host) == {"a": "loaded", "b": "loaded"}
    assert host.plugins["a"].location == str(first / "a.py")
    (loser,) = host.rejected
    assert (loser.id, loser.state, loser.location) == ("a", "failed", str(second / "a.py"))
    assert str(first / "a.py") in loser.error
    assert "rename" in loser.remedy
    assert loser in host.discover()


def test_the_winner_of_a_clash_can_be_exchanged(plugin_folder, make_host):
    """A loaded plugin stays loaded when another claims its id first; later the other is taken."""
    first = plugin_folder({}, name="first")
    second = plugin_folder({"a.py": ECHO}, name="second")
    host = make_host(first, second)
    host.load("a")
    plugin_folder({"a.py": ECHO}, name="first")
    host.discover()
    assert host.plugins["a"].location == str(second / "a.py")
    assert str(first / "a.py") in host.rejected[0].error
    host.reload("a")
    assert host.plugins["a"].location == str(first / "a.py")


def test_what_is_broken_says_why_even_when_it_comes_late(plugin_folder, make_host):
    """A failed candidate whose id is taken keeps its own reason."""
    first = plugin_folder({"a.py": ECHO}, name="first")
    second = plugin_folder({"a.py": ECHO, "pluginhost.toml": "[plugins.a]\nx=1"}, name="second")
    host = make_host(first, second)
    host.discover()
    assert "unknown field" in host.rejected[0].error


class Shuffled:
    """A source that gives another's candidates in any order."""

    def __init__(self, source: PluginSource, seed: int) -> None:
        self._source, self._seed = source, seed

    def discover(self):
        candidates = list(self._source.discover())
        random.Random(self._seed).shuffle(candidates)
        return iter(candidates)


def test_the_order_of_discovery_decides_nothing(plugin_folder, make_host):
    """Clash, cycle and missing peer end the same however a source lists its plugins."""
    from pluginhost.host.sources.folders import FolderSource

    folder = plugin_folder(
        {
            **{f"{name}.py": diary(name) for name in "abcdefg"},
            "pluginhost.toml": """
                [plugins.a]
                requires = ["b"]
                [plugins.b]
                requires = ["a"]
                [plugins.c]
                requires = ["missing"]
                [plugins.d]
                requires = ["a", "c"]
                [plugins.e]
                after = ["g", "f"]
                [plugins.f]
                after = ["e"]
            """,
        }
    )
    outcomes = set()
    for seed in range(30):
        host = make_host(Shuffled(FolderSource(folder), seed))
        host.diary = []
        host.load_all()
        rows = sorted((i.id, str(i.state), i.error, i.remedy) for i in host.plugins.values())
        outcomes.add((tuple(host.diary), tuple(rows)))
    assert len(outcomes) == 1


class Raising:
    """A source that yields nothing but trouble."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def discover(self):
        yield from ()
        raise self._error


def test_a_source_that_raises_fails_alone(plugin_folder, make_host):
    """What other sources have is loaded; the source is listed as failed with its reason."""
    folder = plugin_folder({"a.py": ECHO})
    host = make_host(Raising(OSError("the share is gone")), folder)
    host.load_all()
    assert states(host) == {"source Raising": "failed", "a": "loaded"}
    assert "the share is gone" in host.plugins["source Raising"].error
    assert host.plugins["source Raising"].remedy


class Unspeakable(Exception):
    """An error that fails once more when it is shown."""

    def __str__(self):
        raise RuntimeError("no words")


def test_a_source_that_raises_the_unspeakable(make_host):
    """An error whose own text raises is named by its type."""
    host = make_host(Raising(Unspeakable()))
    host.load_all()
    assert "Unspeakable that cannot be shown" in host.plugins["source Raising"].error


def test_an_interrupt_during_discovery_passes(make_host):
    """Ctrl-C is not a fault of the source."""
    host = make_host(Raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        host.discover()


def test_a_missing_folder_fails_alone(plugin_folder, make_host, tmp_path):
    """A folder that vanished after the host was made does not hide the others."""
    import shutil

    gone, there = plugin_folder({}, name="gone"), plugin_folder({"a.py": ECHO}, name="there")
    host = make_host(gone, there)
    shutil.rmtree(gone)
    host.load_all()
    assert states(host) == {f"folder {gone}": "failed", "a": "loaded"}


def nested(call):
    """Return a plugin whose setup makes a call of the host and keeps what comes of it."""
    return (
        "from pluginhost import hookimpl\n"
        "@hookimpl\ndef setup(host):\n"
        f"    try:\n        host.diary.append({call})\n"
        "    except Exception as error:\n        host.diary.append(error)\n"
        "@hookimpl\ndef execute(payload): return payload\n"
    )


@pytest.mark.parametrize(
    "call", ["host.load('a')", "host.reload('a')", "host.unload('a')", "host.execute('a')"]
)
def test_a_setup_may_not_turn_upon_itself(plugin_folder, make_host, call):
    """It is refused, and the plugin is loaded once and properly all the same."""
    host = make_host(plugin_folder({"a.py": nested(call)}))
    host.diary = []
    host.load("a")
    (refusal,) = host.diary
    assert isinstance(refusal, PluginStateError)
    assert host.execute("a", 1) == 1
    assert registered(host) == {"a"}


@pytest.mark.parametrize("call", ["host.load_all()", "host.discover()"])
def test_a_setup_may_look_around(plugin_folder, make_host, call):
    """Loading everything from within a setup loads everything once."""
    folder = plugin_folder({"a.py": nested(call), "b.py": ECHO, "c.py": ECHO})
    host = make_host(folder)
    host.diary = []
    host.load_all()
    assert states(host) == {"a": "loaded", "b": "loaded", "c": "loaded"}
    assert not isinstance(host.diary[0], Exception)
    assert [host.execute(plugin_id, 1) for plugin_id in "abc"] == [1, 1, 1]


def test_a_setup_may_change_its_own_description(plugin_folder, make_host):
    """What is on its way keeps its place, whatever discovery finds meanwhile."""
    rewrite = "(host.manifest.write_text('[plugins.a]\\nversion=\"2\"\\n'), host.discover())"
    folder = plugin_folder({"a.py": nested(rewrite), "pluginhost.toml": "[plugins.a]\n"})
    host = make_host(folder)
    host.diary, host.manifest = [], folder / "pluginhost.toml"
    info = host.load("a")
    assert (info.state, info.version) == ("loaded", None)
    assert host.execute("a", 1) == 1
    assert host.reload("a").version == "2"


def test_a_setup_may_load_another(plugin_folder, make_host):
    """A nested load is complete when it returns; the other is unloaded later than its loader."""
    host = make_host(plugin_folder({"a.py": nested("host.load('b')"), "b.py": diary("b")}))
    host.diary = []
    host.load("a")
    first, second = host.diary
    assert (first, second.state) == ("+b", "loaded")
    assert host._loaded == ["b", "a"]


def test_a_user_of_what_is_being_loaded_waits(plugin_folder, make_host):
    """A setup that loads its own dependant is told that it is not ready for it."""
    host = make_host(
        plugin_folder(
            {
                "a.py": nested("host.load('b')"),
                "b.py": ECHO,
                "pluginhost.toml": "[plugins.b]\nrequires = ['a']",
            }
        )
    )
    host.diary = []
    host.load("a")
    assert isinstance(host.diary[0], PluginSkippedError)
    assert host.load("b").state is PluginState.LOADED


def test_a_setup_may_not_unload_its_peer(plugin_folder, make_host):
    """A plugin on its way in counts as a user of its peers already."""
    host = make_host(
        plugin_folder(
            {
                "a.py": nested("host.unload('b')"),
                "b.py": ECHO,
                "pluginhost.toml": "[plugins.a]\nrequires = ['b']",
            }
        )
    )
    host.diary = []
    host.load("a")
    assert isinstance(host.diary[0], PluginStateError)
    assert states(host) == {"a": "loaded", "b": "loaded"}


def test_a_plugin_may_unload_itself_while_it_runs(plugin_folder, make_host):
    """It takes effect with the next call; what still runs is named."""
    source = (
        "from pluginhost import hookimpl\n@hookimpl\n"
        "def execute(payload, host): return host.unload('a')\n"
    )
    host = make_host(plugin_folder({"a.py": source}))
    host.load("a")
    info = host.execute("a")
    assert info.state is PluginState.UNLOADED
    assert "call in thread 'MainThread'" in info.survivors
    with pytest.raises(PluginStateError, match="it is unloaded"):
        host.execute("a")
    assert registered(host) == set()


TEARDOWN = "from pluginhost import hookimpl\n@hookimpl\ndef teardown(host): {}\n"


@pytest.mark.parametrize(
    ("raising", "kind"),
    [
        pytest.param("1 / 0", ZeroDivisionError, id="error"),
        pytest.param("raise SystemExit(3)", SystemExit, id="exit"),
        pytest.param("raise KeyboardInterrupt", KeyboardInterrupt, id="interrupt"),
    ],
)
def test_a_teardown_that_raises(plugin_folder, make_host, raising, kind):
    """The caller hears of it, and the plugin is gone all the same."""
    host = make_host(plugin_folder({"a.py": TEARDOWN.format(raising)}))
    host.load("a")
    modules = [name for name in sys.modules if name.startswith("pluginhost_plugin_")]
    with pytest.raises(kind):
        host.unload("a")
    assert host.plugins["a"].state is PluginState.UNLOADED
    assert registered(host) == set()
    assert not set(modules) & set(sys.modules)


def test_closing_goes_on_after_errors(plugin_folder, make_host):
    """Every plugin is unloaded; what was raised comes together, the last loaded first."""
    files = {f"{name}.py": TEARDOWN.format(f"raise ValueError('{name}')") for name in "abc"}
    host = make_host(plugin_folder(files))
    host.load_all()
    with pytest.raises(ExceptionGroup, match="failed to unload") as caught:
        host.close()
    assert [str(error) for error in caught.value.exceptions] == ["c", "b", "a"]
    assert registered(host) == set()
    host.close()  # nothing is left to close


def test_closing_goes_on_after_an_exit(plugin_folder, make_host):
    """A teardown that wants to end the program is one error among the others."""
    files = {f"{name}.py": TEARDOWN.format("raise SystemExit") for name in "ab"}
    host = make_host(plugin_folder(files))
    host.load_all()
    with pytest.raises(BaseExceptionGroup) as caught:
        host.close()
    assert [type(error) for error in caught.value.exceptions] == [SystemExit, SystemExit]


def test_an_interrupt_comes_after_closing(plugin_folder, make_host):
    """Ctrl-C while closing is raised when every plugin is gone, with the errors as its cause."""
    host = make_host(
        plugin_folder(
            {
                "a.py": TEARDOWN.format("1 / 0"),
                "b.py": TEARDOWN.format("raise KeyboardInterrupt"),
                "c.py": ECHO,
            }
        )
    )
    host.load_all()
    with pytest.raises(KeyboardInterrupt) as caught:
        host.close()
    assert isinstance(caught.value.__cause__.exceptions[0], ZeroDivisionError)
    assert set(states(host).values()) == {"unloaded"}


def test_a_teardown_may_unload_another(plugin_folder, make_host):
    """Closing does not trip over what is gone already."""
    host = make_host(plugin_folder({"a.py": ECHO, "b.py": TEARDOWN.format("host.unload('a')")}))
    host.load_all()
    host.close()
    assert set(states(host).values()) == {"unloaded"}


class Meddling:
    """A lifecycle wrapper of a third party that fails at a given point."""

    def __init__(self, hook, when):
        self._point = hook, when

    def _meddle(self, *point):
        if point == self._point:
            raise RuntimeError("meddled")

    @hookimpl(wrapper=True)
    def pluginhost_load(self):
        self._meddle("load", "before")
        result = yield
        self._meddle("load", "after")
        return result

    @hookimpl(wrapper=True)
    def pluginhost_unload(self):
        self._meddle("unload", "before")
        result = yield
        self._meddle("unload", "after")
        return result


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_wrapper_that_fails_on_loading(plugin_folder, make_host, when):
    """The plugin is failed and nothing of it is registered: it can be loaded once that is over."""
    host = make_host(plugin_folder({"a.py": ECHO}))
    meddler = Meddling("load", when)
    host.lifecycle.register(meddler)
    with pytest.raises(PluginLoadError, match="meddled"):
        host.load("a")
    assert states(host) == {"a": "failed"}
    assert registered(host) == set()
    host.lifecycle.unregister(meddler)
    host.load("a")
    assert host.execute("a", 1) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_wrapper_that_fails_on_unloading(plugin_folder, make_host, when):
    """The plugin is gone all the same."""
    host = make_host(plugin_folder({"a.py": ECHO}))
    host.load("a")
    host.lifecycle.register(Meddling("unload", when))
    with pytest.raises(RuntimeError, match="meddled"):
        host.unload("a")
    assert states(host) == {"a": "unloaded"}
    assert registered(host) == set()


def test_an_id_that_the_application_uses_itself(plugin_folder, make_host):
    """A plugin does not push out an object that was registered by hand under its id."""
    host, own = make_host(plugin_folder({"a.py": ECHO})), object()
    host.manager.register(own, "a")
    with pytest.raises(PluginLoadError, match="another object"):
        host.load("a")
    assert host.manager.get_plugin("a") is own


def test_a_reloaded_peer_is_closed_after_its_users(plugin_folder, make_host):
    """Though it is the youngest now."""
    host = make_host(
        plugin_folder(
            {
                **{f"{name}.py": diary(name) for name in ("peer", "user")},
                "pluginhost.toml": "[plugins.user]\nrequires = ['peer']",
            }
        )
    )
    host.diary = []
    host.load_all()
    host.reload("peer")
    host.diary.clear()
    host.close()
    assert host.diary == ["-user", "-peer"]


def test_the_hosts_api_version_is_checked_at_once():
    """A host that cannot be compared with is a mistake of the application."""
    with pytest.raises(InvalidValueError, match="PEP 440"):
        PluginHost("test", sources=(), api_version="latest")


def test_the_hosts_api_version_decides(plugin_folder, make_host):
    """The same plugin fits one host and not another."""
    folder = plugin_folder({"a.py": ECHO, "pluginhost.toml": "[plugins.a]\napi = '>=2,<3'"})
    assert make_host(folder, api_version="2.4").load("a").state is PluginState.LOADED
    with pytest.raises(IncompatiblePluginError):
        make_host(folder, api_version="3.0").load("a")


def test_a_manifest_is_for_one_plugin_kind_of_error():
    """Whoever catches `PluginLoadError` around `load` has caught every reason."""
    kinds = [DependencyError, DuplicatePluginError, IncompatiblePluginError, ManifestError]
    assert all(issubclass(kind, PluginLoadError) for kind in kinds)
    assert issubclass(PluginLoadError, PluginHostError)


def test_hosts_do_not_share_anything(plugin_folder, make_host):
    """Of two hosts on one folder, one can reload and close without the other noticing."""
    folder = plugin_folder(
        {
            "a/__init__.py": "from pluginhost import hookimpl\nfrom . import first\n"
            "@hookimpl\ndef execute(payload):\n    from . import second\n"
            "    return first.CALLS, second.CALLS\n",
            "a/first.py": "CALLS = []",
            "a/second.py": "CALLS = []",
        }
    )
    one, two = make_host(folder), make_host(folder)
    one.load("a")
    two.load("a")
    lists = one.execute("a")
    one.reload("a")
    assert all(new is not old for new, old in zip(one.execute("a"), lists, strict=True))
    one.close()
    assert two.execute("a") == ([], [])
    assert one.manager is not two.manager
