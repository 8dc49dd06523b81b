"""Accuracy against cost over the steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tadshrink.report.drawing import PAINT, new_figure
from tadshrink.report.findings import Findings, Model
from tadshrink.report.wording import amount

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: What accuracy is shown against: title, and how a model is placed.
_AGAINST: tuple[tuple[str, Callable[[Model], float | None]], ...] = (
    ("MACs of one window", lambda model: model.macs),
    ("measured speed-up over the baseline", lambda model: model.speedup),
)
#: Smallest height of the axis in points of mAP: noise is not to look like a cliff.
_SPAN = 3.0
#: Most steps that are labelled on a narrow screen.
_LABELS = 12


def draw(findings: Findings, wide: bool) -> list[Figure]:
    """Held-out mAP of every model, and test mAP of the first and the last one, against MACs and against the measured speed-up."""
    models = [model for model in findings.models if model.heldout is not None]
    if len(models) < 2:
        return []
    figure = new_figure(wide, 3.3 if wide else 5.6)
    axes = figure.subplots(*((1, 2) if wide else (2, 1)), sharey=True).ravel()
    for axis, (title, place) in zip(axes, _AGAINST, strict=True):
        _panel(axis, findings, models, place, wide)
        axis.set_xlabel(title)
        axis.grid(True)
        axis.margins(x=0.1)
    axes[0].locator_params(axis="x", nbins=6 if wide else 4)
    axes[0].xaxis.set_major_formatter(lambda macs, _: amount(macs))
    axes[0].set_ylabel("average mAP, %")
    axes[0].set_ylim(*_limits(findings, models))
    if not wide:
        axes[1].set_ylabel("average mAP, %")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=4 if wide else 1)
    return [figure]


def _panel(axis: Axes, findings: Findings, models: list[Model], place: Callable[[Model], float | None], wide: bool) -> None:
    known = [(x, model) for model in models if (x := place(model)) is not None]
    kept = [(x, model.heldout["average_map"]) for x, model in known if model.kept]
    axis.plot(*zip(*kept, strict=True), "o-", color=PAINT["after"], label="held-out videos", markersize=5)
    if taken_back := [(x, model.heldout["average_map"]) for x, model in known if not model.kept]:
        axis.plot(*zip(*taken_back, strict=True), "o", color=PAINT["after"], markerfacecolor="none", label="not kept", markersize=6)
    tested = [(x, model.test["average_map"]) for model in (findings.baseline, findings.final)
              if model is not None and model.test is not None and (x := place(model)) is not None]
    if tested:
        axis.plot(*zip(*tested, strict=True), "D:", color=PAINT["test"], label="test videos: baseline and final", markersize=6,
                  linewidth=1.2)
    if wide or len(known) <= _LABELS:
        for x, model in known:
            # Where the mark of the test videos is above it, below.
            below = model.test is not None and model.test["average_map"] > model.heldout["average_map"]
            axis.annotate(_label(model), (x, model.heldout["average_map"]), xytext=(0, -6 if below else 6), textcoords="offset points",
                          ha="center", va="top" if below else "bottom", fontsize=7, color=PAINT["muted"])


def _label(model: Model) -> str:
    if not model.dropped:
        return "base" if model.name == "baseline" else model.name
    return str(model.dropped[0]) if len(model.dropped) == 1 else f"{len(model.dropped)} units"


def _limits(findings: Findings, models: list[Model]) -> tuple[float, float]:
    tests = [model.test["average_map"] for model in (findings.baseline, findings.final) if model is not None and model.test is not None]
    values = [*(model.heldout["average_map"] for model in models), *tests]
    low, high = min(values), max(values)
    rest = max(_SPAN - (high - low), 0.25 * (high - low)) / 2
    # There is nothing above 100 %, but a mark may lie on it.
    top = min(high + rest * 1.3, 100.0 + 0.1 * rest)
    return top - (high - low) - rest * 2.3, top
