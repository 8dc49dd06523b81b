"""Mean average precision of temporal detections, by one of the :mod:`~tadshrink.evaluation.rules`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.matching import Comparison, compare
from tadshrink.evaluation.rules import ACTIVITYNET, Rule
from tadshrink.evaluation.tables import Floats, GroundTruth, Regions, flatten_detections, flatten_truth, number_videos

#: THUMOS-14 protocol.
TIOU_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True, eq=False)
class MapResult:
    """mAP in percent, 0 to 100.

    Attributes:
        average: mean over the thresholds of ``map``.
        map: tIoU threshold (ascending) -> mean over the classes that have ground truth.
        per_class: float64 [C, T], AP; NaN for classes without ground truth.
        classes: the C names.
        videos: annotated videos.
        ground_truths: segments that the rule counts.
    """

    average: float
    map: dict[float, float]
    per_class: Floats
    classes: tuple[str, ...]
    videos: int
    ground_truths: int

    @property
    def per_class_average(self) -> Floats:
        """[C], AP averaged over the thresholds; NaN for classes without ground truth."""
        return self.per_class.mean(axis=1)

    def to_json(self) -> dict[str, Any]:
        """Plain data; classes without ground truth are left out."""
        averages = zip(self.classes, self.per_class_average.tolist(), strict=True)
        return {
            "average_map": self.average,
            "map": {f"{threshold:g}": value for threshold, value in self.map.items()},
            "per_class": {label: value for label, value in averages if not np.isnan(value)},
            "videos": self.videos,
            "ground_truths": self.ground_truths,
        }


def mean_average_precision(
    ground_truth: GroundTruth,
    detections: Mapping[str, Detections],
    classes: Sequence[str],
    tiou_thresholds: Sequence[float] = TIOU_THRESHOLDS,
    rule: Rule = ACTIVITYNET,
    regions: Regions | None = None,
) -> MapResult:
    """mAP of ``detections`` at every threshold.

    By the default rule, detections of a class in all videos, by descending score (ties: later first), are matched to the
    best-overlapping segment of their video that is not taken yet; AP is the area under the interpolated precision-recall curve. A
    class with ground truth but no detection has AP 0. Detections in videos that are not annotated are false positives.

    Args:
        ground_truth: annotated videos, also those without actions.
        detections: video name -> detections in seconds, labels indexing ``classes``.
        regions: ambiguous regions of the videos, for rules that know them.

    Raises:
        UserError: nothing to compare with, or an annotated label that is not in ``classes``.
    """
    thresholds = np.unique(np.asarray(tiou_thresholds, dtype=np.float64))
    found = flatten_detections(detections, number_videos(ground_truth, detections))
    return map_result(compare(flatten_truth(ground_truth, classes, rule, regions), found, thresholds, rule), classes)


def map_result(comparison: Comparison, classes: Sequence[str]) -> MapResult:
    """mAP of detections that have been matched."""
    counts = comparison.truth.per_class(len(classes))
    table = np.full((len(classes), len(comparison.thresholds)), np.nan)
    for label, rows in class_rows(comparison, counts):
        table[label] = [
            100 * average_precision(column[column | ~comparison.neutral[rows]], counts[label], comparison.rule.interpolated)
            for column in comparison.correct[rows].T
        ]
    per_threshold = table[counts > 0].mean(axis=0)
    return MapResult(
        average=float(per_threshold.mean()),
        map=dict(zip(comparison.thresholds.tolist(), per_threshold.tolist(), strict=True)),
        per_class=table,
        classes=tuple(classes),
        videos=comparison.truth.count,
        ground_truths=int(counts.sum()),
    )


def class_rows(comparison: Comparison, counts: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64]]]:
    """Every class with ground truth, and its detections, best score first."""
    order = np.argsort(comparison.found.labels, kind="stable")
    bounds = np.searchsorted(comparison.found.labels[order], np.arange(len(counts) + 1))
    return [(label, order[bounds[label] : bounds[label + 1]]) for label in np.flatnonzero(counts).tolist()]


def average_precision(correct: NDArray[np.bool_], positives: int, interpolated: bool = True) -> float:
    """Area (0 to 1) under the precision-recall curve.

    Args:
        correct: [N], whether each detection is a true positive, best score first.
        positives: ground-truth segments, > 0.
        interpolated: make precision non-increasing first (PASCAL VOC 2010).
    """
    hits = np.flatnonzero(correct)
    precision = np.arange(1, len(hits) + 1) / (hits + 1)
    if interpolated:
        precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float(precision.sum() / positives)
