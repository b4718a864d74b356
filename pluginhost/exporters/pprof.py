"""The flame graph as a pprof profile (profile.proto, gzip), for `go tool pprof` and its kin.

See https://github.com/google/pprof/blob/main/proto/profile.proto for the fields. Only strings, integers
and packed integers occur, so a writer of these few is all there is here.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator

from pluginhost.costs import FlameGraphNode
from pluginhost.exporters.view import Row, View, stacks, view_of
from pluginhost.report import Report

SAMPLE_TYPES = (("calls", "count"), ("wall", "nanoseconds"), ("cpu", "nanoseconds"))
"""The values of a sample. `wall` is the self time of a call path: tools show that as *flat*, and add
up what is below for *cum*. `cpu` is known by row, not by call path: it hangs below `(CPU)`."""

_VARINT, _BYTES = 0, 2
_MAX = (1 << 63) - 1


def pprof_bytes(report: Report) -> bytes:
    """Return a gzipped profile: a sample for each call path, and those of CPU for each row."""
    view = view_of(report)
    return gzip.compress(_Profile(view).encoded(), mtime=0)


class _Profile:
    """A profile while it is written: tables of strings and functions that grow."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._strings: dict[str, int] = {"": 0}
        self._functions: dict[str, int] = {}

    def encoded(self) -> bytes:
        """Return the message `Profile`."""
        view = self._view
        samples = b"".join(self._samples())
        types = b"".join(
            _part(1, _number(1, self._string(kind)) + _number(2, self._string(unit)))
            for kind, unit in SAMPLE_TYPES
        )
        functions = b"".join(self._function(name, i) for name, i in self._functions.items())
        comments = [f"{key}: {value}" for key, value in view.facts] + list(view.notes)
        last = _number(9, view.created_timestamp_ns) + _number(10, view.whole_ns)
        last += _packed(13, [self._string(text) for text in comments])
        last += _number(14, self._string("wall"))
        texts = b"".join(_part(6, text.encode()) for text in self._strings)
        return types + samples + functions + texts + last

    def _samples(self) -> Iterator[bytes]:
        if self._view.tree is not None:
            for names, node in stacks(self._view.tree):
                if node.self_ns > 0 or node.call_count > 0:
                    yield self._sample(names, _values(node))
        for row in self._view.rows:
            if row.cpu_ns and row.cpu_ns > 0:
                yield self._sample(("(CPU)", _label(row)), (0, 0, row.cpu_ns))

    def _sample(self, names: tuple[str, ...], values: Iterable[int]) -> bytes:
        leaf_first = [self._location(name) for name in reversed(names)]
        return _part(2, _packed(1, leaf_first) + _packed(2, [min(v, _MAX) for v in values]))

    def _location(self, name: str) -> int:
        return self._functions.setdefault(name or "(no name)", len(self._functions) + 1)

    def _function(self, name: str, number: int) -> bytes:
        """Return a function, and the one location that it has, with the same number."""
        text = self._string(name)
        line = _part(4, _number(1, number))
        function = _number(1, number) + _number(2, text) + _number(3, text)
        return _part(4, _number(1, number) + line) + _part(5, function)

    def _string(self, text: str) -> int:
        return self._strings.setdefault(text, len(self._strings))


def _values(node: FlameGraphNode) -> tuple[int, int, int]:
    return (node.call_count, max(0, node.self_ns), 0)


def _label(row: Row) -> str:
    return f"{row.plugin}:{row.hook}" if row.hook != "execute" else row.plugin


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value) if value else b""


def _part(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content


def _packed(field: int, values: Iterable[int]) -> bytes:
    return _part(field, b"".join(map(_varint, values)))
