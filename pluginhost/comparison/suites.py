"""Fixtures and files of test suites in comparisons: what they took each time, and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pluginhost.suite import FixtureCost, SuiteReport


class SuiteRow(NamedTuple):
    """A fixture or a file: by which name it is known in a comparison, its times, and their sum.

    `name` ends in what the times are of, after a colon. `cpu_ns` is None where it is not known; of a
    file it is that of the bodies, and `import_cpu_ns` that of importing it.
    """

    name: str
    histogram: Iterable[tuple[int, int]]
    errors: int
    self_ns: int
    import_ns: int
    cpu_ns: int | None
    import_cpu_ns: int | None = None

    @property
    def subject(self) -> str:
        """What it is, without what the times are of."""
        return self.name.rpartition(":")[0]


def suite_rows(suite: SuiteReport | None) -> Iterator[SuiteRow]:
    """Yield the fixtures that are not pytest's own, and the files; nothing without a suite.

    A conftest file is a plugin, whose row has its import; it is a file only if it has tests.
    """
    if suite is None:
        return
    cpu_ns: Counter[int] = Counter()
    for position, ns in zip(suite.tests.files, suite.tests.cpu_ns, strict=False):
        cpu_ns[position] += ns
    for row in suite.fixtures:
        if not row.own:
            name = f"fixture {row.name} ({_where(row)}):set up"
            yield SuiteRow(name, row.histogram, row.errors, row.self_ns, 0, row.cpu_ns)
    for number, file in enumerate(suite.files):
        if file.conftest and not file.tests:
            continue
        taken_ns = file.tests_ns + file.import_ns + file.collection_ns
        name = f"file {file.path}:test body"
        yield SuiteRow(
            name,
            file.histogram,
            0,
            taken_ns,
            file.import_ns,
            cpu_ns.get(number),
            file.import_cpu_ns,
        )


def _where(row: FixtureCost) -> str:
    return row.owner or row.defined_in
