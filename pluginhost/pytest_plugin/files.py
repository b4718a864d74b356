"""The files that a profile is written to: a function for each option that names one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pluginhost.report import Report


def _save(report: Report, file: Path) -> None:
    from pluginhost.report import write_report

    write_report(report, file)


def _export(report: Report, file: Path, name: str) -> None:
    from pluginhost.exporters import export

    made = export(name, report)
    file.write_bytes(made if isinstance(made, bytes) else made.encode("utf-8", "backslashreplace"))


def _html(report: Report, file: Path) -> None:
    _export(report, file, "html")


def _speedscope(report: Report, file: Path) -> None:
    _export(report, file, "speedscope")


WRITERS: dict[str, Callable[[Report, Path], None]] = {
    "json": _save,
    "save": _save,
    "html": _html,
    "speedscope": _speedscope,
}
"""By option; each may be called again, when more is known."""
