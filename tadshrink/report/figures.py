"""The figures of a report: what draws each, what it is called, and the numbers behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from tadshrink.checkpoint.format import trained_here
from tadshrink.compress.select_settings import METRICS
from tadshrink.report import tables
from tadshrink.report.drawing import page_style, to_svg
from tadshrink.report.findings import Findings
from tadshrink.report.html import Html, details, joined, tag
from tadshrink.report.plots import classes, cost, importance, latency, losses, timelines, tradeoff
from tadshrink.report.wording import times

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A section with a figure.

    Attributes:
        draw: for a wide screen or a narrow one; nothing where there is nothing to draw.
        caption: how to read it.
        values: the same as tables.
    """

    key: str
    title: str
    draw: Callable[[Findings, bool], list[Figure]]
    caption: Callable[[Findings], str]
    values: Callable[[Findings], Iterable[Html | None]] = lambda findings: ()


def _tradeoff(findings: Findings) -> str:
    seen = "that no model was trained on" if trained_here(findings.history) else "that no step was trained on"
    return ("Each point is a model: the baseline, then one for each step, with the number of the block that went. Held-out videos are a part "
            f"of the training split {seen}; they steer the run. The test videos were used once, at the end.")


def _importance(findings: Findings) -> str:
    ranking = next(step.ranking for step in findings.steps if step.ranking)
    frames = "" if not findings.is_run else " A frame marks what was dropped; a gap, what was gone before."
    # Of a recogniser, the metric "map" is top-1, and its ranking says so.
    metric = f"metric {ranking['metric']} ({METRICS.get('map' if ranking['metric'] == 'top1' else ranking['metric'], 'of another version')})"
    if ranking["baseline"] is None:
        return f"The score of each block: {metric}. The redder, the more it matters; colours grow with the square root.{frames}"
    return (f"How the score changes when the model does without a block: {metric}. Blue: better without it, red: worse; colours grow with the "
            f"square root of the change.{frames}")


def _losses(findings: Findings) -> str:
    return "Mean of each loss over an epoch. At the top: the training, or the number of the drop that an alignment heals."


def _classes(findings: Findings) -> str:
    rest = len(classes.changes(findings)) - classes.SHOWN
    cut = f" The {classes.SHOWN} classes that changed most of {rest + classes.SHOWN} are drawn." if rest > 0 else ""
    return f"Classes that lost most stand first.{cut} Of classes with few actions, the AP jumps easily."


def _latency(findings: Findings) -> str:
    own = findings.baseline.speedup if findings.baseline is not None else None
    noise = f" Against itself the baseline was {times(own)}: by so much such a measurement errs here." if own else ""
    device = findings.plan["device"] if findings.plan else ""
    return f"Ratio of median times per window, measured in turn with the baseline on {device}.{noise}"


def _timelines(findings: Findings) -> str:
    return (f"Of each class three lanes: annotated, found by the baseline, found by the final model. The fuller a colour, the higher the "
            f"score; detections below {timelines.SCORE:g} are left out, and so are classes beyond {timelines.CLASSES} per video.")


PLOTS = (
    Plot("tradeoff", "Accuracy against cost", tradeoff.draw, _tradeoff, lambda found: [tables.tious(found)]),
    Plot("importance", "What each block is worth", importance.draw, _importance, tables.rankings),
    Plot("losses", "Training", losses.draw, _losses, lambda found: [tables.losses(found)]),
    Plot("classes", "Classes before and after", classes.draw, _classes, lambda found: [tables.classes(found)]),
    Plot("latency", "Speed", latency.draw, _latency),
    Plot("timelines", "Detections in test videos", timelines.draw, _timelines),
    Plot("cost", "Multiply-adds by block", cost.draw, lambda found: f"Of {found.counted}. A cross marks a dropped block.",
         lambda found: [tables.parts(found)]),
)


def section(plot: Plot, findings: Findings) -> Html | None:
    """The figure in both sizes, its caption, and its numbers; None where there is nothing to draw."""
    pictures = [_pictures(plot, findings, wide) for wide in (True, False)]
    if not any(pictures):
        return None
    shown = [tag("div", *svgs, class_=size) for svgs, size in zip(pictures, ("wide", "narrow"), strict=True)]
    values = [value for value in plot.values(findings) if value is not None]
    return joined([tag("figure", *shown, tag("figcaption", plot.caption(findings))), *([details("The numbers", *values)] if values else [])])


def _pictures(plot: Plot, findings: Findings, wide: bool) -> list[Html]:
    with page_style():
        return [Html(to_svg(figure, f"{plot.key}-{number}-{'wide' if wide else 'narrow'}", escape(plot.title)))
                for number, figure in enumerate(plot.draw(findings, wide), 1)]
