"""Multiply-adds by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tadshrink.report.drawing import PAINT, bare, new_figure
from tadshrink.report.findings import Findings
from tadshrink.report.wording import amount

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(findings: Findings, wide: bool) -> list[Figure]:
    """A bar for each block that is left, a gap with a cross for each that is gone."""
    cost = findings.cost
    if cost is None or not cost.blocks:
        return []
    figure = new_figure(wide, 2.3)
    axis = figure.subplots()
    axis.bar(list(cost.blocks), list(cost.blocks.values()), width=0.72, color=PAINT["after"])
    gone = [index for index in range(findings.depth) if index not in cost.blocks]
    axis.plot(gone, [max(cost.blocks.values()) / 2] * len(gone), "x", color=PAINT["muted"], markersize=6, markeredgewidth=1.6)
    every = 1 if findings.depth <= 16 else 2
    axis.set_xticks(range(0, findings.depth, every))
    axis.set(xlabel="original block", ylabel="MACs", xlim=(-0.7, findings.depth - 0.3), ylim=(0, max(cost.blocks.values()) * 1.08))
    axis.yaxis.set_major_formatter(lambda macs, _: amount(macs))
    axis.grid(axis="y")
    bare(axis, "left")
    return [figure]
