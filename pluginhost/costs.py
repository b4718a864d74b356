"""What each plugin of a program cost: rows that add up to the whole run.

Times are integers in ns. Where the run was launched, the whole (`wall_ns`) is from the moment the
process was started until it had ended, on the clock of the launcher; else it is the time observed.
Self times are those of the observed (main) thread and partition the whole:
application + plugins + measuring + unattributed = `wall_ns`, exactly. Inclusive times overlap, and so
does what other threads did (`other_threads_ns`).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from pluginhost.printable import printable


class PluginKind(StrEnum):
    """Where a plugin comes from."""

    INSTALLED = "installed"
    """From a distribution of its own."""
    CONFTEST = "conftest"
    LOCAL = "local"
    """A module or object of no distribution."""
    BUILT_IN = "built_in"
    """The application's own; its time is part of the application's row."""


class HookCost(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One plugin's implementation of one hook.

    `inclusive_ns` counts a call within a call of the same plugin once; `self_ns` is without the
    implementations and imports it called. `cpu_ns` is of the self time; what is left of it is
    waiting. None: the CPU clock was not read. For wrappers, `style` wrapper (new) or hookwrapper
    (old), `before_yield_ns` and `after_yield_ns` are its two halves, and percentiles are those of
    either half. `awaited_count` results were awaited: `awaiting_ns` is from the first step to the
    last with all waiting, which others use meanwhile; only what ran of it is in `self_ns`.
    `returned_none` counts calls of a function that returned None. `histogram` holds
    (bucket, count) pairs, see `DurationHistogram`.

    Of the application's own implementations, calls from within itself may be `untimed`, where they
    are many. Then all figures but the extremes are estimates, from one in some calls.
    """

    plugin: str
    hook: str
    style: str
    calls: int
    inclusive_ns: int
    self_ns: int
    cpu_ns: int | None = None
    min_ns: int | None = None
    p50_ns: float | None = None
    p90_ns: float | None = None
    p95_ns: float | None = None
    p99_ns: float | None = None
    max_ns: int | None = None
    errors: int = 0
    returned_none: int = 0
    before_yield_ns: int | None = None
    after_yield_ns: int | None = None
    awaited_count: int = 0
    awaiting_ns: int = 0
    other_threads_ns: int = 0
    untimed: int = 0
    histogram: tuple[tuple[int, int], ...] = ()


class ImportCost(msgspec.Struct, frozen=True, kw_only=True):
    """A module that was first imported on behalf of a plugin, with what it imported in turn.

    `self_ns` is without that. `kept_by` names who would import it too if the plugin were gone
    (None: nobody that is known of).
    """

    module: str
    inclusive_ns: int
    self_ns: int
    kept_by: str | None = None


class PluginCost(msgspec.Struct, frozen=True, kw_only=True):
    """All that one plugin cost.

    `self_ns` = `import_ns` + `hooks_self_ns` is its part of the whole, as `share` (0.0-1.0).
    `import_ns`: the first importer pays for a module. `import_saved_ns`: the imports that would not
    happen if this plugin alone were gone; an estimate from the code of the modules, None where it
    could not be worked out. `saving_ns` is what is predicted to be saved without it:
    `import_saved_ns` + `hooks_self_ns` + what others' hooks did for its fixtures. Fixtures that it
    brings to pytest count as its hooks, with what pytest itself does to set them up.
    `import_rss_bytes` is what the resident set grew by during its imports, an estimate. `remedy` is
    how to run without it. `parts` are the names of everything it registered.
    """

    name: str
    kind: PluginKind
    distribution: str | None = None
    version: str | None = None
    parts: tuple[str, ...] = ()
    calls: int = 0
    errors: int = 0
    import_ns: int = 0
    import_saved_ns: int | None = None
    import_rss_bytes: int = 0
    hooks_inclusive_ns: int = 0
    hooks_self_ns: int = 0
    self_ns: int = 0
    cpu_ns: int | None = None
    share: float = 0.0
    saving_ns: int | None = None
    other_threads_ns: int = 0
    remedy: str | None = None
    imports: tuple[ImportCost, ...] = ()

    @property
    def title(self) -> str:
        """The name with distribution and version, safe to show."""
        name = printable(self.name, 60)
        if self.distribution is None:
            return f"{name} (conftest)" if self.kind is PluginKind.CONFTEST else name
        version = f" {self.version}" if self.version else ""
        if self.distribution.lower().replace("_", "-") == self.name.lower().replace("_", "-"):
            return printable(f"{name}{version}", 80)
        return printable(f"{name} ({self.distribution}{version})", 80)


class ApplicationCost(msgspec.Struct, frozen=True, kw_only=True):
    """The program's own time, with that of its built-in plugins; `import_ns` is part of it."""

    name: str
    self_ns: int
    cpu_ns: int | None = None
    import_ns: int = 0
    share: float = 0.0


class MeasuringCost(msgspec.Struct, frozen=True, kw_only=True):
    """What the measuring itself took of the whole.

    `setup_ns` and `processing_ns` are measured. `recording_ns` is an estimate, the calibrated cost
    of a record times their number, and has been subtracted from the rows it was part of.
    """

    setup_ns: int = 0
    processing_ns: int = 0
    recording_ns: int = 0
    records: int = 0

    @property
    def total_ns(self) -> int:
        """All of it, in ns."""
        return self.setup_ns + self.processing_ns + self.recording_ns


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin that probably nobody would miss, why that is thought, and how to do without it."""

    plugin: str
    distribution: str | None
    reason: str
    saving_ns: int | None
    remedy: str


class ProcessCost(msgspec.Struct, frozen=True, kw_only=True):
    """One of several processes that were followed: its own whole, and what ended it."""

    pid: int
    parent_pid: int
    arguments: tuple[str, ...]
    wall_ns: int
    ended: str


class FlameGraphNode(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A call path with the time spent in it (inclusive) and in itself alone.

    One that is `sampled` is a function inside of the plugin above it: an estimate, scaled to what was
    measured of the plugin, its calls not counted.
    """

    name: str
    duration_ns: int
    self_ns: int = 0
    call_count: int = 0
    children: tuple[FlameGraphNode, ...] = ()
    sampled: bool = False


class CostReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about what the plugins of a program cost.

    `unattributed_ns` is what lies outside of all readings: starting and ending the interpreter.
    `cpu_ns` is that of the process, all threads; `main_cpu_ns` that of the observed thread. With
    `processes` beyond the first, the figures are sums over them, and so is `wall_ns`, while
    `elapsed_ns` is what the user waited. `ended` says what ended the program, `exit_code` as a
    shell counts (128 + signal). `incomplete` and `notes` say what is missing, and what is an estimate.
    """

    command: tuple[str, ...] = ()
    wall_ns: int
    elapsed_ns: int
    cpu_ns: int
    main_cpu_ns: int
    application: ApplicationCost
    plugins: tuple[PluginCost, ...] = ()
    hooks: tuple[HookCost, ...] = ()
    measuring: MeasuringCost
    unattributed_ns: int
    candidates: tuple[Candidate, ...] = ()
    flame_graph: FlameGraphNode | None = None
    processes: tuple[ProcessCost, ...] = ()
    ended: str = "exit"
    exit_code: int | None = None
    incomplete: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """A program run with and without one plugin, in turn.

    `with_ns` and `without_ns` are the wall times of each pair of runs; `saved_ns` the median of
    their differences, `low_ns` to `high_ns` its 95 % interval (`confidence` says how sure where
    the pairs are few). `predicted_ns` is what the observation said. `agrees` tells whether the
    prediction is within a quarter of what was saved, or within the noise.
    """

    plugin: str
    method: str
    with_ns: tuple[int, ...]
    without_ns: tuple[int, ...]
    saved_ns: int
    low_ns: int
    high_ns: int
    confidence: float
    predicted_ns: int | None
    agrees: bool | None
