"""What goes on inside of one plugin: what to look at, and what a sampling profiler saw there.

Durations are in ns, sizes in bytes. Everything in a profile is an estimate from samples.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from pluginhost.errors import InvalidValueError


class Kind(StrEnum):
    """What to look at inside of a plugin."""

    TIME = "time"
    MEMORY = "memory"


ANY = "*"
"""Instead of a plugin's id: the first whose execution takes too long."""


_MOST = {Kind.TIME: 1000, Kind.MEMORY: 20}


class Inside:
    """Which plugin to look into, for what, and when.

    `plugin_id` may be `"*"` with `over_s`: the first plugin with an execution of more seconds than
    that. With `over_s`, profiling begins after the first execution that took longer; without, at
    once. Every second execution is profiled, the first included, `most` of them at most (1,000 for
    time, 20 for memory). `interval_s` is how far apart samples are; for short executions it is
    lowered to a tenth of their length, to 50 us at the least.
    """

    def __init__(
        self,
        plugin_id: str,
        *,
        kind: str = "time",
        over_s: float | None = None,
        most: int | None = None,
        interval_s: float = 0.001,
    ) -> None:
        if kind not in list(Kind):
            raise InvalidValueError(
                f"the kind of an in-plugin profile is {kind!r}", remedy="give time or memory"
            )
        if plugin_id == ANY and over_s is None:
            raise InvalidValueError(
                "which plugin to look into is not said",
                remedy="give its id, or over_s: the first whose execution takes longer",
            )
        if over_s is not None and not 0 <= over_s < float("inf"):
            raise InvalidValueError(f"over_s is {over_s!r}", remedy="give seconds, 0 or more")
        if not 0.00005 <= interval_s <= 10:
            raise InvalidValueError(
                f"the sampling interval is {interval_s!r}", remedy="give 0.00005 to 10 seconds"
            )
        if most is not None and most < 1:
            raise InvalidValueError(f"most is {most!r}", remedy="give 1 or more")
        self.plugin_id = plugin_id
        self.kind = Kind(kind)
        self.over_ns = None if over_s is None else round(over_s * 1e9)
        self.most = most if most is not None else _MOST[self.kind]
        self.interval_ns = round(interval_s * 1e9)


class InsideFrame(msgspec.Struct, frozen=True, kw_only=True):
    """A function and what was sampled in it: ns or bytes, `value` with all that it called.

    `samples` counts stacks that passed through it, or allocations. `line` is where the function
    begins, for memory the line that allocated or called.
    """

    function: str
    file: str
    line: int
    value: int
    self_value: int
    samples: int = 0
    children: tuple[InsideFrame, ...] = ()

    @property
    def label(self) -> str:
        """The function with the last two parts of its file and the line."""
        short = "/".join(self.file.replace("\\", "/").split("/")[-2:])
        if not short:
            return self.function
        return f"{self.function} ({short}:{self.line})" if self.line else f"{self.function} {short}"


class InsideProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A statistical profile of the executions of one plugin.

    `kind` is time (values are ns, summed over the executions that were profiled) or memory (bytes
    that were allocated at the peak of the one execution in which that was most). Of the
    `executions` while it was wanted, `profiled` were looked into and `skipped` could not be: another
    profile was under way. What it cost: `starting_ns` is measured (starting, stopping, adding
    up); `slowdown` is how many times as long as the others the profiled executions took, the ratio
    of medians, None where there were too few. `called_ns` is the time of samples within plugins and
    hooks that it called, which have measured nodes of their own. `failure` says why profiling
    ended before its time. `frames` are the functions it was in, the largest first.
    """

    plugin_id: str
    kind: Kind
    profiler: str
    interval_ns: int | None = None
    over_ns: int | None = None
    executions: int = 0
    profiled: int = 0
    skipped: int = 0
    failures: int = 0
    failure: str | None = None
    samples: int = 0
    value: int = 0
    called_ns: int = 0
    starting_ns: int = 0
    slowdown: float | None = None
    frames: tuple[InsideFrame, ...] = ()
