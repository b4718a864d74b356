"""Each test file and conftest file: its tests, collecting it, importing it and all that brings along."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pluginhost.attribution.partition import Node
from pluginhost.calltree import EventKind
from pluginhost.capture import ENTRY_POINT, CallRecord
from pluginhost.costs import ImportCost
from pluginhost.histogram import DurationHistogram
from pluginhost.pytest_plugin.parts import Parts, Placed
from pluginhost.pytest_plugin.sections import COLLECTING, REWRITING
from pluginhost.pytest_plugin.table import stretches
from pluginhost.suite import FileCost, SuitePart, SuiteTests

_SHOWN_IMPORTS = 10
_OF_FILES = (EventKind.SECTION, EventKind.MODULE_IMPORT)
"""Kinds of calls that may be of another file than their caller."""


class _File:
    def __init__(self) -> None:
        self.figures: defaultdict[str, int] = defaultdict(int)
        self.has_cpu = False
        self.modules: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])


class FilesSeen:
    """What call paths say of files; `root` is what their names are relative to."""

    def __init__(self, parts: Parts, root: str) -> None:
        self._root = root
        self._files: defaultdict[str, _File] = defaultdict(_File)
        self.elsewhere: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        """Modules that tests and fixtures imported while they ran: inclusive and self times."""
        for placed in parts.placed:
            self._take(placed)

    def rows(
        self, tests: SuiteTests, names: Sequence[str], *, in_full: bool
    ) -> tuple[FileCost, ...]:
        """Return a row for each of `names`, which `tests.files` count, and then the other files.

        Only those `in_full` have histograms.
        """
        of_tests: dict[str, dict[str, Any]] = {
            name: {"tests": 0, "tests_ns": 0, "setup_ns": 0, "teardown_ns": 0, "bodies": []}
            for name in names
        }
        for position, where in stretches(tests.files):
            row, bodies = of_tests[names[position]], tests.self_ns[where]
            row["tests"] += len(bodies)
            row["tests_ns"] += sum(bodies)
            row["setup_ns"] += sum(tests.setup_ns[where])
            row["teardown_ns"] += sum(tests.teardown_ns[where])
            if in_full:
                row["bodies"] += bodies
        return tuple(
            self._row(name, of_tests.get(name, {}))
            for name in dict.fromkeys((*names, *self._files))
        )

    def _row(self, name: str, of_tests: Mapping[str, Any]) -> FileCost:
        found = self._files[name] if name in self._files else _File()
        figures = found.figures
        histogram = DurationHistogram()
        histogram.add_all([ns for ns in of_tests.get("bodies", ()) if ns > 0])
        return FileCost(
            path=name,
            conftest=_is_conftest(name),
            tests=of_tests.get("tests", 0),
            tests_ns=of_tests.get("tests_ns", 0),
            setup_ns=of_tests.get("setup_ns", 0),
            teardown_ns=of_tests.get("teardown_ns", 0),
            collection_ns=figures["collection_ns"],
            import_ns=figures["import_ns"],
            import_self_ns=figures["import_self_ns"],
            import_cpu_ns=max(0, figures["import_cpu_ns"]) if found.has_cpu else None,
            import_count=figures["import_count"],
            rewriting_ns=figures["rewriting_ns"],
            imports=slowest(found.modules),
            histogram=histogram.buckets(),
        )

    def _take(self, placed: Iterable[Placed]) -> None:
        """Give each import, collection and rewriting to the file that it is below."""
        files: dict[int, str | None] = {-1: None}
        within: set[int] = set()  # imports that are below one of the same file
        plugins: set[int] = set()  # of those, what is a plugin's, which has a row of its own
        imported: set[str | None] = set()
        for each in placed:
            node, part = each.node, each.part
            record = node.record
            file = files[node.position] = self._file_of(record, files.get(record.parent))
            if node.apart is not None:
                continue
            if record.kind is EventKind.SECTION and record.hook.startswith(COLLECTING):
                kept = file if file and _has_suffix(file) else "."  # folders have one row
                self._files[kept].figures["collection_ns"] += node.self_ns
            elif record.hook == REWRITING and file is not None:
                self._files[file].figures["rewriting_ns"] += node.self_ns
                within.add(node.position)
            elif record.kind is EventKind.MODULE_IMPORT and part is SuitePart.IMPORTS:
                outermost = record.parent not in within
                within.add(node.position)
                imported.add(file)
                self._import(file, node, outermost)
            elif record.parent in within:
                within.add(node.position)
                if part is SuitePart.PLUGINS:
                    plugins.add(node.position)
                    self._leave_out(file, record, within=record.parent in plugins)
        for file in filter(None, imported):  # again and again it is only looked up
            self._files[file].figures["import_count"] += 1

    def _leave_out(self, name: str | None, plugins: CallRecord, *, within: bool) -> None:
        """Take what a plugin took off the import of a file, unless more of it was taken off."""
        if name is not None and not within:
            self._files[name].figures["import_ns"] -= plugins.total_ns
            self._files[name].figures["import_cpu_ns"] -= plugins.cpu_ns or 0

    def _import(self, name: str | None, node: Node, outermost: bool) -> None:
        module = node.record.hook
        if name is None:
            if not module.startswith(ENTRY_POINT):
                _count(self.elsewhere[module], node)
            return
        file = self._files[name]
        if outermost:
            file.figures["import_ns"] += node.record.total_ns
            file.figures["import_cpu_ns"] += node.record.cpu_ns or 0
            file.has_cpu = file.has_cpu or node.record.cpu_ns is not None
            file.figures["import_self_ns"] += node.self_ns
        elif module.rpartition(".")[2] == "conftest" and _is_conftest(name):
            file.figures["import_self_ns"] += node.self_ns  # pytest imports the file as a module
        else:
            _count(file.modules[module], node)

    def _file_of(self, record: CallRecord, above: str | None) -> str | None:
        if record.kind not in _OF_FILES:
            return above
        hook = record.hook
        if record.kind is EventKind.SECTION:
            return hook.removeprefix(COLLECTING) if hook.startswith(COLLECTING) else None
        if _is_conftest(hook):
            path = Path(hook)
            inside = path.is_relative_to(self._root)
            return path.relative_to(self._root).as_posix() if inside else hook
        return above


def _is_conftest(name: str) -> bool:
    return name.endswith("conftest.py") and Path(name).name == "conftest.py"


def _has_suffix(node_id: str) -> bool:
    return "." in node_id.rpartition("/")[2].strip(".")


def slowest(modules: Mapping[str, Sequence[int]]) -> tuple[ImportCost, ...]:
    """Return the slowest imports, with all below them."""
    rows = sorted(modules.items(), key=lambda item: (-item[1][0], item[0]))
    return tuple(
        ImportCost(module=name, inclusive_ns=total_ns, self_ns=self_ns)
        for name, (total_ns, self_ns) in rows[:_SHOWN_IMPORTS]
    )


def _count(figures: list[int], node: Node) -> None:
    figures[0] += node.record.total_ns
    figures[1] += node.self_ns
