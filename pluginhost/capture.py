"""What was recorded of the plugins of one process: plain figures, from which costs are worked out.

A capture is what an observed program leaves behind. It judges nothing: whose an import is, what
counts as the application's own, and what a plugin would save is decided when it is read.
"""

from __future__ import annotations

import msgspec

from pluginhost.calltree import EventKind

ENTRY_POINT = "entry point "
"""Begins the name of an import that is the loading of an entry point: `entry point NAME = VALUE`."""

FIXTURE = "fixture of "
"""Begins what stands for the plugin of a call that sets up or tears down a fixture, before a module."""


class CallRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One path of the call tree, with everything that happened there.

    `parent` is the position of the caller's path, -1 at the top; callers come first. Times are
    inclusive, in ns. `cpu_ns` is None where the CPU clock was not read, `rss_bytes` is what the
    resident set grew by (0 for anything but imports). What is `estimated` was not recorded here, and
    so recording it cost nothing. Of `count` calls `untimed` were not timed, and times are those of the
    others; `spared` hook calls made from here had some that were not (see `Sparer`).
    """

    parent: int
    kind: EventKind
    plugin: str
    hook: str
    count: int
    total_ns: int
    cpu_ns: int | None = None
    errors: int = 0
    rss_bytes: int = 0
    estimated: bool = False
    untimed: int = 0
    spared: int = 0


class SiteRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One plugin's part in one hook, from wherever it was called: how its calls are spread.

    `histogram` holds (bucket, count) pairs, see `DurationHistogram`.
    """

    kind: EventKind
    plugin: str
    hook: str
    min_ns: int
    max_ns: int
    returned_none: int
    histogram: tuple[tuple[int, int], ...]


class Implementation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One hook implementation as it is registered; `style` is function, wrapper or hookwrapper."""

    plugin: str
    hook: str
    style: str


class SeenPlugin(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin as its manager knows it.

    `name` is what the records call it, `registered_name` what the manager does. `module` and
    `file` are those of the module it is, or of its class; `is_module` tells which. Distribution
    and version are set where the manager loaded it from an entry point. `named` tells that pytest
    was told to load it, by `-p`; `found` that it would have been loaded without that.
    """

    name: str
    registered_name: str
    module: str
    file: str | None = None
    is_module: bool = False
    distribution: str | None = None
    version: str | None = None
    blocked: bool = False
    named: bool = False
    found: bool = False


class SeenManager(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin manager: its project, the module of its class and of its first hook specification.

    The plugins and implementations are all that were ever registered while it was observed.
    """

    project: str
    class_module: str
    specification: str | None = None
    plugins: tuple[SeenPlugin, ...] = ()
    implementations: tuple[Implementation, ...] = ()


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """Everything recorded in one process. Times are monotonic, in ns, comparable on one machine.

    `spawned_ns` is when a launcher began to start the process (None without one), `begun_ns` when
    our code first ran in it, `observed_ns` from when on it was observed, `ended_ns` until when.
    `cpu_ns` is the CPU time of all threads of the process between begun and ended,
    `main_cpu_ns` that of the observed thread. `ended` says what ended it: `exit`, `os._exit`,
    `signal N`, `closed` by the program itself, or `running` for a provisional record.
    `modules` are the files of all modules loaded, by name; `searched` is `sys.path`.
    """

    schema_version: int = 1
    pid: int
    parent_pid: int
    executable: str
    python: str
    arguments: tuple[str, ...]
    spawned_ns: int | None = None
    begun_ns: int
    observed_ns: int
    ended_ns: int
    cpu_ns: int
    main_cpu_ns: int
    ended: str
    calls: tuple[CallRecord, ...] = ()
    sites: tuple[SiteRecord, ...] = ()
    managers: tuple[SeenManager, ...] = ()
    modules: dict[str, str] = {}
    searched: tuple[str, ...] = ()
    record_count: int = 0
    inner_ns: float = 0.0
    """What recording adds to the time of a call itself, calibrated."""
    outer_ns: float = 0.0
    """What recording adds to the time of its caller, calibrated."""
    spared_ns: float = 0.0
    """What a hook call that times none adds to the time of its caller, calibrated."""
    import_ns: float = 0.0
    """What recording an import adds to the time of its importer, calibrated."""
    cut_paths: int = 0
    notes: tuple[str, ...] = ()
