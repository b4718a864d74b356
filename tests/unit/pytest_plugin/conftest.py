"""`profiled` runs a suite of a few files with a profile, within this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest

from pluginhost.report import Report, read_report
from pluginhost.suite import FileCost, FixtureCost, SuitePart, SuiteReport

QUIET = ("-p", "no:cacheprovider", "-p", "no:randomly", "-p", "no:xdist", "-p", "no:cov")
OURS = ("-p", "pluginhost")


class Profiled(NamedTuple):
    """What came of a suite: its exit code, what it printed, and the profile if there is one."""

    code: int
    out: str
    report: Report | None

    @property
    def suite(self) -> SuiteReport:
        assert self.report is not None, self.out
        assert self.report.suite is not None
        return self.report.suite

    def part_ns(self, part: SuitePart) -> int:
        return self.suite.part(part).self_ns

    def fixture(self, name: str) -> FixtureCost:
        return next(row for row in self.suite.fixtures if row.name == name)

    def file(self, path: str) -> FileCost:
        return next(row for row in self.suite.files if row.path == path)

    def test(self, name: str) -> dict[str, int]:
        tests = self.suite.tests
        number = next(n for n, each in enumerate(tests.ids) if each.endswith(name))
        columns = ("setup_ns", "call_ns", "self_ns", "cpu_ns", "teardown_ns")
        return {column: getattr(tests, column)[number] for column in columns}

    def outcomes(self) -> dict[str, str]:
        tests = self.suite.tests
        ids = (each.partition("::")[2] for each in tests.ids)
        return dict(zip(ids, tests.outcomes, strict=True))


def write_suite(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")


@pytest.fixture
def profiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Profiled]]:
    """Return `run(files, *arguments, profile=True)`; only the last profile is kept."""
    known = set(sys.modules)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    # A file that is exchanged within a second by one of the same size has no byte code of its own.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    path = list(sys.path)

    def forget() -> None:
        for name in set(sys.modules) - known:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if file.startswith(str(tmp_path) + os.sep):
                del sys.modules[name]

    def run(files: Mapping[str, str], *arguments: str, profile: bool = True) -> Profiled:
        forget()
        write_suite(tmp_path, {"pytest.ini": "[pytest]\n", **files})
        saved = tmp_path / "profile.json"
        saved.unlink(missing_ok=True)
        words = [*QUIET, *OURS, f"--rootdir={tmp_path}", "--import-mode=importlib", *arguments]
        if profile:
            words += ["--plugin-profile", f"--plugin-profile-json={saved}"]
        capfd.readouterr()
        code = pytest.main(words)
        out, err = capfd.readouterr()
        report = read_report(saved) if saved.exists() else None
        return Profiled(int(code), out + err, report)

    yield run
    sys.path[:] = path
    forget()
