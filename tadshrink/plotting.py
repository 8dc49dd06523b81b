"""Pictures, by matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tadshrink.errors import UserError
from tadshrink.evaluation.detections import Detections
from tadshrink.files import atomic_path, check_output
from tadshrink.stages.detect import Detected

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours per class, repeated when there are more classes.
PALETTE = "tab10"
FORMATS = (".png", ".pdf", ".svg", ".jpg")
#: Most pixels of a picture from top to bottom; matplotlib draws no more than 2^16.
TALLEST = 60_000


def check_picture(path: Path | None) -> None:
    """Find out before hours of work that a picture could not be written.

    Raises:
        UserError: not a suffix of :data:`FORMATS`, or the folder cannot be written to.
    """
    if path is not None and path.suffix.lower() not in FORMATS:
        raise UserError(f"pictures cannot be written as {path.suffix or 'a file without a suffix'}", where=path,
                        fix=f"Choose one of {', '.join(FORMATS)}")
    check_output(path)


def plot_timelines(result: Detected, path: Path) -> None:
    """One timeline per video: a row for each class, a bar for each detection, the fuller its colour the higher its score.

    Raises:
        UserError: see :func:`check_picture`.
    """
    from matplotlib.figure import Figure

    check_picture(path)
    names = list(result.detections)
    rows = {name: sorted(set(result.detections[name].labels.tolist())) or [0] for name in names}
    heights = [0.6 + 0.32 * len(rows[name]) for name in names]
    inches = sum(heights) + 0.6 * len(names)
    # Not by pyplot, which would choose a window system for the whole process.
    figure = Figure(figsize=(10, inches), layout="constrained")
    axes = figure.subplots(len(names), 1, height_ratios=heights, squeeze=False)
    for axis, name in zip(axes[:, 0], names, strict=True):
        _draw(axis, result.detections[name], rows[name], result.classes)
        axis.set(xlim=(0, result.durations[name]), xlabel="seconds")
        # A dollar sign in a file name starts no formula.
        axis.set_title(name, parse_math=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=min(120, TALLEST / inches))


def _draw(axis: Axes, found: Detections, labels: list[int], classes: tuple[str, ...]) -> None:
    from matplotlib import colormaps

    for (start, end), score, label in zip(found.segments.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True):
        colour = colormaps[PALETTE](label % 10)
        axis.barh(labels.index(label), end - start, left=start, height=0.7, color=colour, alpha=0.15 + 0.85 * min(score, 1.0))
        if score >= 0.3:
            axis.text((start + end) / 2, labels.index(label), f"{score:.2f}", ha="center", va="center", fontsize=7)
    axis.set_yticks(range(len(labels)), [classes[label] for label in labels], parse_math=False)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.grid(axis="x", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
