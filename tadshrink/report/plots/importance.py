"""What each block was worth when it was tried without."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from tadshrink.models.units import Unit, order
from tadshrink.report.drawing import HEAT_STEPS, PAINT, new_figure
from tadshrink.report.findings import Findings, Step
from tadshrink.report.wording import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: A higher score is better for these metrics, and worse for all others.
_HIGHER = ("map", "top1")
#: Inches that a cell takes at least if its value is written into it.
_CELL = 0.42


def draw(findings: Findings, wide: bool) -> list[Figure]:
    """A row for each step, a column for each original block: the change of the score without it."""
    from matplotlib.patches import Rectangle

    steps = [step for step in findings.steps if step.ranking is not None]
    if not steps:
        return []
    columns, rows = units_of(findings, steps), [values(step) for step in steps]
    figure = new_figure(wide, 1.1 + (0.36 if wide else 0.3) * len(steps))
    axis = figure.subplots()
    largest = max((abs(value) for row in rows for value in row.values()), default=0.0)
    sign = 1 if steps[0].ranking["metric"] in _HIGHER else -1
    signed = steps[0].ranking["baseline"] is not None
    roomy = figure.get_figwidth() / (len(columns) + 2) >= _CELL
    for y, (step, row) in enumerate(zip(steps, rows, strict=True)):
        for x, unit in enumerate(columns):
            if unit in row:
                axis.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, facecolor=PAINT[_shade(sign * row[unit], largest)], linewidth=0))
                if roomy:
                    axis.text(x, y, short(row[unit], sign=signed, digits=2), ha="center", va="center", fontsize=7)
            if unit in step.model.dropped:
                axis.add_patch(Rectangle((x - 0.47, y - 0.45), 0.94, 0.9, fill=False, edgecolor=PAINT["ink"], linewidth=1.8))
    _frame(axis, columns, [step.model.name.removeprefix("drop ") for step in steps])
    return [figure]


def values(step: Step) -> dict[Unit, float]:
    """By unit (of several, the first): change of the score without it; the score itself where a metric has none of the whole model."""
    ranking: dict[str, Any] = step.ranking or {"ranking": []}
    return {item["block"]: item["score"] if item["change"] is None else item["change"] for item in ranking["ranking"]}


def units_of(findings: Findings, steps: list[Step]) -> list[Unit]:
    """All columns: every block of the model, or every half that was ever ranked."""
    ranked = {unit for step in steps for unit in values(step)} | {unit for step in steps for unit in step.model.dropped}
    whole = range(findings.depth) if all(isinstance(unit, int) for unit in ranked) else ()
    return sorted(ranked | set(whole), key=order)


def _shade(value: float, largest: float) -> str:
    """Blue where the model is better without, red where it is worse. Colours grow with the square root: one block that matters much does
    not hide the others."""
    share = (abs(value) / largest) ** 0.5 if largest and isfinite(value / largest) else 0.0
    return f"heat{round(share * HEAT_STEPS) * (1 if value >= 0 else -1)}"


def _frame(axis: Axes, columns: list[Unit], rows: list[str]) -> None:
    axis.set(xlim=(-0.6, len(columns) - 0.4), ylim=(len(rows) - 0.4, -0.6), xlabel="original block", ylabel="drop")
    every = 1 if len(columns) <= 16 else 2
    axis.set_xticks(range(0, len(columns), every), [str(unit).replace(".", ".\n", 1) for unit in columns[::every]])
    axis.set_yticks(range(len(rows)), rows)
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.tick_params(length=0)
