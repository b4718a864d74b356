"""The section in pytest's own terminal: its colours, its width, its ways of being quiet."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pluginhost.printable import encodable, printable
from pluginhost.rendering.lines import Line, paragraph
from pluginhost.rendering.suite import suite_lines

if TYPE_CHECKING:
    from pluginhost.costs import CostReport
    from pluginhost.pytest_plugin.gate import Judgement
    from pluginhost.suite import SuiteReport

_MARKUP: dict[str, dict[str, bool]] = {
    "title": {"bold": True},
    "head": {"bold": True},
    "bad": {"red": True},
    "good": {"green": True},
    "dim": {"light": True},
    "bar": {"cyan": True},
}


class Terminal:
    """Writes to a terminal reporter, or to nobody where there is none."""

    def __init__(self, reporter: Any) -> None:
        self._reporter = reporter

    @property
    def is_aloud(self) -> bool:
        """Whether there is anybody to hear what was done."""
        return self._reporter is not None and self._reporter.verbosity >= 0

    @property
    def shows_all(self) -> bool:
        """Whether the section has all there is."""
        return self._reporter is not None and self._reporter.verbosity > 0

    def show(self, costs: CostReport, suite: SuiteReport, worked_ns: int) -> None:
        """Write the section; `worked_ns` is what it took to work it out."""
        if self._reporter is None:
            return
        verbosity = self._reporter.verbosity
        if verbosity >= 0:
            self._reporter.write_sep("=", "where the time went (pluginhost)")
        for line in suite_lines(costs, suite, verbosity=verbosity, worked_ns=worked_ns):
            self._line(line)

    def judged(self, found: Judgement, *, fails: bool) -> None:
        """Write what got slower since the baseline: a line for each culprit."""
        for culprit in found.culprits:
            word = "FAILED" if fails else "slower"
            self.failed(f"{word} {culprit}")
        if self._reporter is not None and not found.culprits:
            said = f"{found.compared} plugins, fixtures and files compared, none is slower by"
            self.said(f"{said} more than {found.share:.0%}")
        for note in found.notes:
            self.said(note)

    def said(self, text: str) -> None:
        """Write what was done."""
        if self.is_aloud:
            self._reporter.write_line(f"pluginhost: {printable(text, 500)}")

    def later(self, text: str) -> None:
        """Write what came after the section, as wide as that."""
        if self.is_aloud:
            for line in paragraph(text, lead="pluginhost: "):
                self._line(line)

    def failed(self, text: str) -> None:
        """Write what went wrong, where there is no terminal to where errors go."""
        line = f"pluginhost: {printable(text, 500)}"
        if self._reporter is not None:
            self._reporter.write_line(line, red=True)
        else:
            with suppress(OSError, ValueError):
                sys.stderr.write(f"{line}\n")

    def _line(self, line: Line) -> None:
        for text, style in line:
            self._reporter.write(self._encodable(text), **_MARKUP.get(style, {}))
        self._reporter.write_line("")

    def _encodable(self, text: str) -> str:
        """Return `text` for a terminal that may lack characters, with one sign for each.

        pytest would write escapes, of which few fit into a line.
        """
        file = getattr(getattr(self._reporter, "_tw", None), "_file", None)
        return encodable(text, getattr(file, "encoding", None) or "utf-8", others="replace")
