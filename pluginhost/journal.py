"""What records carry, beside when something began and ended, and the records of one call path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from operator import sub

import msgspec

from pluginhost.calltree import CallPath
from pluginhost.reading import ProcessReading, RawReading


class Status(StrEnum):
    """How it ended."""

    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"

    @property
    def is_error(self) -> bool:
        """Whether it counts as an error: being cancelled is nobody's fault."""
        return self is Status.ERROR or self is Status.TIMEOUT


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why something ended badly: the status, the error's type by qualified name, its message."""

    status: Status
    error_type: str | None
    error_message: str | None


class Detail(msgspec.Struct, frozen=True):
    """What only some records carry: a failure, readings, metadata, the asyncio task's name.

    `cpu_ns` is that of a hook call which failed, `process` what an execution took in a process of its
    own.
    """

    failure: Failure | None = None
    reading: RawReading | None = None
    metadata: Mapping[str, str] | None = None
    task: str | None = None
    cpu_ns: int | None = None
    process: ProcessReading | None = None


CPU_SHIFT = 20

Extra = RawReading | Detail | int | None
"""What a record carries in its last place, most executions nothing.

A hook call that returned carries whether it returned None: as a bool, or, where its CPU time is
known, as the lowest bit of an int that has above `CPU_SHIFT` bits what its CPU time is more than its
duration, in ns; it is never positive but for the clocks' being read in turn. So the sum over up to
a million calls holds both sums.
"""


class PathGroup:
    """The records of one call path within a batch, with the sums every observer asks for.

    `extras` is a column like the others, or None when no record of the batch carries any;
    `has_details` tells whether it may hold a `Detail`.
    """

    def __init__(
        self,
        path: CallPath,
        ends_ns: list[int],
        durations_ns: list[int],
        extras: list[Extra] | None,
        *,
        has_details: bool,
    ) -> None:
        self.path = path
        self.has_details = has_details
        self.ends_ns = ends_ns
        self.durations_ns = durations_ns
        self.extras = extras
        self.total_ns = sum(durations_ns)
        self.max_ns = max(durations_ns)

    def first_start_ns(self) -> int:
        """Return when the earliest of them began."""
        starts_ns: Iterator[int] = map(sub, self.ends_ns, self.durations_ns)
        return min(starts_ns)
