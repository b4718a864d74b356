"""Where a suite's time went: the answer first, the rows that matter, and what to do about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat

import msgspec

from pluginhost.costs import CostReport, PluginCost, PluginKind
from pluginhost.figures import apportioned, duration, of, short, size
from pluginhost.printable import fitted, printable, width_of
from pluginhost.rendering.lines import WIDTH, Line, labelled, paragraph, plain, within_width
from pluginhost.suite import FixtureCost, SuitePart, SuiteReport, Until

_PART_NAMES = {SuitePart.PYTEST: "pytest itself", SuitePart.STARTUP: "startup"}
_UNTIL: dict[Until, str] = {
    Until.SUMMARY: "until the summary",
    Until.END: "until pytest had ended",
    Until.EXIT: "until the exit",
}
_NOTABLE = 0.005
_ROWS = {"tests": 3, "fixtures": 3, "plugins": 3, "imports": 2}
_MORE_ROWS = {"tests": 20, "fixtures": 20, "plugins": 20, "imports": 20}
_ADVICE, _MORE_ADVICE = 5, 20
_LINES = 24
_LEAST_ROWS = 4  # with their heading
_MISSING = 2
_NAME_WIDTH = 42
_AND_MORE = ", ..."


class _Row(msgspec.Struct, frozen=True):
    kind: str
    name: str
    self_ns: int
    waiting_ns: int | None
    times: int


def suite_text(costs: CostReport, suite: SuiteReport, *, verbosity: int = 0) -> str:
    """Return where a suite's time went as plain text."""
    return plain(suite_lines(costs, suite, verbosity=verbosity))


def suite_lines(
    costs: CostReport, suite: SuiteReport, *, verbosity: int = 0, worked_ns: int | None = None
) -> Iterator[Line]:
    """Yield one line, at most 24, or all there is: for a verbosity below, of and above 0.

    `worked_ns` is what it took to work all of this out, where that is not a part of it.
    """
    if verbosity < 0:
        return map(within_width, _quiet(suite))
    lines = _all if verbosity > 0 else _few
    return map(within_width, lines(costs, suite, worked_ns))


def part_name(part: SuitePart) -> str:
    """Return how a part of the whole is called where it is shown."""
    return _PART_NAMES.get(part, part.value)


def answer(suite: SuiteReport) -> str:
    """Return the whole in a sentence: the parts that matter, the largest first, 100 % in all."""
    parts = suite.busy_parts()
    shares = apportioned([max(0, ns) for _, ns in parts], 100)
    shares_of = dict(zip((part for part, _ in parts), shares, strict=True))
    rest = shares_of.pop(SuitePart.UNATTRIBUTED)
    said = sorted(shares_of.items(), key=lambda pair: -pair[1])
    texts = [f"{n} % {part_name(part)}" for part, n in said if n]
    return ", ".join([*texts, f"{rest} % unattributed"])


def _quiet(suite: SuiteReport) -> Iterator[Line]:
    """Yield the answer with as many parts as there is room for."""
    whole = duration(suite.elapsed_ns)
    if suite.workers:
        whole += f" for you; of {_processes(suite)}"
    lost = sum(worker.missing is not None for worker in suite.workers)
    if lost:
        whole += f" ({lost} missing)"
    first, *others = f"{whole}: {answer(suite)}".split(", ")
    text = first
    while others and len(text) + len(others[0]) <= WIDTH - len(_AND_MORE):
        text += f", {others.pop(0)}"
    yield ((text + _AND_MORE if others else text, ""),)


def _few(costs: CostReport, suite: SuiteReport, worked_ns: int | None) -> list[Line]:
    """Return the rows that matter most, in as many lines as a tired person reads."""
    above = [*_head(suite), *_missing(suite.incomplete[:_MISSING])]
    if len(suite.incomplete) > _MISSING:
        above.append(((f"  ... and {len(suite.incomplete) - _MISSING} more: -v", "bad"),))
    below = [*_memory(suite), *_idle(suite), *_measuring(costs, suite, worked_ns)]
    left = _LINES - len(above) - len(below)
    rows = _rows(costs, suite, _ROWS)
    for shown in range(_ADVICE, 0, -1):
        advice = list(_advice(suite, shown))
        if len(advice) <= left - _LEAST_ROWS:
            break
    left -= len(advice) + 1
    costliest = sorted(rows, key=lambda row: -row.self_ns)[: max(0, left)]
    return [*above, *_table([row for row in rows if row in costliest], suite), *advice, *below]


def _all(costs: CostReport, suite: SuiteReport, worked_ns: int | None) -> Iterator[Line]:
    yield from _head(suite)
    yield from _missing(suite.incomplete)
    yield from _table(_rows(costs, suite, _MORE_ROWS), suite)
    yield from _advice(suite, _MORE_ADVICE)
    yield from _parts(suite)
    yield from _files(suite)
    yield from _markers(suite)
    yield from _memory(suite)
    yield from _workers(suite)
    yield from _measuring(costs, suite, worked_ns, more=True)
    for note in suite.notes:
        yield from labelled("note", note)


def _head(suite: SuiteReport) -> Iterator[Line]:
    yield from paragraph(answer(suite), "title")
    yield from paragraph(whole(suite), "dim")


def _missing(incomplete: Sequence[str]) -> Iterator[Line]:
    for text in incomplete:
        yield from paragraph(f"! missing: {text}", "bad", indent=2)


def _table(rows: Sequence[_Row], suite: SuiteReport) -> Iterator[Line]:
    if rows:
        yield ((f"{'':<10}{'':<{_NAME_WIDTH}}{'times':>7}{'self':>9}{'waits':>7}{'%':>5}", "head"),)
    for row in rows:
        yield _cells(row, suite.busy_ns)


def whole(suite: SuiteReport) -> str:
    """Return what the shares are of."""
    text = f"of {duration(suite.wall_ns)} {_UNTIL[suite.until]}"
    if suite.workers:
        text = f"of {_processes(suite)} {_UNTIL[suite.until]} ({duration(suite.elapsed_ns)} for you"
        if suite.waiting_ns:
            text += f"; the first only waited for {duration(suite.waiting_ns)}: not counted"
        text += ")"
    different = len(set(suite.tests.ids))
    text += f", {of(different, 'test')}"
    if different < suite.test_count:
        text += f" ({of(suite.test_count, 'run')})"
    if any(part.cpu_ns is not None for part in suite.parts):
        text += f"; CPU {duration(suite.cpu_ns)}"
    return text


def _processes(suite: SuiteReport) -> str:
    """Return the time of all processes that shares are of."""
    count = 1 + sum(1 for worker in suite.workers if worker.wall_ns)
    what = "process" if count == 1 else "processes"
    return f"{duration(suite.busy_ns)} in {count:,} {what}"


def _rows(costs: CostReport, suite: SuiteReport, limits: dict[str, int]) -> list[_Row]:
    """Return the rows of all kinds that are worth a look, each kind's costliest first."""
    found: list[_Row] = []
    least_ns = _NOTABLE * suite.busy_ns
    kinds = {
        "tests": _tests(suite, least_ns),
        "fixtures": [_fixture(row) for row in suite.fixtures],
        "plugins": [_plugin(row, suite) for row in _others(costs)],
        "imports": _imports(suite),
    }
    for kind, rows in kinds.items():
        rows.sort(key=lambda row: -row.self_ns)
        found += [row for row in rows if row.self_ns >= least_ns][: limits[kind]]
    return found


def _tests(suite: SuiteReport, least_ns: float) -> list[_Row]:
    tests = suite.tests
    long = [n for n, ns in enumerate(tests.self_ns) if ns >= least_ns]
    return [
        _Row(
            "test",
            tests.ids[n],
            tests.self_ns[n],
            tests.self_ns[n] - tests.cpu_ns[n] if tests.cpu_ns else None,
            1,
        )
        for n in long
    ]


def _fixture(row: FixtureCost) -> _Row:
    where = "pytest" if row.own else row.owner or row.defined_in
    waiting_ns = None if row.cpu_ns is None else row.self_ns - row.cpu_ns
    return _Row("fixture", f"{row.name} ({where})", row.self_ns, waiting_ns, row.setups)


def _others(costs: CostReport) -> list[PluginCost]:
    """Return the plugins but for this one."""
    return [row for row in costs.plugins if not row.name.startswith("pluginhost")]


def _plugin(row: PluginCost, suite: SuiteReport) -> _Row:
    self_ns = row.hooks_self_ns if row.kind is PluginKind.CONFTEST else row.self_ns
    if row.distribution == "pytest-xdist":
        self_ns = max(0, self_ns - suite.part(SuitePart.IDLE).self_ns)
    waiting_ns = None if row.cpu_ns is None else max(0, self_ns - row.cpu_ns)
    name = row.name if row.kind is PluginKind.CONFTEST else row.title
    return _Row("plugin", name, self_ns, waiting_ns, row.calls)


def _imports(suite: SuiteReport) -> list[_Row]:
    """Return files, and modules that were imported while fixtures and tests ran."""
    largest: dict[str, _Row] = {}
    for each in suite.imports:  # of a package, the import that has the others in it
        name = each.module.partition(".")[0]
        largest.setdefault(
            name, _Row("import", f"{each.module} (while tests run)", each.inclusive_ns, None, 1)
        )
    files = [
        _Row("import", file.path, file.import_ns, None, file.import_count) for file in suite.files
    ]
    return [*files, *largest.values()]


def _cells(row: _Row, whole_ns: int) -> Line:
    waiting_ns = row.waiting_ns or 0
    waits = short(waiting_ns) if waiting_ns > row.self_ns / 20 else ""
    share = 100 * row.self_ns / whole_ns if whole_ns else 0.0
    figures = f"{row.times:>7,}{short(row.self_ns):>9}"
    figures += f"{waits:>7}{share:>5.1f}"
    name = printable(row.name, 300)
    if row.kind == "test" and width_of(name) > _NAME_WIDTH - 1:
        name = "..." + name[-(_NAME_WIDTH - 4) :]  # which test it is stands at the end
    return ((f"{row.kind:<10}{fitted(name, _NAME_WIDTH - 1)} ", ""), (figures, ""))


def _advice(suite: SuiteReport, shown: int) -> Iterator[Line]:
    advice = suite.advice
    if not advice:
        return
    whose = ", of all processes" if suite.workers else ""
    yield ((f"What to do (savings predicted{whose})", "head"),)
    for each in advice[:shown]:
        saving = "" if each.saving_ns is None else f"{short(each.saving_ns):>8} "
        subject = printable(each.subject, 300 if each.kind == "test" else 40)
        if each.kind == "test" and width_of(subject) > 30:
            subject = "..." + subject[-27:]  # which test it is stands at the end
        text = f"{subject}: {each.finding}"
        remedy = f" -> {printable(each.remedy, 60)}"
        left = WIDTH - len(saving) - width_of(remedy)
        if left < 20:
            remedy, left = fitted(remedy, WIDTH - len(saving) - 20), 20
        yield ((saving, "good"), (fitted(text, left).rstrip(), ""), (remedy, ""))
    if len(advice) > shown:
        yield ((f"{'':>8} ... and {len(advice) - shown} more: -v", "dim"),)


def _parts(suite: SuiteReport) -> Iterator[Line]:
    yield ()
    yield ((f"{'part':<20}{'self':>10}{'CPU':>10}{'%':>8}", "head"),)
    parts = suite.busy_parts()
    shares = apportioned([max(0, ns) for _, ns in parts], 1000)
    for (part, ns), each, share in zip(parts, suite.parts, shares, strict=True):
        cpu = "-" if each.cpu_ns is None else short(each.cpu_ns)
        yield ((f"{part_name(part):<20}{short(ns):>10}{cpu:>10}{share / 10:>8.1f}", ""),)
    yield ((f"{'in all':<20}{short(suite.busy_ns):>10}{'':>10}{sum(shares) / 10:>8.1f}", "title"),)
    if suite.waiting_ns:
        yield ((f"{'waiting for workers':<20}{short(suite.waiting_ns):>10}", "dim"),)


def _files(suite: SuiteReport) -> Iterator[Line]:
    rows = sorted(suite.files, key=lambda row: -(row.tests_ns + row.import_ns + row.collection_ns))
    yield ()
    heading = f"{'tests':>7}{'bodies':>9}{'setups':>9}{'import':>9}{'collect':>9}"
    yield ((f"{'file':<37}{heading}", "head"),)
    for row in rows[:20]:
        cells = (row.tests_ns, row.setup_ns + row.teardown_ns, row.import_ns, row.collection_ns)
        figures = "".join(f"{short(ns):>9}" for ns in cells)
        yield ((f"{fitted(row.path, 36)} {row.tests:>7,}{figures}", ""),)
        for each in row.imports[:1]:
            if each.inclusive_ns >= _NOTABLE * suite.busy_ns:
                text = f"  imports {printable(each.module, 40)}, {short(each.inclusive_ns)}"
                yield ((text, "dim"),)


def _markers(suite: SuiteReport) -> Iterator[Line]:
    for row in suite.markers[:10]:
        text = f"{of(row.tests, 'test')}, {duration(row.self_ns)}"
        yield ((f"marker {printable(row.name, 40)}: {text}", ""),)


def _memory(suite: SuiteReport) -> Iterator[Line]:
    """Yield which tests need most memory, where that was measured."""
    tests = suite.tests
    if tests.peak_bytes:
        most = max(range(len(tests.ids)), key=tests.peak_bytes.__getitem__)
        keeps = max(range(len(tests.ids)), key=tests.kept_bytes.__getitem__)
        text = f"memory (tracemalloc, which makes all slower): peak {size(tests.peak_bytes[most])}"
        text += f" in {tests.ids[most]}; most kept {size(max(0, tests.kept_bytes[keeps]))}"
        yield from paragraph(f"{text} by {tests.ids[keeps]}", indent=2)
    elif tests.rss_bytes:
        last: dict[int, int] = {}
        grown = []
        for worker, now in zip(tests.workers or repeat(0), tests.rss_bytes, strict=False):
            grown.append(now - last.get(worker, now))
            last[worker] = now
        most = max(range(len(grown)), key=grown.__getitem__)
        text = f"memory (resident set): {size(max(tests.rss_bytes))} at most"
        if grown[most] > 0:
            text += f"; grew most by {size(grown[most])} in {tests.ids[most]}"
        yield from paragraph(text, indent=2)


def _idle(suite: SuiteReport) -> Iterator[Line]:
    there = [worker for worker in suite.workers if worker.wall_ns]
    if there:
        waits = ", ".join(f"{w.id} {w.waited_ns / w.available_ns:.0%}" for w in there)
        yield from paragraph(f"workers idle: {waits}", indent=2)


def _workers(suite: SuiteReport) -> Iterator[Line]:
    if suite.workers:
        heads = "".join(f"{each:>10}" for each in ("in all", "starting", "idle", "unused"))
        yield ((f"{'worker':<12}{'tests':>8}{heads}", "head"),)
    for each in suite.workers:
        name = f"{printable(each.id, 12):<12}"
        if not each.wall_ns:
            yield ((f"{name}  missing", "bad"),)
            continue
        times = (each.wall_ns, each.startup_ns, each.idle_ns, each.unused_ns)
        cells = "".join(f"{'-' if ns is None else short(ns):>10}" for ns in times)
        yield ((f"{name}{each.tests:>8,}{cells}", ""),)


def _measuring(
    costs: CostReport, suite: SuiteReport, worked_ns: int | None, *, more: bool = False
) -> Iterator[Line]:
    text = f"measuring cost {duration(suite.part(SuitePart.MEASURING).self_ns)}"
    if worked_ns is not None:
        text += f" so far, working this out {duration(worked_ns)} more"
    if more:
        if suite.bytes_per_test is not None:
            text += f"; a test takes {suite.bytes_per_test:.0f} bytes"
    else:
        if any("importing them again" in note for note in costs.notes):
            text += (
                "; early imports are estimated, with -p pluginhost as the first -p they are exact"
            )
        text += "; -v shows more"
    yield from paragraph(text, "dim", indent=2)
