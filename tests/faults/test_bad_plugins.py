"""Broken plugins fail alone: with plugin, reason and remedy, and without a trace in the host."""

from __future__ import annotations

import sys

import pytest

from pluginhost import PluginState, hookspec
from pluginhost.errors import PluginLoadError

HEAD = "from pluginhost import hookimpl\n"
ECHO = HEAD + "@hookimpl\ndef execute(payload): return payload\n"
CLASS = HEAD + "class Plugin:\n    @hookimpl\n    def execute(self, payload): return payload\n"
ENTRY = '[plugins.bad]\nentry = "bad:Plugin"\n'
GROUP = "test_bad_plugins.plugins"


class Specs:
    """The hook of an application that a plugin may get wrong."""

    @hookspec
    def menu(self, items):
        """Offer entries."""


BAD = {
    "syntax": ({"bad.py": "def execute(payload:\n"}, "SyntaxError", "correct line 1 of "),
    "indentation": ({"bad.py": "x = 1\n y = 2"}, "IndentationError", "correct line 2 of "),
    "null byte": ({"bad.py": b"x = 1\0"}, "null bytes", ""),
    "not utf-8": ({"bad.py": b"x = '\xff'"}, "SyntaxError", "correct line"),
    "import": ({"bad.py": "from os import nothing"}, "ImportError", "traceback"),
    "missing dependency": (
        {"bad.py": "import no_such_library"},
        "ModuleNotFoundError",
        "install what provides the module 'no_such_library'",
    ),
    "error on import": ({"bad.py": "1 / 0"}, "ZeroDivisionError", "traceback"),
    "exit on import": ({"bad.py": "raise SystemExit(3)"}, "SystemExit: 3", "must not exit"),
    "sys.exit on import": ({"bad.py": "import sys; sys.exit()"}, "SystemExit", "must not exit"),
    "own kind of exit": (
        {"bad.py": "class Panic(BaseException): pass\nraise Panic('in native code')"},
        "Panic: in native code",
        "traceback",
    ),
    "cancelled on import": (
        {"bad.py": "import asyncio\nraise asyncio.CancelledError"}, "CancelledError", "traceback",
    ),
    "endless recursion": ({"bad.py": "def f(): f()\nf()"}, "RecursionError", "traceback"),
    "error that cannot be shown": (
        {"bad.py": "class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E"},
        "E that cannot be shown",
        "traceback",
    ),
    "constructor": (
        {"bad.py": CLASS + "    def __init__(self): raise OSError('no licence')",
         "pluginhost.toml": ENTRY},
        "OSError: no licence",
        "traceback",
    ),
    "constructor with arguments": (
        {"bad.py": CLASS + "    def __init__(self, size): pass", "pluginhost.toml": ENTRY},
        "TypeError",
        "traceback",
    ),
    "no such class": ({"bad.py": ECHO, "pluginhost.toml": ENTRY}, "no 'Plugin'", "entry"),
    "wrong api version": (
        {"bad.py": ECHO, "pluginhost.toml": "[plugins.bad]\napi = '>=2'"},
        "it needs host API >=2, this host has 1.0",
        "install a version",
    ),
    "malformed api version": (
        {"bad.py": ECHO, "pluginhost.toml": "[plugins.bad]\napi = 'two'"}, "'two'", "PEP 440",
    ),
    "missing peer": (
        {"bad.py": ECHO, "pluginhost.toml": "[plugins.bad]\nrequires = ['peer>=1']"},
        "it requires plugin 'peer>=1', which was not found",
        "'peer'",
    ),
    "wrong version of a peer": (
        {"bad.py": ECHO, "pluginhost.toml": "[plugins.bad]\nrequires = ['good>=1']"},
        "loaded is version unknown",
        "'good'",
    ),
    "requires itself": (
        {"bad.py": ECHO, "pluginhost.toml": "[plugins.bad]\nrequires = ['bad']"},
        "bad -> bad",
        "after",
    ),
    "setup": (
        {"bad.py": ECHO + "@hookimpl\ndef setup(host): raise OSError('port in use')"},
        "OSError: port in use",
        "traceback",
    ),
    "exit in setup": (
        {"bad.py": ECHO + "@hookimpl\ndef setup(): raise SystemExit"}, "SystemExit", "traceback",
    ),
    "setup asks for too much": (
        {"bad.py": ECHO + "@hookimpl\ndef setup(host, database): pass"},
        "does not fit its specification",
        "arguments",
    ),
    "asynchronous setup": (
        {"bad.py": ECHO + "@hookimpl\nasync def setup(): pass"}, "asynchronous", "plain function",
    ),
    "hook that does not fit": (
        {"bad.py": ECHO + "@hookimpl\ndef menu(entries): pass"},
        "does not fit its specification",
        "arguments",
    ),
    "misspelt hook": (
        {"bad.py": ECHO + "@hookimpl\ndef tear_down(): pass"},
        "tear_down: there is no such hook",
        "did you mean 'teardown'?",
    ),
    "no hooks": ({"bad.py": "def execute(payload): return payload"}, "no hook", "hookimpl"),
    "empty file": ({"bad.py": ""}, "no hook", "hookimpl"),
    "wrapper": (
        {"bad.py": HEAD + "@hookimpl(wrapper=True)\ndef execute(): return (yield)"},
        "it is a wrapper",
        "pluginhost_execute",
    ),
    "two executes": (
        {"bad.py": ECHO + "@hookimpl(specname='execute')\ndef run(payload): pass"},
        "2 times",
        "one implementation",
    ),
    "unknown key": ({"bad.py": ECHO, "pluginhost.toml": "[plugins.bad]\nx=1"}, "`x`", "schema"),
    "entry to nowhere": (
        {"pluginhost.toml": "[plugins.bad]\nentry = '../../etc/passwd'"}, "no plugin file", "entry",
    ),
    "broken package manifest": (
        {"bad/__init__.py": ECHO, "bad/pluginhost.toml": "["}, "pluginhost.toml", "schema",
    ),
    "package that fails half-way": (
        {"bad/__init__.py": "from . import one\nfrom . import two", "bad/one.py": "",
         "bad/two.py": "import no_such_library"},
        "no_such_library",
        "install",
    ),
    "object that equals all": (
        {"bad.py": CLASS + "    def __eq__(self, other): return True", "pluginhost.toml": ENTRY},
        "equal to anything",
        "__eq__",
    ),
    "none": (
        {"bad.py": "Plugin = None", "pluginhost.toml": ENTRY}, "object is None", "entry",
    ),
}  # fmt: skip

each_bad = pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in BAD])


@pytest.fixture
def trace():
    """Return a function that says what plugins have left in the process since the test began."""
    modules, path = set(sys.modules), list(sys.path)

    def left(host):
        known = {name for name, _ in host.manager.list_name_plugin()}
        for caller in vars(host.manager.hook).values():
            known |= {impl.plugin_name for impl in caller.get_hookimpls()}
        assert sys.path == path
        return known, {name for name in set(sys.modules) - modules if "pluginhost_plugin" in name}

    return left


@each_bad
def test_a_broken_plugin_fails_alone(plugin_folder, make_host, trace, name):
    """It is failed with reason and remedy, nothing of it stays, and its neighbours work."""
    files, reason, remedy = BAD[name]
    host = make_host(plugin_folder({"alpha.py": ECHO, "good.py": ECHO, **files}))
    host.add_hookspecs(Specs)
    host.load_all()
    info = host.plugins["bad"]
    assert info.state is PluginState.FAILED
    assert reason in info.error
    assert remedy in info.remedy
    assert info.remedy
    assert host.execute("alpha", 1) == host.execute("good", 1) == 1
    registered, modules = trace(host)
    assert registered == {"alpha", "good"}
    assert len(modules) == 2
    assert not any(module.endswith("bad") for module in modules)


@each_bad
def test_loading_it_again_fails_again(plugin_folder, make_host, trace, name):
    """The reason is the same each time: nothing half-done is in the way of a second try."""
    files, reason, _ = BAD[name]
    host = make_host(plugin_folder({"good.py": ECHO, **files}))
    host.add_hookspecs(Specs)
    host.load_all()
    for _ in range(2):
        with pytest.raises(PluginLoadError) as caught:
            host.load("bad")
        assert caught.value.plugin_id == "bad"
        assert reason in str(caught.value)
        assert host.plugins["bad"].error in str(caught.value)
    assert trace(host)[0] == {"good"}


@each_bad
def test_its_users_are_skipped(plugin_folder, make_host, name):
    """Those that require it, directly or not, are skipped and say because of whom."""
    files, _, _ = BAD[name]
    manifest = files.get("pluginhost.toml", "") + (
        "\n[plugins.user]\nrequires = ['bad']\n[plugins.users-user]\nrequires = ['user']\n"
    )
    sources = {f"{user}.py": ECHO for user in ("good", "user", "users-user")}
    host = make_host(plugin_folder({**sources, **files, "pluginhost.toml": manifest}))
    host.add_hookspecs(Specs)
    host.load_all()
    assert {i: str(info.state) for i, info in host.plugins.items()} == {
        "bad": "failed",
        "good": "loaded",
        "user": "skipped",
        "users-user": "skipped",
    }
    assert host.plugins["user"].error == "it requires plugin 'bad', which is failed"
    assert host.plugins["users-user"].error == "it requires plugin 'user', which is skipped"
    assert "'bad'" in host.plugins["user"].remedy


def test_ten_of_fifty(plugin_folder, make_host, trace):
    """Forty are loaded and run; ten are failed, each with its own reason."""
    from itertools import islice

    simple = {n: files["bad.py"] for n, (files, _, _) in BAD.items() if list(files) == ["bad.py"]}
    sources = dict(enumerate(islice(simple.values(), 10)))
    good = [f"good{i:02}" for i in range(40)]
    files = {f"{name}.py": ECHO for name in good}
    files |= {f"bad{i}.py": source for i, source in sources.items()}
    host = make_host(plugin_folder(files))
    infos = host.load_all()
    assert sorted(info.id for info in infos if info.state is PluginState.LOADED) == good
    failed = [info for info in infos if info.state is PluginState.FAILED]
    assert len(failed) == 10
    assert len({info.error.partition(" failed: ")[2] for info in failed}) == 10
    assert all(info.remedy for info in failed)
    assert [host.execute(name, name) for name in good] == good
    assert trace(host)[0] == set(good)


def test_a_cycle_among_good_ones(plugin_folder, make_host):
    """Its members fail with the path; who requires one of them is skipped; others load."""
    host = make_host(
        plugin_folder(
            {
                **{f"{name}.py": ECHO for name in ("a", "b", "c", "good", "user")},
                "pluginhost.toml": "[plugins.a]\nrequires=['b']\n[plugins.b]\nrequires=['c']\n"
                "[plugins.c]\nrequires=['a']\n[plugins.user]\nrequires=['a']\n",
            }
        )
    )
    host.load_all()
    states = {i: str(info.state) for i, info in host.plugins.items()}
    assert states == {
        "a": "failed", "b": "failed", "c": "failed", "good": "loaded", "user": "skipped",
    }  # fmt: skip
    for member in "abc":
        path = host.plugins[member].error.partition(": ")[2]
        assert path in {"a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c"}


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"b.py": "raise KeyboardInterrupt"}, id="import"),
        pytest.param(
            {"b/__init__.py": "from . import one", "b/one.py": "raise KeyboardInterrupt"},
            id="submodule",
        ),
        pytest.param(
            {"b.py": CLASS + "    def __init__(self): raise KeyboardInterrupt",
             "pluginhost.toml": '[plugins.b]\nentry = "b:Plugin"'},
            id="constructor",
        ),
        pytest.param(
            {"b.py": ECHO + "@hookimpl\ndef setup(): raise KeyboardInterrupt"}, id="setup"
        ),
    ],
)  # fmt: skip
def test_an_interrupt_passes_through(plugin_folder, make_host, trace, files):
    """Ctrl-C ends the loading; what was loaded stays, and the rest can still be loaded."""
    host = make_host(plugin_folder({"a.py": ECHO, "c.py": ECHO, **files}))
    with pytest.raises(KeyboardInterrupt):
        host.load_all()
    assert {i: str(info.state) for i, info in host.plugins.items()} == {
        "a": "loaded", "b": "discovered", "c": "discovered",
    }  # fmt: skip
    registered, modules = trace(host)
    assert registered == {"a"}
    assert len(modules) == 1
    assert host.execute("a", 1) == 1
    plugin_folder({"b/__init__.py" if "b/__init__.py" in files else "b.py": CLASS + ECHO})
    host.load_all()
    assert {str(info.state) for info in host.plugins.values()} == {"loaded"}


def points(*lines):
    """Return the text of an entry_points.txt."""
    return "\n".join([f"[{GROUP}]", *lines, ""])


def test_nine_bad_distributions(distribution, make_host):
    """Each is failed by its name with a reason of its own; the good one among them loads."""
    distribution("good", points("good = bad_plugins_good"), files={"bad_plugins_good.py": ECHO})
    distribution("b1", b"[x]\n\xff = y\n")
    distribution("b2", points("without equals sign"))
    distribution("b3", points("p3 = nowhere"), metadata=None)
    distribution("b4", points("p4 = nowhere"), metadata=b"Name: \xff")
    distribution("b5", points("p5 ="))
    distribution("b6", points("p6 = not a reference"))
    distribution("b7", points("../../etc = os:system"))
    distribution("b8", points("\x1b[31mred = os:system"))
    distribution("b9", points("p9 = no_such_module:Plugin"))
    host = make_host(f"entry-points:{GROUP}")
    host.load_all()
    assert host.execute("good", 1) == 1
    bad = {i: info for i, info in host.plugins.items() if i != "good"}
    assert sorted(bad) == sorted(
        [*(f"distribution b{i}" for i in range(1, 5)), "p5", "p6", "../../etc", "\x1b[31mred", "p9"]
    )
    for info in bad.values():
        assert info.state is PluginState.FAILED
        assert info.error
        assert info.remedy
        with pytest.raises(PluginLoadError) as caught:
            host.load(info.id)
        assert str(caught.value).isprintable()
    assert host.rejected == ()


def test_bad_distributions_of_one_name(distribution, make_host):
    """What cannot be told apart by name is still reported, each with its reason and place."""
    for site in ("one", "two"):
        distribution("same", b"\xff", site=site, version={"one": "1.0", "two": "2.0"}[site])
    distribution("same", b"\xff", site="one", version="3.0")
    host = make_host(f"entry-points:{GROUP}")
    host.discover()
    (info,) = host.plugins.values()
    assert "UnicodeDecodeError" in info.error
    assert info.location.endswith("same-1.0.dist-info")


def test_an_entry_point_that_fails_on_import_is_forgotten(distribution, make_host):
    """Mended, it loads at the next try, without a restart."""
    info = distribution(
        "acme", points("a = bad_plugins_mended"), files={"bad_plugins_mended.py": "1 / 0"}
    )
    host = make_host(f"entry-points:{GROUP}")
    host.load_all()
    assert host.plugins["a"].state is PluginState.FAILED
    assert "bad_plugins_mended" not in sys.modules
    (info.parent / "bad_plugins_mended.py").write_text(ECHO)
    host.load("a")
    assert host.execute("a", 1) == 1


def test_two_entry_points_to_one_module(distribution, make_host):
    """A module cannot be two plugins: the second is told which one has it."""
    distribution("acme", points("a = bad_plugins_twice", "b = bad_plugins_twice"),
                 files={"bad_plugins_twice.py": ECHO})  # fmt: skip
    host = make_host(f"entry-points:{GROUP}")
    host.load_all()
    assert host.plugins["a"].state is PluginState.LOADED
    assert "plugin 'a'" in host.plugins["b"].error


HOSTILE = "\x1b]0;pwned\x07\x1b[2J\u202e\r\n"


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({"bad.py": f"raise ValueError({HOSTILE!r})"}, id="error"),
        pytest.param({"bad.py": f"raise SystemExit({HOSTILE!r})"}, id="exit"),
        pytest.param({"bad.py": f"import importlib\nimportlib.import_module({HOSTILE!r})"}, id="module"),
        pytest.param(
            {"bad.py": HEAD + f"def f(): pass\nglobals()[{HOSTILE!r}] = hookimpl(f)"}, id="hook"
        ),
        pytest.param(
            {"bad.py": ECHO, "pluginhost.toml": '[plugins.bad]\nrequires = ["\\u001b[2J"]'},
            id="requirement",
        ),
        pytest.param(
            {"bad.py": ECHO, "pluginhost.toml": '[plugins.bad]\n"\\u001b[2J" = 1'}, id="key"
        ),
    ],
)  # fmt: skip
def test_hostile_text_in_errors(plugin_folder, make_host, files):
    """Whatever a plugin puts into its words, the error that is shown obeys no escape."""
    host = make_host(plugin_folder(files))
    with pytest.raises(PluginLoadError) as caught:
        host.load("bad")
    assert "\\x1b" in str(caught.value) or "\\u001b" in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_large_error_is_kept_small(plugin_folder, make_host):
    """A megabyte of words does not go into every report."""
    host = make_host(plugin_folder({"bad.py": "raise ValueError('x' * 1_000_000)"}))
    host.load_all()
    assert len(host.plugins["bad"].error) < 2_000
