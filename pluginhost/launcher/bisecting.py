"""Which plugin, or which of them together, make a program fail or slow? By running it without some.

Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002) over
the plugins that were seen in a first, observed run.
"""

from __future__ import annotations

import math
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple, Protocol, TypeVar

from pluginhost.errors import LaunchError
from pluginhost.figures import duration
from pluginhost.launcher.plan import Plan
from pluginhost.launcher.running import Outcome, costs, unobserved
from pluginhost.launcher.verifying import arms_of, without_names
from pluginhost.printable import printable
from pluginhost.significance import paired_interval

Item = TypeVar("Item")

_MOST_RUNS = 20
_MISSED = 0.01  # how likely a flaky failure may stay unseen in one trial
_SLOW_RUNS = 3


class Suspect(NamedTuple):
    """A plugin that can be left out: by options of pytest, or by what managers do not register."""

    name: str
    options: tuple[str, ...]
    blocked: tuple[tuple[str, str], ...]


class Finding(NamedTuple):
    """What came of it: the plugins to blame, after so many runs, and what is to be said about it.

    `cured` says whether the trouble is gone without them. `notes` are facts, `doubts` what makes
    the finding doubtful.
    """

    culprits: tuple[Suspect, ...]
    runs: int
    suspects: int
    cured: bool
    notes: tuple[str, ...]
    doubts: tuple[str, ...]


class Judge(Protocol):
    """Tells whether the program is in trouble with some plugins left out."""

    @property
    def doubts(self) -> list[str]:
        """What makes a finding doubtful, in words."""

    def calibrate(self) -> str:
        """Look at the program with all suspects and with none; return what that says.

        Raises `LaunchError` when there is nothing to be found.
        """

    def is_bad(self, left_out: Sequence[Suspect]) -> tuple[bool, str]:
        """Return whether the trouble is there without these, and what was seen."""


def suspects_of(plan: Plan, outcome: Outcome) -> tuple[Suspect, ...]:
    """Return the plugins of an observed run that can be left out, in the order of their cost."""
    found = []
    for row in costs(plan, outcome).plugins:
        try:
            arms = arms_of(plan, row, outcome.captures)
        except LaunchError:
            continue  # it has no name by which it could be left out
        found.append(Suspect(row.name, arms.options, arms.without_blocked or ()))
    return tuple(found)


class Runs:
    """Runs the program with some plugins left out, without input and output; counts the runs."""

    def __init__(self, plan: Plan, run: Callable[..., Outcome] = unobserved) -> None:
        self._plan = plan
        self._run = run
        self.count = 0

    def one(self, left_out: Sequence[Suspect]) -> Outcome:
        """Run it once; raises KeyboardInterrupt if Ctrl-C ended it."""
        plan = self._plan
        options = [word for suspect in left_out for word in suspect.options]
        names = [word.removeprefix("no:") for word in options if word != "-p"]
        # In front they keep a plugin from being imported; behind, they undo a '-p NAME' of addopts.
        arguments, _ = without_names(plan.arguments, names)
        end = arguments.index("--") if "--" in arguments else len(arguments)
        arguments[end:end] = options
        words = [plan.interpreter, *plan.options, *options, *arguments]
        self.count += 1
        outcome = self._run(words, blocked=tuple(b for s in left_out for b in s.blocked))
        if outcome.returncode == -signal.SIGINT:
            raise KeyboardInterrupt
        return outcome


class FailureJudge:
    """Trouble is the exit code of the observed run.

    One that does not fail every time is run as often as it takes to miss its failure in one trial of a
    hundred.
    """

    def __init__(self, runs: Runs, suspects: Sequence[Suspect], code: int, *, repeat: int) -> None:
        self._runs, self._suspects, self._code, self._repeat = runs, suspects, code, repeat
        self._each = 1
        self._others: Counter[int] = Counter()

    @property
    def doubts(self) -> list[str]:
        """What makes it doubtful."""
        if not self._others:
            return []
        codes = ", ".join(str(code) for code in sorted(self._others))
        return [
            f"with some plugins left out it ended otherwise (exit code {codes}), taken for fine"
        ]

    def calibrate(self) -> str:
        """See whether it fails again, how reliably, and whether it does without any plugin."""
        runs = [self._runs.one(()).exit_code == self._code for _ in range(self._repeat)]
        if not any(runs):
            raise LaunchError(
                f"it failed once with exit code {self._code}, and in none of {self._repeat} more"
                " runs, which get no input",
                remedy="give it what it needs without standard input, or more --repeat",
            )
        said = f"it fails with exit code {self._code}"
        if not all(runs):
            rate = sum(runs) / len(runs)
            self._each = min(_MOST_RUNS, math.ceil(math.log(_MISSED) / math.log(1 - rate)))
            said += f" in {sum(runs)} of {len(runs)} runs: flaky, each trial is {self._each} runs"
        if self.is_bad(self._suspects)[0]:
            raise LaunchError(
                f"it fails without its {len(self._suspects)} plugins, too",
                remedy="the cause is elsewhere, or in a plugin that fails when it is imported",
            )
        return said

    def is_bad(self, left_out: Sequence[Suspect]) -> tuple[bool, str]:
        """Return whether it fails as it did."""
        for _ in range(self._each):
            code = self._runs.one(left_out).exit_code
            if code == self._code:
                return True, f"exit code {code}"
            if code != 0:
                self._others[code] += 1
        return False, f"exit code {code}"


class SlownessJudge:
    """Trouble is to take longer than half-way between all plugins and none.

    The two are run in turn first; when the interval of their differences does not exclude zero, there
    is nothing to find. A trial is three runs, or seven when those do not agree.
    """

    def __init__(self, runs: Runs, suspects: Sequence[Suspect], *, repeat: int) -> None:
        self._runs, self._suspects, self._repeat = runs, suspects, repeat
        self._limit_ns = 0.0
        self._unsure = 0

    @property
    def doubts(self) -> list[str]:
        """What makes it doubtful."""
        if not self._unsure:
            return []
        return [f"{self._unsure} trials had runs on both sides of the limit; the majority counted"]

    def calibrate(self) -> str:
        """Measure with all and with none, in turn."""
        pairs = []
        for number in range(self._repeat):
            order = ((), self._suspects) if number % 2 else (self._suspects, ())
            times = {len(left_out): self._runs.one(left_out).wall_ns for left_out in order}
            pairs.append((times[0], times[len(self._suspects)]))
        gained, low, high, confidence = paired_interval([a - b for a, b in pairs])
        if low <= 0:
            raise LaunchError(
                f"without its {len(self._suspects)} plugins it is {duration(round(abs(gained)))}"
                f" {'faster' if gained > 0 else 'slower'}, which is within the noise",
                remedy="there is nothing to find, or more --repeat is needed",
            )
        slow, fast = (median(times) for times in zip(*pairs, strict=True))
        self._limit_ns = (slow + fast) / 2
        return (
            f"plugins cost it {duration(round(gained))} of {duration(round(slow))}, between"
            f" {duration(round(low))} and {duration(round(high))} ({confidence:.0%} confidence)"
        )

    def is_bad(self, left_out: Sequence[Suspect]) -> tuple[bool, str]:
        """Return whether it is slow."""
        times = [self._runs.one(left_out).wall_ns for _ in range(_SLOW_RUNS)]
        if len({time > self._limit_ns for time in times}) > 1:
            times += [self._runs.one(left_out).wall_ns for _ in range(_SLOW_RUNS + 1)]
            self._unsure += 1
        middle = median(times)
        return middle > self._limit_ns, duration(round(middle))


def bisected(
    suspects: Sequence[Suspect], judge: Judge, runs: Runs, tell: Callable[[str], None]
) -> Finding:
    """Return the plugins to blame: with them alone the trouble is there, without any of them not.

    `tell` is given a line for each trial. Raises what `judge.calibrate` does.
    """
    if not suspects:
        raise LaunchError(
            "it has no plugins that could be left out", remedy="see 'pluginhost profile'"
        )
    notes = [judge.calibrate()]
    tell(notes[0])
    known: dict[frozenset[str], bool] = {}

    def bad_with(chosen: Sequence[Suspect]) -> bool:
        names = frozenset(suspect.name for suspect in chosen)
        if names not in known:
            left_out = [suspect for suspect in suspects if suspect.name not in names]
            known[names], seen = judge.is_bad(left_out)
            word = "yes" if known[names] else "no"
            tell(f"with {len(names)} of {len(suspects)} plugins: {word} ({seen})")
        return known[names]

    culprits = minimal(tuple(suspects), bad_with)
    still, seen = judge.is_bad(culprits)
    tell(f"without {', '.join(printable(c.name, 40) for c in culprits)}: {seen}")
    doubts = list(judge.doubts)
    if still:
        doubts.append("the trouble is there without them as well: there is more than one cause")
    return Finding(culprits, runs.count, len(suspects), not still, tuple(notes), tuple(doubts))


def minimal(items: tuple[Item, ...], is_bad: Callable[[Sequence[Item]], bool]) -> tuple[Item, ...]:
    """Return items that are bad together, of which none can be left out; all items must be bad."""
    parts = 2
    while len(items) > 1:
        chunks = [items[i * len(items) // parts : (i + 1) * len(items) // parts]
                  for i in range(parts)]  # fmt: skip
        rests = [tuple(x for x in items if x not in chunk) for chunk in chunks]
        smaller = next((chunk for chunk in chunks if is_bad(chunk)), None)
        if smaller is not None:
            items, parts = smaller, 2
            continue
        rest = next((rest for rest in rests if parts > 2 and is_bad(rest)), None)
        if rest is not None:
            items, parts = rest, max(parts - 1, 2)
        elif parts < len(items):
            parts = min(len(items), 2 * parts)
        else:
            break
    return items
