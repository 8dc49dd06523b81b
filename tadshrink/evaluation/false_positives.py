"""What is wrong with the best detections (Alwassel et al., "Diagnosing Error in Temporal Action Detectors", ECCV 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tadshrink.evaluation.matching import Comparison, expand, grouped, temporal_iou
from tadshrink.evaluation.mean_ap import class_rows
from tadshrink.evaluation.tables import Flags, Floats, Integers

#: Detections looked at: of each class the best, this many per annotated segment of it.
TOP = 10
#: With a smaller tIoU there is nothing but background.
BACKGROUND = 0.1
#: What a detection is; "ambiguous" only by rules that know ambiguous regions.
KINDS = ("true_positive", "double_detection", "wrong_label", "localisation", "confusion", "background", "ambiguous")


@dataclass(frozen=True)
class FalsePositives:
    """How the best detections fall into :data:`KINDS` at ``tiou``, in percent of them.

    By the segment of any class that a detection overlaps best (of equal overlaps, one of its own class): with at least ``tiou`` it is
    the right class (taken by another detection: double detection) or not (wrong label); with less, but at least 0.1, the
    right class (localisation) or not (confusion); else background.

    Attributes:
        predictions: how many detections were looked at.
    """

    tiou: float
    predictions: int
    shares: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return {"tiou": self.tiou, "top": TOP, "predictions": self.predictions, **self.shares}


def false_positives(comparison: Comparison, classes: int, threshold: int) -> FalsePositives:
    """The profile at the threshold of this number."""
    counts = comparison.truth.per_class(classes)
    chosen = np.concatenate([rows[: TOP * counts[label]] for label, rows in class_rows(comparison, counts)])
    overlap, same = _best_segments(comparison, chosen)
    tiou = float(comparison.thresholds[threshold])
    reached = overlap > tiou if comparison.rule.strict else overlap >= tiou
    near = ~reached & (overlap >= BACKGROUND)
    correct = comparison.correct[chosen, threshold]
    tests = [correct, comparison.neutral[chosen], reached & same, reached, near & same, near]
    kinds = np.select(tests, [KINDS.index(name) for name in ("true_positive", "ambiguous", *KINDS[1:5])], KINDS.index("background"))
    shares = 100 * np.bincount(kinds, minlength=len(KINDS)) / max(len(chosen), 1)
    return FalsePositives(tiou, len(chosen), dict(zip(KINDS, shares.tolist(), strict=True)))


def _best_segments(comparison: Comparison, chosen: Integers) -> tuple[Floats, Flags]:
    """[N], the best overlap of each chosen detection with a segment of any class in its video, and whether the class is its own."""
    truth, found = comparison.truth, comparison.found.take(chosen)
    by_video = np.argsort(truth.videos, kind="stable")
    first, count = grouped(found.videos, truth.videos[by_video])
    detection, place = expand(first, count)
    segment = by_video[place]
    overlap = temporal_iou(found.segments[detection], truth.segments[segment], comparison.rule.min_union)
    own = np.where(found.labels[detection] == truth.labels[segment], overlap, -1)
    best, best_own = np.zeros(len(found)), np.full(len(found), -1.0)
    some, starts = count > 0, (np.cumsum(count) - count)[count > 0]
    if len(starts):
        best[some], best_own[some] = np.maximum.reduceat(overlap, starts), np.maximum.reduceat(own, starts)
    return best, best_own >= best
