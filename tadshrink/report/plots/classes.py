"""Average precision of every class, before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tadshrink.report.drawing import PAINT, bare, new_figure, on_the_right
from tadshrink.report.findings import Findings
from tadshrink.report.wording import cut, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Most classes that are drawn: those that changed most. The table has all.
SHOWN = 24


def changes(findings: Findings) -> list[tuple[str, float, float]]:
    """Class, and its average precision on the test split before and after; what lost most comes first."""
    before, after = (model.test["per_class"] if model is not None and model.test else {} for model in (findings.baseline, findings.final))
    return sorted(((name, before[name], after[name]) for name in before if name in after), key=lambda item: item[2] - item[1])


def draw(findings: Findings, wide: bool) -> list[Figure]:
    """A row for each class: an open dot for the baseline, a full one for the final model."""
    rows = changes(findings)
    if not rows:
        return []
    drawn = set(sorted(rows, key=lambda item: -abs(item[2] - item[1]))[:SHOWN])
    rows = [row for row in rows if row in drawn]
    figure = new_figure(wide, 0.85 + 0.24 * len(rows))
    axis, places = figure.subplots(), range(len(rows))
    axis.hlines(places, [row[1] for row in rows], [row[2] for row in rows], color=PAINT["muted"], linewidth=1.5)
    axis.plot([row[1] for row in rows], places, "o", markersize=6, markerfacecolor=PAINT["surface"], markeredgecolor=PAINT["before"],
              markeredgewidth=1.6, label="baseline")
    axis.plot([row[2] for row in rows], places, "o", markersize=6, color=PAINT["after"], label="final")
    axis.set_yticks(places, [cut(row[0], 32 if wide else 16) for row in rows], color=PAINT["ink"])
    on_the_right(axis, [number(row[2] - row[1], 1, sign=True) for row in rows])
    axis.set(ylim=(len(rows) - 0.4, -0.6), xlabel="AP on test videos, %, mean over tIoU; right: change in points")
    if not wide:
        axis.set_xlabel("test AP, %; right: change in points")
    axis.grid(axis="x")
    bare(axis, "left")
    figure.legend(loc="outside upper left", ncols=2)
    return [figure]
