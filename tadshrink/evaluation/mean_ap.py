"""Mean average precision of temporal detections: ActivityNet's rule with OpenTAD's treatment of bad annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadshrink.errors import UserError
from tadshrink.evaluation.detections import Detections

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
#: video -> (start, end, label) in seconds.
GroundTruth = Mapping[str, Sequence[tuple[float, float, str]]]

#: THUMOS-14 protocol.
TIOU_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
#: Annotations of one class closer than this at both ends (seconds) count once.
DUPLICATE_TOLERANCE = 1e-3
#: Smallest union, so that two zero-length segments have tIoU 0.
MIN_UNION = 1e-8


@dataclass(frozen=True, eq=False)
class MapResult:
    """mAP in percent, 0 to 100.

    Attributes:
        average: mean over the thresholds of ``map``.
        map: tIoU threshold (ascending) -> mean over the classes that have ground truth.
        per_class: float64 [C, T], AP; NaN for classes without ground truth.
        classes: the C names.
        videos: annotated videos.
        ground_truths: segments counted, without duplicates and zero-length ones.
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


@dataclass(frozen=True)
class _Flat:
    """Segments of all videos: [N, 2] and their group, class * videos + video, as [N]; sorted by group or by rank."""

    segments: Floats
    group: Integers


def mean_average_precision(
    ground_truth: GroundTruth,
    detections: Mapping[str, Detections],
    classes: Sequence[str],
    tiou_thresholds: Sequence[float] = TIOU_THRESHOLDS,
) -> MapResult:
    """mAP of ``detections`` at every threshold, by the ActivityNet rule.

    Per class, detections of all videos by descending score (ties: later first) are matched to the best-overlapping
    segment of their video that is not taken yet; AP is the area under the interpolated precision-recall curve. A
    class with ground truth but no detection has AP 0. Detections in videos that are not annotated are false positives.

    Args:
        ground_truth: annotated videos, also those without actions.
        detections: video name -> detections in seconds, labels indexing ``classes``.

    Raises:
        UserError: nothing to compare with, or an annotated label that is not in ``classes``.
    """
    thresholds = np.unique(np.asarray(tiou_thresholds, dtype=np.float64))
    names = {name: number for number, name in enumerate(dict.fromkeys([*ground_truth, *detections]))}
    truth = _flatten_truth(ground_truth, names, classes)
    found = _flatten_detections(detections, names)
    correct = _match(found, truth, thresholds)
    counts = np.bincount(truth.group // len(names), minlength=len(classes))
    found_class = found.group // len(names)
    table = np.full((len(classes), len(thresholds)), np.nan)
    for label in np.flatnonzero(counts):
        hits = correct[found_class == label]
        table[label] = [average_precision(column, counts[label]) for column in hits.T]
    table *= 100
    per_threshold = table[counts > 0].mean(axis=0)
    return MapResult(
        average=float(per_threshold.mean()),
        map=dict(zip(thresholds.tolist(), per_threshold.tolist(), strict=True)),
        per_class=table,
        classes=tuple(classes),
        videos=len(ground_truth),
        ground_truths=int(counts.sum()),
    )


def temporal_iou(a: NDArray[Any], b: NDArray[Any]) -> Floats:
    """tIoU of segments [..., 2] with segments [..., 2], elementwise with broadcasting; 0 where both have no length."""
    shared = np.clip(np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0]), 0, None)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - shared
    return shared / np.clip(union, MIN_UNION, None)


def average_precision(correct: NDArray[np.bool_], positives: int) -> float:
    """Area (0 to 1) under the precision-recall curve, precision made non-increasing first (PASCAL VOC 2010).

    Args:
        correct: [N], whether each detection is a true positive, best score first.
        positives: ground-truth segments, > 0.
    """
    hits = np.cumsum(correct)
    precision = hits / np.arange(1, len(correct) + 1)
    recall = np.concatenate([[0.0], hits / positives, [1.0]])
    envelope = np.maximum.accumulate(np.concatenate([[0.0], precision, [0.0]])[::-1])[::-1]
    steps = np.flatnonzero(np.diff(recall)) + 1
    return float(np.sum((recall[steps] - recall[steps - 1]) * envelope[steps]))


def _flatten_truth(ground_truth: GroundTruth, names: Mapping[str, int], classes: Sequence[str]) -> _Flat:
    """Usable ground truth sorted by group, within a group in the given order."""
    index = {label: number for number, label in enumerate(classes)}
    groups: dict[int, list[tuple[float, float]]] = {}
    for video, actions in ground_truth.items():
        for start, end, label in actions:
            if label not in index:
                raise UserError(f"label {label!r} is annotated but is not one of the {len(classes)} classes",
                                where=f"video {video!r}", fix="Evaluate with the data set's own class names")
            kept = groups.setdefault(index[label] * len(names) + names[video], [])
            if end > start and not _duplicate(start, end, kept):
                kept.append((start, end))
    group = [number for number in sorted(groups) for _ in groups[number]]
    if not group:
        raise UserError("no ground-truth actions to compare with", fix="Check the annotation file and the subset")
    segments = [segment for number in sorted(groups) for segment in groups[number]]
    return _Flat(np.array(segments, dtype=np.float64), np.array(group, dtype=np.int64))


def _duplicate(start: float, end: float, kept: Sequence[tuple[float, float]]) -> bool:
    return any(abs(start - a) <= DUPLICATE_TOLERANCE and abs(end - b) <= DUPLICATE_TOLERANCE for a, b in kept)


def _flatten_detections(detections: Mapping[str, Detections], names: Mapping[str, int]) -> _Flat:
    """All detections, best score first; of equal scores the later one first."""
    everything = Detections.concatenate(list(detections.values()))
    video = np.repeat(np.array([names[name] for name in detections], dtype=np.int64),
                      [len(part) for part in detections.values()])
    rank = np.argsort(everything.scores, kind="stable")[::-1]
    return _Flat(everything.exact_segments()[rank], (everything.labels * len(names) + video)[rank])


def _match(found: _Flat, truth: _Flat, thresholds: Floats) -> NDArray[np.bool_]:
    """[N, T], whether each detection takes a ground-truth segment at each threshold."""
    detection, segment, reached = _pairs(found, truth, thresholds)
    correct, taken = [0] * len(found.group), [0] * len(truth.group)
    # One bit per threshold: a detection takes a segment wherever it reaches it, has none yet, and it is still free.
    for who, what, bits in zip(detection.tolist(), segment.tolist(), reached.tolist(), strict=True):
        takes = ((1 << bits) - 1) & ~correct[who] & ~taken[what]
        correct[who] |= takes
        taken[what] |= takes
    bits = [[value >> bit & 1 for bit in range(len(thresholds))] for value in correct]
    return np.array(bits, dtype=bool).reshape(-1, len(thresholds))


def _pairs(found: _Flat, truth: _Flat, thresholds: Floats) -> tuple[Integers, Integers, Integers]:
    """Detection, ground-truth segment and number of thresholds reached, for all pairs that reach any.

    Best detection first, and for one detection the best-overlapping segment first (ties: the later one).
    """
    first = np.searchsorted(truth.group, found.group, side="left")
    count = np.searchsorted(truth.group, found.group, side="right") - first
    detection = np.repeat(np.arange(len(count)), count)
    within = np.arange(len(detection)) - np.repeat(np.cumsum(count) - count, count)
    segment = first[detection] + within
    overlap = temporal_iou(found.segments[detection], truth.segments[segment])
    reached = np.searchsorted(thresholds, overlap, side="right")
    useful = np.flatnonzero(reached)
    order = useful[np.lexsort((-segment[useful], -overlap[useful], detection[useful]))]
    return detection[order], segment[order], reached[order]
