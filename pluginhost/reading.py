"""The costly readings of one execution: CPU, memory, threads and tasks."""

from __future__ import annotations

import os

import msgspec

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096

RawReading = tuple[int, "bytes | int", "bytes | int", int, int, int, int, int]
"""A `Reading` as it is taken: a plain tuple, with the memory gauge not yet parsed."""


OTHERS_TOLERANCE_NS = 50_000
"""CPU time of others during an execution up to which it counts as undisturbed."""


class Reading(msgspec.Struct, frozen=True, gc=False):
    """The costly readings of one sampled execution; see `Reading.of`.

    The resident set is a gauge of the whole process. Where `overlapped` is true, other threads or
    asyncio tasks ran meanwhile, and its change says nothing certain about the plugin.
    """

    cpu_ns: int
    rss_before_bytes: int
    rss_after_bytes: int
    others_cpu_ns: int
    threads_before: int
    threads_after: int
    tasks_before: int
    tasks_after: int

    @classmethod
    def of(cls, raw: RawReading) -> Reading:
        """Return a reading as it is taken with its gauges in bytes."""
        return cls(raw[0], resident_bytes(raw[1]), resident_bytes(raw[2]), *raw[3:])

    @property
    def overlapped(self) -> bool:
        """Whether others used the CPU meanwhile for longer than the clocks can be off."""
        return self.others_cpu_ns > OTHERS_TOLERANCE_NS


class ProcessReading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one execution took in a process of its own, in which nothing else ran: exact.

    `peak_rss_bytes` is the most that the process held meanwhile. Memory and threads are None when
    the process ended before it could tell; then `exit_status` says how, as in "SIGSEGV" or
    "exit code 3".
    """

    cpu_ns: int
    peak_rss_bytes: int | None = None
    rss_before_bytes: int | None = None
    rss_after_bytes: int | None = None
    threads_before: int | None = None
    threads_after: int | None = None
    exit_status: str | None = None

    def as_text(self) -> dict[str, str]:
        """Return what is known, by name, as the metadata of an event have it."""
        known = msgspec.structs.asdict(self).items()
        return {name: str(value) for name, value in known if value is not None}


def resident_bytes(raw: bytes | int) -> int:
    """Return the resident set in bytes from a line of /proc/self/statm, or as already counted."""
    return raw if isinstance(raw, int) else int(raw.split(b" ", 2)[1]) * _PAGE_BYTES
