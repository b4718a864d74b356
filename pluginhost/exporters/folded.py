r"""The flame graph as folded stacks: `root;caller;callee 123`, as flamegraph.pl, inferno and others read.

The format has no way to quote: within a name `;` is written as `:`, and what is not printable, such
as a line break, as a Python escape (`\n`).
"""

from __future__ import annotations

from pluginhost.exporters.view import MAX_TEXT, stacks, view_of
from pluginhost.printable import printable
from pluginhost.report import Report


def folded_text(report: Report) -> str:
    """Return one line for each call path that took time of its own, with that time in us."""
    tree = view_of(report).tree
    if tree is None:
        return ""
    lines = (
        f"{';'.join(map(folded_name, names))} {round(node.self_ns / 1000)}\n"
        for names, node in stacks(tree)
        if node.self_ns >= 500
    )
    return "".join(lines)


def folded_name(name: str) -> str:
    """Return a name as it is written into a stack."""
    return printable(name, 12 * MAX_TEXT).replace(";", ":").strip() or "(no name)"
