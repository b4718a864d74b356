"""What a plugin does to the process that it shares: records of event loops held up, of things kept."""

from __future__ import annotations

import msgspec


class LoopBlock(msgspec.Struct, frozen=True, kw_only=True):
    """How a plugin's code has held up event loops at one place of it.

    `hook` is the one that was called ("" for a task or callback of its own), `where` the innermost
    call. It was seen so `count` times, for `longest_ns` at least, `total_ns` in all.
    """

    hook: str
    where: str
    count: int
    longest_ns: int
    total_ns: int


class ResourceUse(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of step of a plugin has taken of the host's process, less what it gave back.

    `step` is "load", "execute" or "unload", `count` how many were looked at, in `shared_count` of which
    steps of other plugins ran, so that whose it is cannot be told. `descriptors`, `threads` and
    `children` (processes) were counted. `memory_bytes` is an estimate: what the resident set of the
    whole process grew by.
    """

    step: str
    count: int = 0
    shared_count: int = 0
    descriptors: int = 0
    threads: int = 0
    children: int = 0
    memory_bytes: int = 0
