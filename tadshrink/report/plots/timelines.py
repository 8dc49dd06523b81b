"""What happens in a few test videos, and what the models before and after find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tadshrink.report.drawing import PAINT, bare, new_figure
from tadshrink.report.findings import Findings, Segment, Timeline
from tadshrink.report.wording import cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Most classes per video: those that are annotated first.
CLASSES = 12
#: Detections below this score are not drawn.
SCORE = 0.2
#: What is drawn of each class, from top to bottom: attribute of a timeline, colour, words.
_LANES = (("truth", "ink", "annotated"), ("baseline", "before", "baseline"), ("final", "after", "final"))
_HEIGHT = 0.26


def draw(findings: Findings, wide: bool) -> list[Figure]:
    """One for each video: a row for each class of three lanes; the fuller a bar's colour the higher its score."""
    from matplotlib.patches import Patch

    legend = [Patch(color=PAINT[colour], label=label) for _, colour, label in _LANES]
    figures = []
    for timeline in findings.timelines:
        classes = _classes(timeline)
        figure = new_figure(wide, 0.95 + 0.36 * len(classes))
        _panel(figure.subplots(), timeline, classes, wide)
        figure.legend(handles=legend, loc="outside upper left", ncols=3)
        figures.append(figure)
    return figures


def _classes(timeline: Timeline) -> list[str]:
    """Those that are annotated, by time; then those that are only found, best first."""
    found = sorted((*timeline.baseline, *timeline.final), key=lambda segment: -segment.score)
    known = [*sorted(timeline.truth, key=lambda segment: segment.start), *(segment for segment in found if segment.score >= SCORE)]
    return list(dict.fromkeys(segment.label for segment in known))[:CLASSES] or [""]


def _panel(axis: Axes, timeline: Timeline, classes: list[str], wide: bool) -> None:
    for lane, (name, colour, _) in enumerate(_LANES):
        shown = [segment for segment in getattr(timeline, name) if segment.score >= SCORE and segment.label in classes]
        for segment in shown:
            _bar(axis, segment, classes.index(segment.label) + (lane - 1) * _HEIGHT, PAINT[colour])
    axis.set_yticks(range(len(classes)), [cut(label, 28 if wide else 14) for label in classes], color=PAINT["ink"])
    axis.set(xlim=(0, timeline.duration), ylim=(len(classes) - 0.45, -0.55), xlabel="seconds")
    axis.set_title(cut(timeline.video, 80 if wide else 34))
    axis.hlines([place + 0.5 for place in range(len(classes) - 1)], 0, timeline.duration, color=PAINT["grid"], linewidth=0.5)
    axis.grid(axis="x")
    bare(axis, "left")


def _bar(axis: Axes, segment: Segment, place: float, colour: str) -> None:
    axis.barh(place, segment.end - segment.start, left=segment.start, height=_HEIGHT * 0.86, color=colour, alpha=0.2 + 0.8 * segment.score,
              linewidth=0)
