"""What an unload could not release is named, and nothing else is."""

from __future__ import annotations

import gc
import threading

import pytest

from pluginhost.errors import DeadlineExceededError

CLEAN = """
from pluginhost import hookimpl

class Plugin:
    @hookimpl
    def execute(self, payload):
        return payload
"""

SLOTS = "    __slots__ = ('x',)\n    def __init__(self):\n        self.x = "

ENTRY = '[plugins.a]\nentry = "a:Plugin"\n'


@pytest.fixture
def unloaded(plugin_folder, make_host):
    """Return a function that loads a plugin from source, uses it, and unloads it."""

    def run(source, *, manifest=ENTRY, use=None):
        folder = plugin_folder({"a.py": source, "pluginhost.toml": manifest})
        host = make_host(folder)
        host.load("a")
        if use is not None:
            use(host)
        return host.unload("a")

    return run


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(CLEAN, id="plain"),
        pytest.param(
            CLEAN + "    def __init__(self):\n        self.itself = self\n", id="cycle-to-itself"
        ),
        pytest.param(CLEAN + SLOTS + "None\n", id="slots"),
        pytest.param(
            CLEAN + SLOTS + "self\n",
            id="slots-and-cycle",
        ),
    ],
)
def test_a_clean_plugin_leaves_nothing(unloaded, source):
    """Also when the garbage collector is needed to see it, and when nothing can watch it."""
    info = unloaded(source, use=lambda host: host.execute("a"))
    assert info.survivors == ()


def test_a_clean_module_leaves_nothing(unloaded):
    """A plugin that is its own module is released with it."""
    source = "from pluginhost import hookimpl\n@hookimpl\ndef execute(payload): return payload\n"
    assert unloaded(source, manifest="").survivors == ()


@pytest.fixture
def kept():
    """Return a list that outlives the plugin."""
    return []


@pytest.mark.parametrize("slots", ["", SLOTS + "None\n"], ids=["plain", "slots"])
def test_an_instance_that_is_held_elsewhere(unloaded, kept, slots):
    """It is named by its class, and by what kind of thing holds it."""
    source = CLEAN.replace("return payload", "payload.append(self)") + slots
    info = unloaded(source, use=lambda host: host.execute("a", kept))
    assert info.survivors == ("instance of Plugin (held by list)",)
    kept.clear()


def test_a_bound_method_holds_its_instance(unloaded, kept):
    """A callback that was given away and not taken back is the commonest leak."""
    source = CLEAN.replace("return payload", "payload.append(self.execute)")
    info = unloaded(source, use=lambda host: host.execute("a", kept))
    assert info.survivors == ("instance of Plugin (held by method)",)
    kept.clear()


THREADS = """
import threading
from pluginhost import hookimpl

class Plugin:
    @hookimpl
    def execute(self, payload):
        {start}

def wait(stop):
    stop.wait()

class Waiter(threading.Thread):
    def __init__(self, stop):
        super().__init__(name="waiter", daemon=True)
        self.stop = stop

    def run(self):
        self.stop.wait()

class Bare(threading.Thread):
    pass
"""


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(
            "threading.Thread(target=wait, args=(payload,), name='waiter', daemon=True).start()",
            id="target",
        ),
        pytest.param("Waiter(payload).start()", id="subclass"),
        pytest.param(
            "Bare(target=payload.wait, name='waiter', daemon=True).start()", id="own-class-only"
        ),
        pytest.param(
            "threading.Thread(target=lambda: wait(payload), name='waiter', daemon=True).start()",
            id="lambda",
        ),
        pytest.param(
            "__import__('concurrent.futures').futures.ThreadPoolExecutor("
            "1, thread_name_prefix='waiter').submit(wait, payload)",
            id="pool",
        ),
    ],
)
def test_a_thread_that_still_runs(unloaded, start):
    """It is named, however the plugin came by it."""
    stop = threading.Event()
    try:
        info = unloaded(THREADS.format(start=start), use=lambda host: host.execute("a", stop))
    finally:
        stop.set()
    assert [name for name in info.survivors if name.startswith("thread 'waiter")]
    for thread in threading.enumerate():
        if thread.name.startswith("waiter"):
            thread.join(30)


def test_a_thread_in_a_submodule(plugin_folder, make_host):
    """Code in any module of the plugin's package is the plugin's."""
    folder = plugin_folder(
        {
            "a/__init__.py": "from .work import execute",
            "a/work.py": THREADS.format(start="pass")
            + "\n@hookimpl\ndef execute(payload): Waiter(payload).start()\n",
        }
    )
    host, stop = make_host(folder), threading.Event()
    host.load("a")
    host.execute("a", stop)
    try:
        assert host.unload("a").survivors == ("thread 'waiter'",)
    finally:
        stop.set()


def test_an_execution_that_overran(unloaded):
    """The abandoned thread is named, and so is the instance that its call keeps alive."""
    stop = threading.Event()

    def overrun(host):
        with pytest.raises(DeadlineExceededError):
            host.execute("a", stop, deadline=0.01)

    try:
        info = unloaded(CLEAN.replace("return payload", "payload.wait()"), use=overrun)
        thread, instance = info.survivors
    finally:
        stop.set()
    assert thread == "thread 'pluginhost-a'"
    assert instance.startswith("instance of Plugin (held by ")


def test_an_execution_that_overran_in_code_of_others(distribution, plugin_folder, make_host):
    """The host knows whose it is even when none of the plugin's own code is running."""
    shared = "from pluginhost import hookimpl\n@hookimpl\ndef execute(payload): payload.wait()\n"
    distribution("acme", None, files={"acme_overran.py": shared})
    host = make_host(plugin_folder({"a.py": "from acme_overran import execute\n"}))
    host.load("a")
    stop = threading.Event()
    try:
        with pytest.raises(DeadlineExceededError):
            host.execute("a", stop, deadline=0.01)
        assert host.unload("a").survivors == ("thread 'pluginhost-a'",)
    finally:
        stop.set()


@pytest.mark.parametrize("package", [False, True], ids=["file", "package"])
def test_an_execution_that_is_still_going_on(plugin_folder, make_host, package):
    """Unloading waits for it, but not for ever, and names the thread that it runs in."""
    source = CLEAN.replace("return payload", "payload[0].set(); payload[1].wait()")
    folder = plugin_folder(
        {"a/__init__.py" if package else "a.py": source, "pluginhost.toml": ENTRY}, name="p\xe9"
    )
    host, begun, stop = make_host(folder, drain_seconds=0.05), threading.Event(), threading.Event()
    host.load("a")
    thread = threading.Thread(
        target=host.execute, args=("a", (begun, stop)), name="the application's", daemon=True
    )
    thread.start()
    begun.wait(30)
    try:
        survivors = host.unload("a").survivors
    finally:
        stop.set()
        thread.join(30)
    assert survivors[0] == 'call in thread "the application\'s"'


def test_threads_of_others_are_not_named(unloaded):
    """A host full of threads says nothing of them."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="the application's own", daemon=True)
    thread.start()
    try:
        assert unloaded(CLEAN).survivors == ()
    finally:
        stop.set()


def test_an_installed_module_stays_imported(distribution, make_host):
    """Others may use it, so that it is left where it is, and that is said."""
    distribution("acme", None, files={"acme_stays.py": CLEAN})
    host = make_host("module:acme_stays:Plugin")
    host.load("Plugin")
    assert host.unload("Plugin").survivors == ("module 'acme_stays'",)


def test_an_installed_cycle_is_collected(distribution, make_host):
    """An instance that refers to itself is no survivor because its module is."""
    source = CLEAN + "    def __init__(self):\n        self.itself = self\n"
    distribution("acme", None, files={"acme_cycle.py": source})
    host = make_host("module:acme_cycle:Plugin")
    host.load("Plugin")
    gc.disable()
    try:
        assert host.unload("Plugin").survivors == ("module 'acme_cycle'",)
    finally:
        gc.enable()


def test_a_failed_teardown_holds_the_instance_by_its_call(plugin_folder, make_host):
    """The traceback on its way to the caller is what holds it, and the holder is named."""
    source = CLEAN + "    @hookimpl\n    def teardown(self):\n        raise OSError('no')\n"
    host = make_host(plugin_folder({"a.py": source, "pluginhost.toml": ENTRY}))
    host.load("a")
    with pytest.raises(OSError, match="no"):
        host.unload("a")
    (survivor,) = host.plugins["a"].survivors
    assert survivor.startswith("instance of Plugin (held by ")
    assert "a call of teardown()" in survivor
