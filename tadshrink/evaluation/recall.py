"""Recall of the best detections, as many as a multiple of the annotated segments (recall@1x, 5x of DETAD, ActionFormer and OpenTAD)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tadshrink.evaluation.matching import Comparison, grouped
from tadshrink.evaluation.tables import Floats, Integers

#: Detections per annotated segment.
MULTIPLES = (1, 5)


def recall(comparison: Comparison, classes: int, multiples: Sequence[int] = MULTIPLES) -> Floats:
    """Share of the segments that any of the best detections of their class and video reaches, in percent, as [K, T, C].

    Where a video has n segments of a class, its best k * n detections of it count. NaN for classes without ground truth.
    """
    rank, size = _ranks(comparison)
    truth, pairs, counts = comparison.truth, comparison.pairs, comparison.truth.per_class(classes)
    table = np.full((len(multiples), len(comparison.thresholds), classes), np.nan)
    for row, multiple in zip(table, multiples, strict=True):
        used = rank[pairs.detection] < multiple * size[pairs.detection]
        reached = np.zeros(len(truth.labels), dtype=np.int64)
        np.maximum.at(reached, pairs.segment[used], pairs.reached[used])
        for threshold, column in enumerate(row):
            hits = np.bincount(truth.labels[reached > threshold], minlength=classes)
            column[counts > 0] = 100 * hits[counts > 0] / counts[counts > 0]
    return table


def _ranks(comparison: Comparison) -> tuple[Integers, Integers]:
    """[N], the place of every detection among those of its class and video, and how many segments there are of these."""
    found, truth = comparison.found, comparison.truth
    width = int(max(found.videos.max(initial=0), truth.videos.max())) + 1
    keys = found.labels * width + found.videos
    order = np.argsort(keys, kind="stable")
    rank = np.empty(len(keys), dtype=np.int64)
    rank[order] = np.arange(len(keys)) - np.searchsorted(keys[order], keys[order], side="left")
    return rank, grouped(keys, truth.labels * width + truth.videos)[1]
