"""Everything that is told of detections beside annotations: mAP, recall, kinds of errors, and how sure the figures are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tadshrink.errors import UserError
from tadshrink.evaluation.bootstrap import Interval, bootstrap
from tadshrink.evaluation.false_positives import FalsePositives, false_positives
from tadshrink.evaluation.matching import compare
from tadshrink.evaluation.mean_ap import MapResult, map_result
from tadshrink.evaluation.recall import MULTIPLES, recall
from tadshrink.evaluation.rules import Rule
from tadshrink.evaluation.tables import Floats, Found, GroundTruth, Regions, flatten_truth

#: The error profile is of this tIoU if it is among the thresholds, else of the one nearest to it.
PROFILE_TIOU = 0.5
#: Thresholds are told with so many digits after the point, and there are at most so many of them.
TIOU_DECIMALS, MOST_TIOUS = 6, 100


@dataclass(frozen=True, eq=False)
class Score:
    """Figures in percent.

    Attributes:
        result: mAP.
        recall: [K, T, C] for the :data:`~tadshrink.evaluation.recall.MULTIPLES`; NaN for classes without ground truth.
        interval: of the average mAP; ``None`` with a single video.
        detections: how many of the classes that have ground truth.
        left_aside: what -> how many annotations or detections do not count.
        counted_anyway: what -> how many odd detections count, in most cases as false positives.
    """

    rule: Rule
    result: MapResult
    recall: Floats
    false_positives: FalsePositives
    interval: Interval | None
    detections: int
    left_aside: dict[str, int] = field(default_factory=dict)
    counted_anyway: dict[str, int] = field(default_factory=dict)

    @property
    def average(self) -> float:
        """Average mAP."""
        return self.result.average

    @property
    def videos(self) -> int:
        """Annotated videos."""
        return self.result.videos

    def to_json(self) -> dict[str, Any]:
        """Plain data; classes without ground truth are left out."""
        keys = list(self.result.to_json()["map"])
        classes = [(name, row) for name, row in zip(self.result.classes, self.result.per_class.tolist(), strict=True) if row[0] == row[0]]
        return {
            "rule": self.rule.name,
            **self.result.to_json(),
            "per_class_map": {name: dict(zip(keys, row, strict=True)) for name, row in classes},
            "recall": {f"{multiple}x": dict(zip(keys, np.nanmean(table, axis=1).tolist(), strict=True))
                       for multiple, table in zip(MULTIPLES, self.recall, strict=True)},
            "false_positives": self.false_positives.to_json(),
            "confidence_interval": self.interval and self.interval.to_json(),
            "detections": self.detections,
            "left_aside": self.left_aside,
            "counted_anyway": self.counted_anyway,
        }


def score(ground_truth: GroundTruth, regions: Regions, found: Found, classes: Sequence[str], thresholds: Sequence[float], rule: Rule,
          left_aside: Mapping[str, int] | None = None, counted_anyway: Mapping[str, int] | None = None) -> Score:
    """Compare detections with annotations.

    Args:
        regions: ambiguous regions of the videos.
        found: videos numbered as :func:`~tadshrink.evaluation.tables.number_videos` does, those of ``ground_truth`` first.

    Raises:
        UserError: an annotated label that is not in ``classes``, or nothing annotated that counts.
    """
    truth = flatten_truth(ground_truth, classes, rule, regions)
    comparison = compare(truth, found, np.unique(np.asarray(thresholds, dtype=np.float64)), rule)
    profile = int(np.abs(comparison.thresholds - PROFILE_TIOU).argmin())
    result = map_result(comparison, classes)
    return Score(
        rule,
        result,
        recall(comparison, len(classes)),
        false_positives(comparison, len(classes), profile),
        bootstrap(comparison, len(classes), result.average),
        int(np.isin(comparison.found.labels, truth.labels).sum()),
        {"duplicate_annotations": truth.duplicates, "short_annotations": truth.short, **(left_aside or {})},
        dict(counted_anyway or {}),
    )


def parse_tiou(text: str) -> tuple[float, ...]:
    """tIoU thresholds of ``0.5``, ``0.5,0.75`` or ``0.3:0.7:0.1`` (both ends included), or of such parts with commas between.

    Raises:
        UserError: not such a text, a threshold that is not above 0 and at most 1, or too many.
    """
    try:
        values = [value for part in text.split(",") for value in _thresholds([float(number) for number in part.split(":")])]
    except (ValueError, ArithmeticError):
        values = []
    if not values or not all(0 < value <= 1 for value in values):
        raise UserError(f"--tiou {text!r} is not a list of thresholds above 0 and at most 1", fix="For example: 0.3:0.7:0.1, or 0.5,0.75")
    return tuple(sorted(set(values)))


def _thresholds(numbers: list[float]) -> list[float]:
    """Of a single threshold, or of first, last and step.

    Raises:
        ValueError: anything else.
    """
    first, last, step = numbers if len(numbers) == 3 else (*numbers, *numbers, 1.0)
    steps = (last - first) / step
    if not (step > 0 and 0 <= steps + 1e-9 <= MOST_TIOUS):
        raise ValueError(numbers)
    return [round(first + step * number, TIOU_DECIMALS) for number in range(int(steps + 1e-9) + 1)]
