"""Where the time of a test suite went: parts that add up to the whole, and who is behind them.

Times are integers in ns. The whole (`wall_ns`) is from the start of the process until where the report
ends (`until`), summed over the processes where there are workers; `parts` partition it exactly. What a
plugin costs, hook by hook, is in the `CostReport` of the same run, whose rows belong to the part
`plugins` (conftest files have their imports in `imports`).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from pluginhost.costs import ImportCost


class Until(StrEnum):
    """How far a report of a suite goes."""

    SUMMARY = "summary"
    """To pytest's own summary."""
    END = "end"
    """To the end of pytest."""
    EXIT = "exit"
    """To the exit of the process: all exit handlers that were added since pluginhost was loaded."""


class SuitePart(StrEnum):
    """What the time of a suite is divided into."""

    __hash__ = str.__hash__  # at C speed: parts are keys wherever times are added up

    TESTS = "tests"
    """The bodies of tests, without fixtures and imports that they ask for while they run."""
    FIXTURES = "fixtures"
    """Setting up and tearing down, each fixture without those it requests."""
    PLUGINS = "plugins"
    """Imports and hooks of plugins, and hooks in conftest files."""
    IMPORTS = "imports"
    """Conftest files and test modules, and all that they, tests and fixtures import."""
    COLLECTION = "collection"
    """Finding tests, apart from the imports."""
    REWRITING = "rewriting"
    """Of assertions, with reading and writing the rewritten code."""
    REPORTING = "reporting"
    """Reports made of outcomes, the terminal, other files that pytest itself writes."""
    PYTEST = "pytest"
    """All else that pytest itself does, with its own imports."""
    STARTUP = "startup"
    """Before anything could be recorded: the interpreter, and importing pytest."""
    EXIT = "exit"
    """After the plugins: what pytest cleans up, threads that are waited for, exit handlers."""
    IDLE = "idle"
    """Waiting for tests or results of other processes: pytest-xdist."""
    MEASURING = "measuring"
    UNATTRIBUTED = "unattributed"
    """Outside of everything that was recorded: between the hooks, in the main program."""


class PartCost(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the whole. `cpu_ns` is of the same time (None: the CPU clock was not read)."""

    part: SuitePart
    self_ns: int
    cpu_ns: int | None = None
    share: float = 0.0


class SuiteTests(msgspec.Struct, frozen=True, kw_only=True):
    """All tests that were run, a column for each property: row n of each is one test.

    `ids` are as pytest prints them, made safe to show; `files` are positions in
    `SuiteReport.files`, `markers` in `SuiteReport.marker_sets`, `workers` in
    `SuiteReport.workers` (empty without workers). `setup_ns` and `teardown_ns` are whole phases,
    with the fixtures that happened to be set up then; `call_ns` is the body with fixtures and
    imports that it asked for, `self_ns` without, `cpu_ns` of that. `self_ns` adds up to the part
    `tests`. A test that was run again has a row for each time. `rss_bytes` is the resident set at
    the end of each test, of the whole process; `peak_bytes` the most that Python had allocated
    during it, and `kept_bytes` by how much that was more at its end (tracemalloc). Columns that
    were not measured are empty.
    """

    ids: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    files: tuple[int, ...] = ()
    markers: tuple[int, ...] = ()
    workers: tuple[int, ...] = ()
    setup_ns: tuple[int, ...] = ()
    call_ns: tuple[int, ...] = ()
    self_ns: tuple[int, ...] = ()
    cpu_ns: tuple[int, ...] = ()
    teardown_ns: tuple[int, ...] = ()
    rss_bytes: tuple[int, ...] = ()
    peak_bytes: tuple[int, ...] = ()
    kept_bytes: tuple[int, ...] = ()


class FixtureCost(msgspec.Struct, frozen=True, kw_only=True):
    """A fixture: all times that it was set up and torn down.

    `defined_in` is the file (or module) of its function, `owner` the plugin, by its name in
    `CostReport.plugins`; None where a test file or pytest itself defines it (`own` tells that it
    is pytest's). `widest` is the widest scope that what it requests allows, where that is known and
    wider than its own. Times are without the fixtures that it requests, and so not those of the test
    that happened to come first. `teardowns` counts those that did something. `histogram` holds
    (bucket, count) pairs of the times of setting up with what was requested meanwhile, see
    `DurationHistogram`; `min_ns`, `median_ns` and `max_ns` are of those.
    """

    name: str
    scope: str
    defined_in: str
    owner: str | None = None
    own: bool = False
    autouse: bool = False
    parametrized: bool = False
    widest: str = ""
    setups: int = 0
    errors: int = 0
    teardowns: int = 0
    setup_ns: int = 0
    teardown_ns: int = 0
    self_ns: int = 0
    cpu_ns: int | None = None
    share: float = 0.0
    min_ns: int | None = None
    median_ns: float | None = None
    max_ns: int | None = None
    histogram: tuple[tuple[int, int], ...] = ()


class FileCost(msgspec.Struct, frozen=True, kw_only=True):
    """A test file or a conftest file.

    `tests_ns` are the bodies of its tests, `setup_ns` and `teardown_ns` their other phases, with
    the fixtures that happened to be set up then. `collection_ns` is finding tests in it, without
    importing; `import_ns` importing it, with all that was imported below for the first time but
    plugins, which `imports` lists, the slowest first; `import_self_ns` running its own top level,
    and `import_cpu_ns` what `import_ns` took of the CPU (None: not known).
    `import_count` is how many processes imported it.
    """

    path: str
    conftest: bool = False
    tests: int = 0
    tests_ns: int = 0
    setup_ns: int = 0
    teardown_ns: int = 0
    collection_ns: int = 0
    import_ns: int = 0
    import_self_ns: int = 0
    import_cpu_ns: int | None = None
    import_count: int = 0
    rewriting_ns: int = 0
    imports: tuple[ImportCost, ...] = ()
    histogram: tuple[tuple[int, int], ...] = ()
    """(bucket, count) pairs of the bodies of its tests, see `DurationHistogram`."""


class MarkerCost(msgspec.Struct, frozen=True, kw_only=True):
    """All tests with one marker; a test with several counts for each."""

    name: str
    tests: int
    self_ns: int
    cpu_ns: int | None = None


class WorkerCost(msgspec.Struct, frozen=True, kw_only=True):
    """One process that runs tests for another.

    `startup_ns` is from the start of the process until it was recorded: the interpreter, and what was
    imported before. `idle_ns` is how long it waited for tests. `unused_ns` is not part of `wall_ns`:
    from its end to that of the last worker, None where it ran on a machine with another clock.
    `missing` says why there are no figures of it, or of a part of them; its time is then in no row.
    """

    id: str
    pid: int | None = None
    tests: int = 0
    wall_ns: int = 0
    startup_ns: int = 0
    idle_ns: int = 0
    unused_ns: int | None = None
    missing: str | None = None

    @property
    def waited_ns(self) -> int:
        """How long it had nothing to do: with what was left of the run once it had ended."""
        return self.idle_ns + (self.unused_ns or 0)

    @property
    def available_ns(self) -> int:
        """How long it was there, or could have been."""
        return self.wall_ns + (self.unused_ns or 0)


class SuiteAdvice(msgspec.Struct, frozen=True, kw_only=True):
    """Something that costs, and what to do about it.

    `kind` is plugin, fixture, test, import or idle. `saving_ns` is predicted, None where it cannot be
    told.
    """

    kind: str
    subject: str
    finding: str
    remedy: str
    saving_ns: int | None = None


class SuiteReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about where the time of a test suite went.

    `elapsed_ns` is what the user waited `until` then, `wall_ns` the same summed over all processes,
    `cpu_ns` the CPU time of all their threads; that of `parts` is without other threads than the first.
    `parts` has each `SuitePart` once; they add up to `wall_ns`. `memory` says which figure of memory
    the tests have: empty, `rss` or `exact`. `bytes_per_test` is what keeping one test takes, without
    its id. `ended` is `finished`, or what ended the session early.
    """

    pytest: str
    until: Until = Until.SUMMARY
    arguments: tuple[str, ...] = ()
    root: str = ""
    wall_ns: int
    elapsed_ns: int
    cpu_ns: int
    parts: tuple[PartCost, ...]
    test_count: int = 0
    outcomes: dict[str, int] = {}
    tests: SuiteTests
    files: tuple[FileCost, ...] = ()
    fixtures: tuple[FixtureCost, ...] = ()
    markers: tuple[MarkerCost, ...] = ()
    marker_sets: tuple[tuple[str, ...], ...] = ()
    imports: tuple[ImportCost, ...] = ()
    """The slowest of what tests and fixtures imported while they ran."""
    workers: tuple[WorkerCost, ...] = ()
    advice: tuple[SuiteAdvice, ...] = ()
    memory: str = ""
    bytes_per_test: float | None = None
    ended: str = "finished"
    incomplete: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def part(self, part: SuitePart) -> PartCost:
        """Return the cost of one part."""
        return next(each for each in self.parts if each.part is part)

    @property
    def waiting_ns(self) -> int:
        """How long the first process only waited for its workers: a part of `idle`, at no cost."""
        if not self.workers:
            return 0
        idle_ns = sum(each.self_ns for each in self.parts if each.part is SuitePart.IDLE)
        return max(0, idle_ns - sum(worker.idle_ns for worker in self.workers))

    @property
    def busy_ns(self) -> int:
        """The time of all processes without `waiting_ns`: what shares are shown of."""
        return self.wall_ns - self.waiting_ns

    def busy_parts(self) -> tuple[tuple[SuitePart, int], ...]:
        """Return the parts and their times, which add up to `busy_ns`."""
        without = {SuitePart.IDLE: self.waiting_ns}
        return tuple((each.part, each.self_ns - without.get(each.part, 0)) for each in self.parts)
