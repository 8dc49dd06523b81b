"""How far the average mAP would move with other videos of the same kind: bootstrap over videos."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadshrink.evaluation.matching import Comparison
from tadshrink.evaluation.mean_ap import class_rows
from tadshrink.evaluation.tables import Flags, Floats, Integers

RESAMPLES = 1000
LEVEL = 95
#: Figures computed with at once, so that they stay in the processor's cache.
BLOCK = 1 << 17


@dataclass(frozen=True)
class Interval:
    """The average mAP in percent lies between ``low`` and ``high`` for ``level`` percent of the resampled sets of videos.

    The interval is moved by the difference between the average mAP and the mean of the resampled ones, which tends to be higher where
    there are few segments of a class.
    """

    level: int
    low: float
    high: float
    resamples: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def bootstrap(comparison: Comparison, classes: int, average: float, resamples: int = RESAMPLES, seed: int = 0) -> Interval | None:
    """Interval of the average mAP, which is ``average``; ``None`` with fewer than two annotated videos."""
    if comparison.truth.count < 2:
        return None
    values = resample(comparison, classes, resamples, seed)
    bounds = np.percentile(values, [(100 - LEVEL) / 2, (100 + LEVEL) / 2]) + average - values.mean()
    low, high = np.clip(bounds, 0, 100).tolist()
    return Interval(LEVEL, low, high, resamples, seed)


def resample(comparison: Comparison, classes: int, resamples: int, seed: int = 0) -> Floats:
    """Average mAPs of as many videos as there are, drawn with replacement; without the draws that hold no segment at all.

    A video drawn twice counts twice, with all its segments and detections. Matching is within a video, so that it stays as it is.
    """
    weights = _draw(max(comparison.truth.count, int(comparison.found.videos.max(initial=-1)) + 1), resamples, seed)
    counts = comparison.truth.per_class(classes)
    bounds = np.searchsorted(comparison.truth.labels, np.arange(classes + 1))
    total, present = np.zeros(resamples), np.zeros(resamples)
    for label, rows in class_rows(comparison, counts):
        positives = weights[:, comparison.truth.videos[bounds[label] : bounds[label + 1]]].sum(axis=1)
        total += np.divide(_weighted(comparison, rows, weights), positives, out=np.zeros(resamples), where=positives > 0)
        present += positives > 0
    return 100 * total[present > 0] / present[present > 0]


def _draw(videos: int, resamples: int, seed: int) -> NDArray[np.float32]:
    """[R, V], how often each video is drawn."""
    random = np.random.default_rng(seed)
    return np.stack([np.bincount(random.integers(0, videos, videos), minlength=videos) for _ in range(resamples)]).astype(np.float32)


def _weighted(comparison: Comparison, rows: Integers, weights: NDArray[np.float32]) -> Floats:
    """[R], AP of one class times its segments, averaged over the thresholds, with the detections ``rows`` weighted by their videos."""
    correct, neutral, videos = comparison.correct[rows], comparison.neutral[rows], comparison.found.videos[rows]
    hits = np.flatnonzero(correct.any(axis=1))
    present, column = np.unique(videos, return_inverse=True)
    # [V, H], detections of each video up to each hit; those beside ambiguous regions count only where they are hits themselves.
    upto = np.zeros((len(present), len(hits) + 1), dtype=np.float32)
    np.add.at(upto, (column[~neutral], np.searchsorted(hits, np.flatnonzero(~neutral))), 1)
    upto = np.cumsum(upto[:, :-1], axis=1)
    parts = np.array_split(weights[:, present], 1 + len(weights) * len(hits) // BLOCK)
    return np.concatenate([_block(comparison, part, part @ upto, column[hits], correct[hits], neutral[hits]) for part in parts])


def _block(comparison: Comparison, weights: NDArray[np.float32], seen: NDArray[np.float32], videos: Integers, correct: Flags,
           neutral: Flags) -> Floats:
    """:func:`_weighted` of some of the resamples, given the weight [R, H] of the detections up to each hit."""
    weight = weights[:, videos]
    total = np.zeros(len(weights))
    for chosen in correct.T:
        hit, count = weight[:, chosen], seen[:, chosen]
        if neutral[chosen].any():
            count = count + np.cumsum(np.where(neutral[chosen], hit, 0), axis=1)
        precision = np.divide(np.cumsum(hit, axis=1), count, out=np.zeros_like(hit), where=count > 0)
        if comparison.rule.interpolated:
            precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        total += np.einsum("rh,rh->r", hit, precision)
    return total / correct.shape[1]
