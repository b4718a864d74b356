"""Running a program with and without one plugin, in turn: what does it really cost?"""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from pluginhost.attribution.advice import LEAVE_OUT
from pluginhost.capture import Capture
from pluginhost.costs import CostReport, PluginCost, Verification
from pluginhost.errors import LaunchError, PluginNotFoundError
from pluginhost.launcher.plan import Plan
from pluginhost.launcher.running import Outcome, unobserved
from pluginhost.significance import paired_interval

_NAME = re.compile(r"(?!\d+$)[^\\…]+")
_PYTEST = ("pytest", "py.test")


class Arms(NamedTuple):
    """The two ways to run: the command lines, and what managers do not register in each.

    `options` are those of pytest that leave the plugin out. `still_named` is a name by which pytest
    is told to load it all the same, from elsewhere than the command line; None if there is none.
    """

    method: str
    with_words: list[str]
    without_words: list[str]
    options: tuple[str, ...] = ()
    still_named: str | None = None
    with_blocked: tuple[tuple[str, str], ...] | None = None
    without_blocked: tuple[tuple[str, str], ...] | None = None


class Comparison(NamedTuple):
    """What is to be compared: a plugin, how to run with and without it; how the observed run ended."""

    row: PluginCost
    arms: Arms
    exit_code: int


class Verified(NamedTuple):
    """What came of it, and what makes the comparison doubtful: in words, or empty."""

    verification: Verification
    doubts: tuple[str, ...]


def comparable(plan: Plan, outcome: Outcome, costs: CostReport, plugin: str) -> Comparison:
    """Return how to compare runs with and without `plugin`, of which `costs` is the observed run.

    Errors: PluginNotFoundError if no plugin is called so, LaunchError if it cannot be left out.
    """
    row = plugin_called(plugin, costs)
    arms = arms_of(plan, row, outcome.captures)
    if arms.still_named is not None:
        raise LaunchError(
            f"its '-p {arms.still_named}' is not in the command, but in addopts or PYTEST_ADDOPTS,"
            " and a run cannot leave that out",
            plugin_id=row.name,
            remedy="take it out there, put it into the command, and verify again",
        )
    return Comparison(row, arms, outcome.exit_code)


def verified(
    comparison: Comparison, *, rounds: int, progress: Callable[[int, int], None]
) -> Verified:
    """Run `rounds` pairs with and without a plugin.

    Which of a pair comes first alternates. `progress` is told (done, total) runs. Raises
    KeyboardInterrupt if a run was ended by Ctrl-C.
    """
    row, arms = comparison.row, comparison.arms
    runs: tuple[list[Outcome], list[Outcome]] = [], []
    for number in range(2 * rounds):
        arm = number % 2 ^ number // 2 % 2  # with, without; without, with; ...
        progress(number, 2 * rounds)
        if arm == 0:
            run = unobserved(arms.with_words, blocked=arms.with_blocked)
        else:
            run = unobserved(arms.without_words, blocked=arms.without_blocked)
        if run.returncode == -signal.SIGINT:
            raise KeyboardInterrupt
        runs[arm].append(run)
    with_ns, without_ns = (tuple(run.wall_ns for run in arm) for arm in runs)
    codes = [Counter(run.exit_code for run in arm) for arm in runs]
    return Verified(
        verification_of(row.name, arms.method, with_ns, without_ns, row.saving_ns),
        tuple(_doubts(row.name, comparison.exit_code, *codes)),
    )


def verification_of(
    plugin: str,
    method: str,
    with_ns: tuple[int, ...],
    without_ns: tuple[int, ...],
    predicted_ns: int | None,
) -> Verification:
    """Return what pairs of wall times say of the saving, beside the predicted one."""
    differences = [a - b for a, b in zip(with_ns, without_ns, strict=True)]
    saved_ns, low_ns, high_ns, confidence = paired_interval(differences)
    agrees = None
    if predicted_ns is not None:
        near = abs(predicted_ns - saved_ns) <= abs(saved_ns) / 4
        agrees = near or low_ns <= predicted_ns <= high_ns
    return Verification(
        plugin=plugin,
        method=method,
        with_ns=with_ns,
        without_ns=without_ns,
        saved_ns=round(saved_ns),
        low_ns=round(low_ns),
        high_ns=round(high_ns),
        confidence=confidence,
        predicted_ns=predicted_ns,
        agrees=agrees,
    )


def plugin_called(name: str, costs: CostReport) -> PluginCost:
    """Return the row of a plugin by its name, or by that of a part or of its distribution."""
    for row in costs.plugins:
        if name == row.name:
            return row
    for row in costs.plugins:
        if name in row.parts or name == row.distribution:
            return row
    known = [row.name for row in costs.plugins]
    known += [row.distribution for row in costs.plugins if row.distribution is not None]
    near = get_close_matches(name, known, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "see the report for names"
    raise PluginNotFoundError(
        "the program has no such plugin, so nothing can be verified", plugin_id=name, remedy=hint
    )


def arms_of(plan: Plan, row: PluginCost, captures: Sequence[Capture]) -> Arms:
    """Return how to run the program with and without a plugin."""
    blocked = _left_out(row, captures)
    if not blocked:
        raise LaunchError(
            "it has no name in its manager by which it could be left out",
            plugin_id=row.name,
            remedy="verify another plugin",
        )
    names = [name for _, name in blocked]
    remedy = row.remedy or ""
    if plan.name in _PYTEST and remedy.startswith(("-p no:", LEAVE_OUT)):
        options = tuple(word for name in names for word in ("-p", f"no:{name}"))
        arguments, taken_out = without_names(plan.arguments, names)
        named = remedy.rpartition(" -p ")[2] if " -p " in remedy else None
        method = " ".join(options) if named is None else remedy.replace("leave", "leaving", 1)
        without = [plan.interpreter, *plan.options, *options, *arguments]
        still_named = named if named is not None and named not in taken_out else None
        return Arms(method, plan.words, without, options, still_named)
    method = f"blocked in the plugin manager: {', '.join(names)}"
    return Arms(method, plan.words, plan.words, with_blocked=(), without_blocked=blocked)


def without_names(
    arguments: Sequence[str], names: Collection[str]
) -> tuple[list[str], frozenset[str]]:
    """Return pytest's arguments without `-p NAME` of `names`, and the names that were there."""
    kept: list[str] = []
    taken_out: set[str] = set()
    words = iter(arguments)
    for word in words:
        following = [next(words, "")] if word == "-p" else []
        name = following[0] if following else word.removeprefix("-p")
        if word == "--":
            return [*kept, word, *words], frozenset(taken_out)
        if word.startswith("-p") and name.strip() in names:
            taken_out.add(name.strip())
        else:
            kept += [word, *following]
    return kept, frozenset(taken_out)


def _left_out(row: PluginCost, captures: Sequence[Capture]) -> tuple[tuple[str, str], ...]:
    """Return (project, name) of what to leave out: what entry points load, or else every part.

    What entry points load registers the other parts. Left aside are names that a manager made up,
    and those that records could not keep as they are.
    """
    parts = [
        (part.distribution is not None, manager.project, part.registered_name)
        for capture in captures
        for manager in capture.managers
        for part in manager.plugins
        if part.name in row.parts and _NAME.fullmatch(part.registered_name)
    ]
    loaded = [part for part in parts if part[0]]
    return tuple(dict.fromkeys((project, name) for _, project, name in loaded or parts))


def _doubts(
    plugin: str, observed_code: int, with_codes: Counter[int], without_codes: Counter[int]
) -> list[str]:
    doubts = []
    if set(with_codes) != set(without_codes):
        doubts.append(
            f"without {plugin} the program ends with exit code {_listed(without_codes)}, with it"
            f" {_listed(with_codes)}: it does not do the same, and the saving may be work not done"
        )
    if set(with_codes) != {observed_code}:
        doubts.append(
            f"the runs to verify, which get no input, end with exit code {_listed(with_codes)},"
            f" the observed one with {observed_code}"
        )
    return doubts


def _listed(codes: Counter[int]) -> str:
    return " or ".join(str(code) for code, _ in codes.most_common())
