"""How much faster each model is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tadshrink.report.drawing import PAINT, bare, new_figure, on_the_right
from tadshrink.report.findings import Findings, Model
from tadshrink.report.wording import times

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(findings: Findings, wide: bool) -> list[Figure]:
    """A bar for each model: its measured speed-up; beside it a mark where it would be if time were multiply-adds."""
    models = [model for model in findings.models if model.speedup]
    if not models:
        return []
    if findings.final is not None and findings.final.speedup:
        models.append(findings.final)
    figure = new_figure(wide, 0.95 + 0.27 * len(models))
    axis, places = figure.subplots(), range(len(models))
    axis.barh(places, [model.speedup or 0.0 for model in models], height=0.62, color=[_colour(model) for model in models])
    most = max(model.speedup or 0.0 for model in models)
    on_the_right(axis, [times(model.speedup) for model in models])
    if ideal := _by_macs(findings, models):
        axis.plot(list(ideal.values()), list(ideal), "|", color=PAINT["ink"], markersize=11, markeredgewidth=1.6,
                  label="if time went with MACs")
        figure.legend(loc="outside upper left")
    axis.axvline(1, color=PAINT["muted"], linewidth=1)
    names = [f"{model.name}{'' if model.kept else ' (not kept)'}" for model in models]
    axis.set_yticks(places, names, color=PAINT["ink"])
    axis.set(ylim=(len(models) - 0.4, -0.6), xlim=(0, max(most, *ideal.values(), 1) * 1.04), xlabel="times as fast as the baseline")
    axis.grid(axis="x")
    bare(axis, "left")
    return [figure]


def _colour(model: Model) -> str:
    return PAINT["before" if model.name == "baseline" or not model.kept else "after"]


def _by_macs(findings: Findings, models: list[Model]) -> dict[int, float]:
    """By row."""
    base = findings.baseline.macs if findings.baseline is not None else None
    return {place: base / model.macs for place, model in enumerate(models) if base and model.macs}
