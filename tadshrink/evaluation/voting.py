"""Segment voting: the boundaries of a kept segment become the weighted mean of the candidates that overlap it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tadshrink.evaluation.detections import Detections
from tadshrink.models.config import PostprocessConfig

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

#: ``PostprocessConfig.voting`` -> (voters' scores, their tIoU) -> weight of a vote.
WEIGHTS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "opentad": lambda scores, overlap: scores,
    "actionformer": lambda scores, overlap: scores * overlap,
}
#: Pairs that are looked at together.
BLOCK_ELEMENTS = 1 << 16


def vote(kept: Detections, candidates: Detections, config: PostprocessConfig) -> Detections:
    """``kept`` with boundaries that all candidates of tIoU >= ``config.voting_iou`` have voted on.

    Args:
        candidates: everything that took part in NMS, with the scores from before it. Labels do not matter.

    Returns:
        Same scores, labels and order. A segment that nobody votes for, such as one of length zero, stays as it is (the
        two code bases give NaN there).
    """
    rows = max(1, BLOCK_ELEMENTS // max(1, len(candidates)))
    parts = [_refined(kept.segments[first : first + rows], candidates, config) for first in range(0, len(kept), rows)]
    return replace(kept, segments=np.concatenate([kept.segments[:0], *parts]))


def _refined(kept: Floats, candidates: Detections, config: PostprocessConfig) -> NDArray[np.float64]:
    row, voter, overlap = _overlaps(kept, candidates.segments)
    enough = overlap >= np.float32(config.voting_iou)
    row, voter, overlap = row[enough], voter[enough], overlap[enough]
    weights = WEIGHTS[config.voting](candidates.scores[voter], overlap).astype(np.float64)
    total, start, end = (np.bincount(row, weights * column, len(kept)) for column in (1, *candidates.segments[voter].T))
    return np.divide(np.stack([start, end], 1), total[:, None], out=kept.astype(np.float64), where=total[:, None] > 0)


def _overlaps(a: Floats, b: Floats) -> tuple[Integers, Integers, Floats]:
    """Pairs of segments that share something: positions in ``a`` and ``b``, and tIoU, without the margin that NMS has."""
    row, column = np.nonzero((a[:, 0, None] < b[:, 1]) & (a[:, 1, None] > b[:, 0]))
    (start, end), (other_start, other_end) = a[row].T, b[column].T
    shared = np.maximum(np.minimum(end, other_end) - np.maximum(start, other_start), 0)
    union = (end - start) + (other_end - other_start) - shared
    return row, column, np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
