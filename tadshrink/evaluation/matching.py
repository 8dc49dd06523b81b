"""Which detections are right, by one of the :mod:`~tadshrink.evaluation.rules`, at several tIoU thresholds at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadshrink.evaluation.rules import ACTIVITYNET, Rule
from tadshrink.evaluation.tables import Flags, Floats, Found, Integers, Truth


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs [P] of a detection and an annotated segment of its class and video that overlap enough at some threshold.

    Attributes:
        detection: numbers of detections, best score first, and ``segment`` of segments.
        reached: how many of the thresholds (ascending) the overlap reaches, at least 1.
    """

    detection: Integers
    segment: Integers
    reached: Integers


@dataclass(frozen=True, eq=False)
class Comparison:
    """Detections, best score first, beside the annotations.

    Attributes:
        thresholds: [T], tIoU, ascending.
        correct: [N, T], whether a detection takes a segment.
        neutral: [N], whether it counts only where it takes a segment, since it touches an ambiguous region.
    """

    rule: Rule
    truth: Truth
    found: Found
    thresholds: Floats
    pairs: Pairs
    correct: Flags
    neutral: Flags


def temporal_iou(a: NDArray[Any], b: NDArray[Any], min_union: float = ACTIVITYNET.min_union) -> Floats:
    """tIoU of segments [..., 2] with segments [..., 2], elementwise with broadcasting.

    Where both have no length it is 0, or infinite if there is no ``min_union`` (-inf).
    """
    # Annotations may be as long as a number can be; detections may not, so that the union is infinite at worst.
    with np.errstate(over="ignore"):
        shared = np.clip(np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0]), 0, None)
        union = np.clip((a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - shared, min_union, None)
    return np.divide(shared, union, out=np.full(np.shape(union), np.inf), where=union != 0)


def compare(truth: Truth, found: Found, thresholds: Floats, rule: Rule) -> Comparison:
    """Match detections to annotated segments at every threshold (ascending)."""
    if rule.ranks_ids:
        found = _ranked_ids(found, truth)
    found = found.take(_best_first(found, rule))
    pairs = _pairs(found, truth, thresholds, rule)
    correct = _match(pairs, len(found), len(truth.labels), len(thresholds))
    return Comparison(rule, truth, found, thresholds, pairs, correct, _touching(found, truth) if rule.ambiguous else np.zeros(len(found), bool))


def grouped(keys: Integers, of: Integers) -> tuple[Integers, Integers]:
    """First position in ``of`` (ascending) of each key, and how often it is there."""
    first = np.searchsorted(of, keys, side="left")
    return first, np.searchsorted(of, keys, side="right") - first


def expand(first: Integers, count: Integers) -> tuple[Integers, Integers]:
    """All pairs (i, j) with ``first[i] <= j < first[i] + count[i]``, in this order, as two arrays."""
    left = np.repeat(np.arange(len(count)), count)
    within = np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count)
    return left, first[left] + within


def _best_first(found: Found, rule: Rule) -> Integers:
    if rule.later_first:
        return np.argsort(found.scores, kind="stable")[::-1]
    return np.lexsort((found.videos, -found.scores))


def _ranked_ids(found: Found, truth: Truth) -> Found:
    """Annotated classes by their rank; the number of any other class is taken for a rank, too, if there is one so high."""
    present = np.unique(truth.labels)
    shown = np.arange(max(present.max(), found.labels.max(initial=0)) + 1)
    shown[present] = np.arange(len(present))
    ranks = shown[found.labels]
    kept = ranks < len(present)
    return Found(found.segments, found.scores, present[np.where(kept, ranks, 0)], found.videos).take(kept)


def _pairs(found: Found, truth: Truth, thresholds: Floats, rule: Rule) -> Pairs:
    """In the order in which they are tried: whose turn it is, then the best overlap.

    Of equal overlaps a detection takes the later segment, and a segment the detection with the better score.
    """
    width = int(max(found.videos.max(initial=0), truth.videos.max())) + 1
    detection, segment = expand(*grouped(found.labels * width + found.videos, truth.labels * width + truth.videos))
    overlap = temporal_iou(found.segments[detection], truth.segments[segment], rule.min_union)
    reached = np.searchsorted(thresholds, overlap, side="left" if rule.strict else "right")
    useful = np.flatnonzero(reached)
    detection, segment, overlap, reached = detection[useful], segment[useful], overlap[useful], reached[useful]
    order = np.lexsort((detection, -overlap, segment) if rule.segments_choose else (-segment, -overlap, detection))
    return Pairs(detection[order], segment[order], reached[order])


def _match(pairs: Pairs, detections: int, segments: int, thresholds: int) -> Flags:
    """[N, T], whether each detection takes a segment at each threshold."""
    correct, taken = [0] * detections, [0] * segments
    # One bit per threshold: the two are matched wherever their overlap reaches it and both are still free.
    for who, what, bits in zip(pairs.detection.tolist(), pairs.segment.tolist(), pairs.reached.tolist(), strict=True):
        takes = ((1 << bits) - 1) & ~correct[who] & ~taken[what]
        correct[who] |= takes
        taken[what] |= takes
    flags = np.zeros((detections, thresholds), dtype=bool)
    # Few of the detections take any.
    for row, value in enumerate(correct):
        if value:
            flags[row] = [value >> bit & 1 for bit in range(thresholds)]
    return flags


def _touching(found: Found, truth: Truth) -> Flags:
    """[N], whether a detection overlaps an ambiguous region of its video."""
    detection, region = expand(*grouped(found.videos, truth.region_videos))
    touches = np.zeros(len(found), dtype=bool)
    touches[detection[temporal_iou(found.segments[detection], truth.regions[region]) > 0]] = True
    return touches
