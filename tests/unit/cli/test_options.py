"""Options that several commands share."""

from __future__ import annotations

import click
import pytest
from hypothesis import given, strategies as st

from pluginhost.cli.options import share


@pytest.mark.parametrize(
    ("text", "ratio"),
    [
        pytest.param("0.05", 0.05, id="a ratio"),
        pytest.param("5%", 0.05, id="percent"),
        pytest.param(" 5 % ", 0.05, id="spaces"),
        pytest.param("0", 0.0, id="nothing"),
        pytest.param("150%", 1.5, id="more than all"),
    ],
)
def test_a_share_is_a_ratio_or_percent(text: str, ratio: float) -> None:
    """Both ways of writing give the ratio."""
    assert share(text) == pytest.approx(ratio)


@pytest.mark.parametrize("text", ["", "%", "x", "-1", "nan", "inf", "5%%", "5% x", "5 percent"])
def test_what_is_no_share_is_refused(text: str) -> None:
    """With how it is written."""
    with pytest.raises(click.BadParameter, match=r"0\.05 or 5%"):
        share(text)


@given(st.text())
def test_any_text_is_a_finite_share_or_refused(text: str) -> None:
    """There is no third outcome."""
    try:
        ratio = share(text)
    except click.BadParameter:
        return
    assert 0 <= ratio < float("inf")
