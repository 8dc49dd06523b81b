"""The losses of every alignment."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from tadshrink.report.drawing import PAINT, new_figure
from tadshrink.report.findings import Findings, Step

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Largest over smallest value from which on an axis is logarithmic.
_LOG = 20
#: Most epochs that have a dot each.
_DOTS = 60


def draw(findings: Findings, wide: bool) -> list[Figure]:
    """A panel for each loss: its mean in every epoch, one training or alignment after the other."""
    steps = [step for step in findings.steps if step.curve]
    if not steps:
        return []
    names = list(dict.fromkeys(name for step in steps for epoch in step.curve for name in epoch))
    columns = min(3 if wide else 2, len(names))
    rows = ceil(len(names) / columns)
    figure = new_figure(wide, 0.3 + 1.65 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    every = ceil(len(steps) / (13 if wide else 7))
    for axis, name in zip(axes, names, strict=False):
        _panel(axis, name, steps, every)
    for axis in axes[len(names):]:
        axis.set_visible(False)
    figure.supxlabel("epochs, one training after the other", fontsize=8, color=PAINT["muted"])
    return [figure]


def _panel(axis: Axes, name: str, steps: list[Step], every: int) -> None:
    """Every so many trainings are named."""
    first, values = 1, []
    dots = "o-" if sum(len(step.curve) for step in steps) <= _DOTS else "-"
    for place, step in enumerate(steps):
        curve = [epoch[name] for epoch in step.curve if name in epoch]
        axis.plot(range(first, first + len(curve)), curve, dots, color=PAINT["loss"], markersize=3)
        values += curve
        if place:
            axis.axvline(first - 0.5, color=PAINT["grid"], linewidth=0.7)
        if place % every == 0:
            axis.annotate(step.model.name.removeprefix("drop "), (first + (len(curve) - 1) / 2, 1), xycoords=("data", "axes fraction"),
                          xytext=(0, 1), textcoords="offset points", ha="center", fontsize=7, color=PAINT["muted"])
        first += len(step.curve)
    logarithmic = min(values) > 0 and max(values) / min(values) > _LOG
    axis.set_yscale("log" if logarithmic else "linear")
    axis.set_title(f"{name} (log)" if logarithmic else name, pad=11)
    if logarithmic:
        # Powers of ten would be written as formulas.
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.yaxis.set_minor_formatter(lambda value, _: "")
    else:
        axis.set_ylim(0, max(values) * 1.08 or 1)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(axis="y")
