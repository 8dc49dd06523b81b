"""Pictures, by matplotlib."""

from __future__ import annotations

from pathlib import Path

from tadshrink.evaluation.detections import Detections
from tadshrink.files import atomic_path
from tadshrink.stages.detect import Detected

#: Colours per class, repeated when there are more classes.
PALETTE = "tab10"


def plot_timelines(result: Detected, path: Path) -> None:
    """One timeline per video: a row for each class, a bar for each detection, the fuller its colour the higher its score."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(result.detections)
    rows = {name: sorted(set(result.detections[name].labels.tolist())) or [0] for name in names}
    heights = [0.6 + 0.32 * len(rows[name]) for name in names]
    figure, axes = pyplot.subplots(len(names), 1, figsize=(10, sum(heights) + 0.6 * len(names)), height_ratios=heights, squeeze=False,
                                   layout="constrained")
    for axis, name in zip(axes[:, 0], names, strict=True):
        _draw(axis, result.detections[name], rows[name], result.classes)
        axis.set(title=name, xlim=(0, result.durations[name]), xlabel="seconds")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)
    pyplot.close(figure)


def _draw(axis, found: Detections, labels: list[int], classes: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    from matplotlib import colormaps

    for (start, end), score, label in zip(found.segments.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True):
        colour = colormaps[PALETTE](label % 10)
        axis.barh(labels.index(label), end - start, left=start, height=0.7, color=colour, alpha=0.15 + 0.85 * score)
        if score >= 0.3:
            axis.text((start + end) / 2, labels.index(label), f"{score:.2f}", ha="center", va="center", fontsize=7)
    axis.set_yticks(range(len(labels)), [classes[label] for label in labels])
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.grid(axis="x", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
