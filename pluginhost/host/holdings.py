"""What the whole process holds: descriptors, threads, child processes, memory."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pluginhost.reading import resident_bytes

_OURS = re.compile(r"pluginhost-|asyncio_\d+$")
"""Threads that a plugin's step may begin for others: the host's own, those of a loop's executor."""

_DESCRIPTORS = "/proc/self/fd", "/dev/fd"


class Holdings(NamedTuple):
    """What there is at a moment, in words by what tells one from another.

    `rss_bytes` is the resident set of the whole process.
    """

    descriptors: Mapping[object, str]
    threads: Mapping[object, str]
    children: Mapping[object, str]
    rss_bytes: int

    def since(self, before: Holdings) -> dict[object, str]:
        """Return what was not there before, in words."""
        pairs = (
            (self.descriptors, before.descriptors),
            (self.threads, before.threads),
            (self.children, before.children),
        )
        return {key: words for now, old in pairs for key, words in now.items() if key not in old}

    def has(self, key: object) -> bool:
        """Whether something is still there."""
        return key in self.descriptors or key in self.threads or key in self.children

    def all(self) -> dict[object, str]:
        """Return all there is, in words."""
        return {**self.descriptors, **self.threads, **self.children}


NOTHING = Holdings({}, {}, {}, 0)


def holdings() -> Holdings | None:
    """Return what the process holds now; takes some 50 us on Linux, about 2 ms elsewhere.

    None if it cannot be told, for what was loaded may have changed anything: no plugin fails for it.
    """
    try:
        return _looked()
    except Exception:
        return None


def _looked() -> Holdings:
    return Holdings(
        descriptors={
            ("file", *pair): f"descriptor {pair[0]} ({pair[1]})" for pair in _descriptors()
        },
        threads={
            ("thread", thread.ident): f"thread {thread.name!r}"
            for thread in threading.enumerate()
            if thread.ident is not None and not _OURS.match(thread.name)
        },
        children={("child", pid): f"child process {pid} ({_name_of(pid)})" for pid in _children()},
        rss_bytes=_rss_bytes(),
    )


def _descriptors() -> Iterator[tuple[int, str]]:
    for folder in _DESCRIPTORS:
        try:
            names = os.listdir(folder)  # noqa: PTH208  # pathlib takes twice as long
        except OSError:
            continue
        for name in names:
            with suppress(OSError, ValueError):  # that by which the folder was read is gone
                yield int(name), os.readlink(f"{folder}/{name}")  # noqa: PTH115  # likewise
        return


def _children() -> list[int]:
    """Return the pids of the child processes; where the kernel lists them, without asking for all."""
    found: list[int] = []
    try:
        for thread in os.listdir("/proc/self/task"):  # noqa: PTH208
            text = Path(f"/proc/self/task/{thread}/children").read_text(encoding="ascii")
            found += map(int, text.split())
    except FileNotFoundError:
        import psutil  # deferred, as below: on Linux it takes longer than all of this

        return [child.pid for child in psutil.Process().children()]
    except OSError:
        return found
    return found


def _rss_bytes() -> int:
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        import psutil

        rss_bytes: int = psutil.Process().memory_info().rss
        return rss_bytes
    try:
        return resident_bytes(os.read(descriptor, 64))
    finally:
        os.close(descriptor)


def _name_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    import psutil

    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "ended"
