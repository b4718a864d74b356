"""The profilers of others that can look into an execution: pyinstrument for time, memray for memory."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pluginhost.extras import require
from pluginhost.inside import Kind


class Place(NamedTuple):
    """A frame of a stack."""

    function: str
    file: str
    line: int


class Stack(NamedTuple):
    """A stack, the outermost frame first, with ns or bytes, and how many samples or allocations."""

    places: tuple[Place, ...]
    value: int
    samples: int


class Running(Protocol):
    """A profiler that runs around one execution."""

    def stop(self) -> None:
        """Stop it, in the thread in which it was started."""

    def stacks(self) -> Iterable[Stack]:
        """Return what it saw; called once, after `stop`."""


class FrameProfiler(Protocol):
    """Starts profilers."""

    name: str

    def start(self, interval_ns: int) -> Running | None:
        """Start one in this thread; None where one is running that must not be disturbed."""

    def is_running_here(self) -> bool:
        """Whether a profiler that this one started is running in this thread."""


class TimeProfiler:
    """Samples the stack of its thread, and of the tasks that it starts, with pyinstrument."""

    def __init__(self) -> None:
        require("pyinstrument", extra="profilers")
        from pyinstrument import Profiler
        from pyinstrument.frame import Frame
        from pyinstrument.stack_sampler import get_stack_sampler

        self.name = f"pyinstrument {version('pyinstrument')}"
        self._make: Callable[..., Any] = Profiler
        self._frame: Callable[[str], Any] = Frame
        self._sampler: Callable[[], Any] = get_stack_sampler
        self._here = threading.local()
        self._places: dict[str, Place] = {}

    def start(self, interval_ns: int) -> Running:
        """Start a profiler in this thread.

        It is told to be strict: between the moment that a task's timer or future is done and the
        task's next step, pyinstrument does not know what the task does, and would otherwise take
        for its stack whatever runs, as the steps of other tasks.

        pyinstrument prints advice about its options where the clock is slow, on the program's
        standard error and once a thread. Nobody asked for it here: it is left for those who do.
        """
        made = self._make(interval=interval_ns / 1e9, async_mode="strict")
        sampler = self._sampler()  # of this thread
        warned = sampler.has_warned_about_timing_overhead
        sampler.has_warned_about_timing_overhead = True
        try:
            made.start()
        finally:
            sampler.has_warned_about_timing_overhead = warned
        self._count(1)
        return _TimeRunning(self, made)

    def is_running_here(self) -> bool:
        """Whether one runs in this thread: there may be others in its other tasks."""
        return bool(getattr(self._here, "count", 0))

    def place(self, identifier: str) -> Place:
        """Return the frame that pyinstrument calls so."""
        # What follows the first of these characters are attributes, as the line that is executed.
        identifier = identifier.partition("\x01")[0]
        found = self._places.get(identifier)
        if found is None:
            frame = self._frame(identifier)
            file = frame.file_path or ""
            found = Place(str(frame.function), str(file), int(frame.line_no or 0))
            self._places[identifier] = found
        return found

    def _count(self, change: int) -> None:
        self._here.count = getattr(self._here, "count", 0) + change

    def stopped(self) -> None:
        """Note that one less runs in this thread."""
        self._count(-1)


class _TimeRunning:
    def __init__(self, profiler: TimeProfiler, made: Any) -> None:
        self._profiler = profiler
        self._made = made
        self._session: Any = None

    def stop(self) -> None:
        self._profiler.stopped()
        self._session = self._made.stop()

    def stacks(self) -> Iterator[Stack]:
        place = self._profiler.place
        for identifiers, seconds in self._session.frame_records:
            yield Stack(tuple(map(place, identifiers)), round(seconds * 1e9), 1)


class MemoryProfiler:
    """Records allocations with memray, of which a process can have one at a time."""

    def __init__(self) -> None:
        require("memray", extra="profilers")
        import memray

        self.name = f"memray {version('memray')}"
        self._memray: Any = memray
        self._one = threading.Lock()

    def start(self, interval_ns: int) -> Running | None:
        """Start a tracker, unless one is running."""
        if not self._one.acquire(blocking=False):
            return None
        folder = None
        try:
            folder = Path(tempfile.mkdtemp(prefix="pluginhost-inside-"))
            tracker = self._memray.Tracker(folder / "allocations.bin")
            tracker.__enter__()
        except BaseException:
            self._one.release()
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        return _MemoryRunning(self._memray, tracker, folder, self._one)

    def is_running_here(self) -> bool:
        """Whether one is running: it sets a profile function for all threads."""
        return self._one.locked()


class _MemoryRunning:
    def __init__(self, memray: Any, tracker: Any, folder: Path, one: threading.Lock) -> None:
        self._memray = memray
        self._tracker = tracker
        self._folder = folder
        self._one = one

    def stop(self) -> None:
        try:
            self._tracker.__exit__(None, None, None)
        finally:
            self._one.release()

    def stacks(self) -> Iterator[Stack]:
        try:
            with self._memray.FileReader(self._folder / "allocations.bin") as reader:
                for record in reader.get_high_watermark_allocation_records(merge_threads=False):
                    places = tuple(Place(*each) for each in reversed(record.stack_trace()))
                    yield Stack(places, int(record.size), int(record.n_allocations))
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


PROFILERS: dict[Kind, Callable[[], FrameProfiler]] = {
    Kind.TIME: TimeProfiler,
    Kind.MEMORY: MemoryProfiler,
}
