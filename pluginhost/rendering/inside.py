"""What was sampled inside of a plugin, the dearest functions first."""

from __future__ import annotations

from collections.abc import Iterator

from pluginhost.figures import count, duration, of, percent, size
from pluginhost.inside import InsideFrame, InsideProfile, Kind
from pluginhost.printable import printable
from pluginhost.rendering.lines import Line, more, paragraph, section

_ROWS = 10


def inside_lines(profile: InsideProfile) -> Iterator[Line]:
    """Yield what one plugin spends its time or memory on, and what looking cost."""
    name = printable(profile.plugin_id, 30)
    what = "sampled" if profile.kind is Kind.TIME else "memory at the peak"
    yield from section(f"Inside {name} ({what})")
    amount = duration if profile.kind is Kind.TIME else size
    if profile.failure is not None:
        yield from paragraph(
            f"! profiling failed, and was ended: {profile.failure}", "bad", indent=2
        )
    rows = sorted(_own(profile.frames).items(), key=lambda row: (-row[1], row[0]))
    rows = [row for row in rows if row[1] > 0]
    for label, value in rows[:_ROWS]:
        share = percent(value / max(profile.value, 1))
        yield from paragraph(f"{share:>8} {amount(value):>9}  {printable(label, 100)}", lead="  ")
    yield from more(len(rows) - _ROWS, "function")
    if not rows:
        yield (("  nothing was sampled", "dim"),)
    yield from paragraph(_how(profile), "dim", indent=2)


def _own(frames: tuple[InsideFrame, ...]) -> dict[str, int]:
    """Return the own value of each function, whoever called it."""
    found: dict[str, int] = {}
    waiting = list(frames)
    while waiting:
        frame = waiting.pop()
        found[frame.label] = found.get(frame.label, 0) + frame.self_value
        waiting += frame.children
    return found


def _how(profile: InsideProfile) -> str:
    text = f"{profile.profiler}: {count(profile.profiled)} of {of(profile.executions, 'execution')}"
    text += f", {of(profile.samples, 'sample' if profile.kind == 'time' else 'allocation')}"
    if profile.skipped:
        text += f"; {count(profile.skipped)} skipped, another profile was under way"
    text += f"; starting and adding up took {duration(profile.starting_ns)}"
    if profile.slowdown is not None:
        text += f", profiled executions took {profile.slowdown:.2f} times as long as the others"
    else:
        text += "; too few executions to tell how much profiling slows them down"
    return text
