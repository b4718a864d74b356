"""What one process that runs tests leaves behind: plain figures, from which costs are worked out."""

from __future__ import annotations

import msgspec

from pluginhost.capture import Capture


class FixtureSeen(msgspec.Struct, frozen=True, array_like=True):
    """A fixture as pytest knows it; `key` is what the call tree calls it.

    `base` is the node it is visible from. `own` tells that pytest itself defines it. `widest` is the
    widest scope that it can have for what it requests, empty if that is no wider than its own or
    cannot be told.
    """

    key: str
    name: str
    scope: str
    file: str
    module: str
    base: str
    own: bool = False
    autouse: bool = False
    parametrized: bool = False
    widest: str = ""


class Needed(msgspec.Struct, frozen=True, array_like=True):
    """What tests need of a plugin's module: a fixture, or with an empty name a class of tests."""

    module: str
    fixture: str


class Used(msgspec.Struct, frozen=True, array_like=True):
    """A plugin, by its registered name, of which something is in use: `why` says what."""

    plugin: str
    why: str


class SuiteCapture(msgspec.Struct, frozen=True, kw_only=True):
    """Everything recorded in one process of a session.

    `started_ns` is when the process was started, on the clock of `capture`; None where it did
    other things before. `earlier_cpu_ns` is the CPU time from then until it was recorded.
    `worker` is what the controlling process calls it, empty for the first; one `elsewhere` may have
    another clock.
    `columns` are the bytes of arrays of 64-bit integers of the machine, a value for each of `ids`;
    `outcomes` are positions in `OUTCOMES`, `markers` in `marker_sets`. `early` are the names of
    modules of plugins that were there before anything was recorded. Of `unclear` tests pytest's clock
    was replaced, so that setting up and tearing down have no times; `untraced` have no allocations.
    `ended` says what ended the session.
    """

    schema_version: int = 1
    capture: Capture
    started_ns: int | None = None
    earlier_cpu_ns: int = 0
    worker: str = ""
    elsewhere: bool = False
    fixtures: tuple[FixtureSeen, ...] = ()
    needed: tuple[Needed, ...] = ()
    used: tuple[Used, ...] = ()
    ids: tuple[str, ...] = ()
    outcomes: bytes = b""
    columns: dict[str, bytes] = {}
    markers: tuple[int, ...] = ()
    marker_sets: tuple[tuple[str, ...], ...] = ()
    early: tuple[str, ...] = ()
    memory: str = ""
    bytes_per_test: float | None = None
    unclear: int = 0
    untraced: int = 0
    ended: str = "finished"
