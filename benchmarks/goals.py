"""What was asked, and what a run reached."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """A figure with its bound: `reached` is at most (or, with `at_least`, at least) `asked`.

    `asked` is None for a figure that is only shown. `note` says what was divided by what, and
    whether the run was too noisy to decide. `digits` are shown.
    """

    name: str
    reached: float
    asked: float | None = None
    at_least: bool = False
    note: str = ""
    unit: str = "x"
    digits: int = 3

    @property
    def met(self) -> bool | None:
        """Whether the bound is kept, None without a bound."""
        if self.asked is None:
            return None
        return self.reached >= self.asked if self.at_least else self.reached <= self.asked


def table(goals: list[Goal]) -> str:
    """Return the goals as a table of 80 columns."""
    lines = [f"{'measure':<44}{'reached':>10}{'asked':>12}  verdict", "-" * 80]
    for goal in goals:
        sign = ">=" if goal.at_least else "<="
        asked = "-" if goal.asked is None else f"{sign} {goal.asked:g} {goal.unit}"
        verdict = {True: "met", False: "NOT MET", None: "shown"}[goal.met]
        lines.append(
            f"{goal.name:<44}{goal.reached:>8.{goal.digits}g} {goal.unit}{asked:>12}  {verdict}"
        )
        if goal.note:
            lines.append(f"    {goal.note}")
    return "\n".join(lines)
