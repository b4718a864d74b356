"""The two ways to run a program: with a plugin, and without it."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pluginhost.launcher.verifying import verification_of, without_names
from pluginhost.rendering.costs import verification_lines
from pluginhost.rendering.lines import plain

WORDS = st.lists(
    st.sampled_from(["-q", "-p", "-pa", "-pb", "a", "b", "no:a", "tests", "--", "-pno:b"])
)


@pytest.mark.parametrize(
    ("words", "left", "taken_out"),
    [
        pytest.param(["-p", "a", "-q"], ["-q"], {"a"}, id="apart"),
        pytest.param(["-pa", "-q"], ["-q"], {"a"}, id="in one"),
        pytest.param(["-p", "no:a", "-pb"], ["-p", "no:a", "-pb"], set(), id="others"),
        pytest.param(["--", "-pa"], ["--", "-pa"], set(), id="no options"),
        pytest.param(["-p", "a", "-p", "a"], [], {"a"}, id="twice"),
    ],
)
def test_the_name_of_a_plugin_is_taken_out(words, left, taken_out) -> None:
    """Only where it stands for loading the plugin."""
    assert without_names(words, ["a"]) == (left, taken_out)


@given(WORDS)
def test_no_other_word_is_lost(words) -> None:
    """What is left are the words as they were; taking out nothing changes nothing."""
    assert without_names(words, ["nothing"])[0][: len(words)] == words
    left, taken_out = without_names(words, ["a"])
    assert [each for each in words if each not in ("-p", "a", "-pa")] == [
        each for each in left if each not in ("-p", "a", "-pa", "")
    ]
    assert taken_out <= {"a"}
    assert without_names(left, ["a"])[1] == set() or "-p" in words


@pytest.mark.parametrize(
    ("predicted_ns", "said"),
    [
        pytest.param(110, "within a quarter of it", id="near"),
        pytest.param(190, "within the noise", id="in the interval"),
        pytest.param(1000, "not what was saved", id="neither"),
    ],
)
def test_in_which_way_a_prediction_agrees_is_said(predicted_ns, said) -> None:
    """One of the two is said, not both."""
    with_ns = (1100, 1100, 1100, 1000, 1200, 1100, 1100, 1000)
    found = verification_of("a", "-p no:a", with_ns, (1000,) * 8, predicted_ns)
    (line,) = [
        line for line in plain(verification_lines(found)).splitlines() if "predicted" in line
    ]
    assert said in line
    assert " or " not in line
