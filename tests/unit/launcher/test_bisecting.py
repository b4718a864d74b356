"""Finding the plugin, or the pair, that makes a program fail or slow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from pluginhost.errors import LaunchError
from pluginhost.launcher.bisecting import (
    FailureJudge,
    Runs,
    SlownessJudge,
    Suspect,
    bisected,
    minimal,
)
from pluginhost.launcher.plan import Plan
from pluginhost.launcher.running import Outcome

PLAN = Plan(("shop",), "python", ("-m", "shop"), ("x",), "shop")
NAMES = [f"plugin{i}" for i in range(12)]
SUSPECTS = [Suspect(name, (), (("shop", name),)) for name in NAMES]


class Program:
    """A program that ends with what `behave(plugins that are on)` gives: (exit code, ns)."""

    def __init__(self, behave):
        self._behave = behave

    def __call__(self, words, *, blocked):
        code, wall_ns = self._behave({*NAMES} - {name for _, name in blocked})
        return Outcome(code, 0, wall_ns)


def found(behave, *, slow=False, repeat=3, told=None):
    """Return the finding of a bisection."""
    runs = Runs(PLAN, Program(behave))
    judge = (
        SlownessJudge(runs, SUSPECTS, repeat=repeat)
        if slow
        else FailureJudge(runs, SUSPECTS, 1, repeat=repeat)
    )
    lines = [] if told is None else told
    return bisected(SUSPECTS, judge, runs, lines.append)


def names(finding):
    """Return the names of those to blame."""
    return [culprit.name for culprit in finding.culprits]


@given(data=st.data(), size=st.integers(1, 20))
def test_the_smallest_set_is_found(data, size):
    """Any set that is bad together is found, and nothing beside it."""
    items = tuple(range(size))
    bad = data.draw(st.sets(st.sampled_from(items), min_size=1, max_size=4))
    asked = []

    def is_bad(chosen):
        asked.append(chosen)
        return bad <= set(chosen)

    assert set(minimal(items, is_bad)) == bad
    assert len(asked) <= size * size + 3 * size


def test_the_one_that_makes_it_fail():
    """It is told among the others, in few runs, and that the trouble is gone without it."""
    told = []
    finding = found(lambda on: (int("plugin7" in on), 1), told=told)
    assert names(finding) == ["plugin7"]
    assert finding.cured
    assert finding.doubts == ()
    assert finding.runs < 20
    assert told[0] == "it fails with exit code 1"


def test_the_pair_that_does_so_together():
    """Neither does it alone."""
    finding = found(lambda on: (int({"plugin2", "plugin9"} <= on), 1))
    assert names(finding) == ["plugin2", "plugin9"]
    assert finding.cured


def test_two_causes():
    """One is found, and it is said that there is another."""
    finding = found(lambda on: (int("plugin2" in on or "plugin9" in on), 1))
    assert len(names(finding)) == 1
    assert not finding.cured
    assert "more than one cause" in finding.doubts[0]


def test_a_flaky_failure():
    """It is said that it is, and each trial has as many runs as that takes."""
    import random

    rng, told = random.Random(3), []
    finding = found(
        lambda on: (int("plugin4" in on and rng.random() < 0.5), 1), repeat=12, told=told
    )
    assert names(finding) == ["plugin4"]
    assert "flaky, each trial is" in told[0]


def test_another_exit_code_is_no_failure_of_this_kind():
    """A program that misses a plugin may fail for that; it is said."""
    finding = found(lambda on: (2 if "plugin0" not in on else int("plugin7" in on), 1))
    assert names(finding) == ["plugin0", "plugin7"]
    assert "exit code 2" in finding.doubts[0]


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        pytest.param(lambda on: (1, 1), "fails without its 12 plugins", id="elsewhere"),
        pytest.param(lambda on: (0, 1), "in none of 3 more runs", id="once"),
    ],
)
def test_nothing_to_be_found(behave, reason):
    """It is told why, without a search."""
    with pytest.raises(LaunchError, match=reason):
        found(behave)


def test_no_plugins():
    """There is nobody to blame."""
    runs = Runs(PLAN, Program(lambda on: (1, 1)))
    with pytest.raises(LaunchError, match="no plugins that could be left out"):
        bisected([], FailureJudge(runs, [], 1, repeat=1), runs, print)


def test_the_one_that_makes_it_slow():
    """Through noise that is a tenth of what it costs."""
    import random

    rng = random.Random(5)
    finding = found(
        lambda on: (0, round(1e8 * (1 + ("plugin5" in on) + rng.random() / 10))),
        slow=True,
        repeat=6,
    )
    assert names(finding) == ["plugin5"]
    assert finding.cured


def test_slowness_within_the_noise():
    """There is nothing to be found, and it is said."""
    import random

    rng = random.Random(5)
    with pytest.raises(LaunchError, match="within the noise"):
        found(lambda on: (0, round(1e8 * (1 + rng.random()))), slow=True, repeat=6)


def test_options_of_pytest_stand_around_the_arguments():
    """What leaves plugins out comes before anything is imported, and after what asks for them."""
    seen = []

    def run(words, *, blocked):
        seen.append((words, blocked))
        return Outcome(0, 0, 1)

    Runs(PLAN, run).one([Suspect("a", ("-p", "no:a"), ()), SUSPECTS[0]])
    expected = ["python", "-m", "shop", "-p", "no:a", "x", "-p", "no:a"]
    assert seen == [(expected, (("shop", "plugin0"),))]


SHOP = """
import sys
import pluggy

spec, impl = pluggy.HookspecMarker("shop"), pluggy.HookimplMarker("shop")
class Spec:
    @spec
    def sell(self, basket): "Put something into it."
class Seller:
    def __init__(self, name): self.name = name
    @impl
    def sell(self, basket): basket.append(self.name)
manager = pluggy.PluginManager("shop")
manager.add_hookspecs(Spec)
for name in "apple bread cheese dates eggs figs".split():
    manager.register(Seller(name), name)
basket = []
manager.hook.sell(basket=basket)
sys.exit(3 if {BAD} <= set(basket) else 0)
"""


def bisect(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder."""
    command = [sys.executable, "-m", "pluginhost", "bisect", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("bad", "first"),
    [
        pytest.param({"dates"}, "dates makes it fail", id="one"),
        pytest.param({"bread", "figs"}, "and .* together make it fail", id="pair"),
    ],
)
def test_a_real_program(tmp_path, bad, first):
    """Its plugins are blocked in its manager, and the culprit is named."""
    import re

    (tmp_path / "shop.py").write_text(SHOP.replace("{BAD}", repr(bad)))
    done = bisect(tmp_path, "--", "shop.py")
    assert done.returncode == 0, done.stderr
    assert re.search(first, done.stdout.splitlines()[0])
    assert all(name in done.stdout for name in bad)
    assert "it fails with exit code 3" in done.stderr


def test_a_real_program_that_does_not_fail(tmp_path):
    """It is told, with what to do instead."""
    (tmp_path / "shop.py").write_text(SHOP.replace("{BAD}", "{'gold'}"))
    done = bisect(tmp_path, "--", "shop.py")
    assert done.returncode != 0
    assert "it did not fail" in done.stderr
    assert "--slow" in done.stderr


@pytest.mark.slow
def test_a_real_suite(tmp_path):
    """A plugin of pytest is left out with -p no:, and found."""
    (tmp_path / "bad_plugin.py").write_text(
        "def pytest_collection_modifyitems(items):\n"
        "    raise RuntimeError('a plugin that breaks the suite')\n"
    )
    (tmp_path / "good_plugin.py").write_text("def pytest_sessionstart(): pass\n")
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
    words += ("-p", "good_plugin", "-p", "bad_plugin", "test_it.py")
    done = bisect(tmp_path, "--", sys.executable, *words)
    assert done.returncode == 0, done.stderr
    assert "bad_plugin makes it fail" in done.stdout


SLOW_SELLER = """
class Dawdler(Seller):
    @impl
    def sell(self, basket): time.sleep(0.25)
manager.unregister(name="dates")
manager.register(Dawdler("dates"), "dates")
"""


def test_a_real_program_that_is_slow(tmp_path):
    """The plugin that sleeps is found among others that do not."""
    program = SHOP.replace("{BAD}", "{'gold'}").replace("import sys\n", "import sys, time\n")
    program = program.replace("basket = []\n", f"{SLOW_SELLER}basket = []\n")
    (tmp_path / "shop.py").write_text(program)
    done = bisect(tmp_path, "--slow", "--", "shop.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "dates makes it slow", done.stderr
    assert "plugins cost it" in done.stderr


@pytest.mark.slow
def test_a_real_suite_that_is_slow(tmp_path):
    """A plugin of pytest that sleeps is found among others, and how to leave it out is said."""
    (tmp_path / "slow_plugin.py").write_text(
        "import time\ndef pytest_collection_modifyitems(items): time.sleep(1.0)\n"
    )
    names = [f"good_{number}" for number in range(3)]
    for name in names:
        (tmp_path / f"{name}.py").write_text("def pytest_sessionstart(): pass\n")
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    for name in (*names[:2], "slow_plugin", *names[2:]):
        words += ["-p", name]
    done = bisect(tmp_path, "--slow", "--", sys.executable, *words, "test_it.py")
    assert done.returncode == 0, done.stderr
    assert "slow_plugin makes it slow" in done.stdout.splitlines(), done.stderr
    assert "leave out with: -p no:slow_plugin" in " ".join(done.stdout.split())


def test_a_real_program_whose_plugins_are_not_to_blame(tmp_path):
    """Nothing is found, and the exit code says so."""
    (tmp_path / "shop.py").write_text(SHOP.replace("{BAD}", "set()"))
    done = bisect(tmp_path, "--repeat", "1", "--", "shop.py")
    assert done.returncode == 1
    assert "fails without its 6 plugins, too" in done.stderr
    assert done.stdout == ""
