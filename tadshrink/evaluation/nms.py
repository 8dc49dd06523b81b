"""Soft non-maximum suppression of 1-D segments, for all classes of many videos at once (Bodla et al., 2017).

Detections of one class in one video are a row. Rows are padded to matrices, and every step takes the best remaining
detection of each row and lowers the scores of the later ones. The order of operations, float32 arithmetic included, is
that of the sequential program used by ActionFormer and OpenTAD, because ties make the order part of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadshrink.evaluation.detections import Detections
from tadshrink.models.config import PostprocessConfig

Floats = NDArray[np.float32]
Decay = Callable[[Floats, float], Floats]

#: Added to every length, so that two zero-length segments have an overlap (of 0).
LENGTH_MARGIN = np.float32(1e-6)
#: Elements per matrix: small enough to stay in the processor's cache, which matters more than fewer steps.
BLOCK_ELEMENTS = 1 << 16
#: Score of a place in a row that holds nothing; below every score.
EMPTY = np.float32(-1)


def _gaussian(overlap: Floats, sigma: float) -> Floats:
    exponent = -(overlap * overlap) / np.float32(sigma)
    # Rounded from float64: float32 exponentials of different libraries disagree far more often in the last bit.
    return np.exp(exponent.astype(np.float64)).astype(np.float32)


#: (overlap with the taken segment, strength) -> factor of the score.
DECAYS: dict[str, Decay] = {"gaussian": _gaussian}


def soft_nms(
    segments: NDArray[Any],
    scores: NDArray[Any],
    labels: NDArray[Any],
    sigma: float,
    min_score: float,
    max_detections: int,
) -> Detections:
    """Soft NMS within each class of one video; see :func:`soft_nms_many`.

    Args:
        segments: [N, 2] start and end.
        scores: [N].
        labels: [N] integers.
    """
    config = PostprocessConfig(nms_sigma=sigma, nms_min_score=min_score, max_detections=max_detections)
    return soft_nms_many([Detections(segments, scores, labels)], config)[0]


def soft_nms_many(
    detections: Sequence[Detections], config: PostprocessConfig, decay: str = "gaussian"
) -> list[Detections]:
    """Soft NMS within each class of each video.

    The best remaining detection (the first of equals) is kept and every other score of its class is multiplied by
    exp(-tIoU^2 / sigma); detections that fall below ``config.nms_min_score`` are removed.

    Returns:
        Per video, by descending score (ties: lower label, then the order in which they were kept), at most
        ``config.max_detections``.
    """
    everything = Detections.concatenate(detections)
    video = np.repeat(np.arange(len(detections)), [len(part) for part in detections])
    indices, scores = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for block in _blocks(everything, video):
        _suppress(block, DECAYS[decay], config)
        done = np.arange(block.index.shape[1]) < np.minimum(block.length, config.max_detections)[:, None]
        indices.append(block.index[done])
        scores.append(block.state[3][done])
    index = np.concatenate(indices)
    kept = replace(everything.take(index), scores=np.concatenate(scores))
    return _by_video(kept, video[index], len(detections), config.max_detections)


def _by_video(detections: Detections, video: NDArray[np.int64], videos: int, limit: int) -> list[Detections]:
    order = np.lexsort((detections.labels, -detections.scores, video))
    edges = np.searchsorted(video[order], np.arange(videos + 1)).tolist()
    return [detections.take(order[first:last][:limit]) for first, last in pairwise(edges)]


@dataclass
class _Block:
    """Rows of similar length, longest first.

    Attributes:
        state: float32 [4, R, N]: start, end, length + margin, current score.
        index: int64 [R, N], position in the input.
        length: int64 [R], filled places per row; what was removed lies behind them.
    """

    state: Floats
    index: NDArray[np.int64]
    length: NDArray[np.int64]


def _blocks(detections: Detections, video: NDArray[np.int64]) -> Iterator[_Block]:
    """Sort by (video, label), keeping the input order within, and pack the rows into matrices."""
    if not len(detections):
        return
    order = np.lexsort((detections.labels, video))
    changes = (np.diff(video[order]) != 0) | (np.diff(detections.labels[order]) != 0)
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    lengths = np.diff(np.append(starts, len(order)))
    rows = np.argsort(-lengths, kind="stable")
    while len(rows):
        count = max(1, BLOCK_ELEMENTS // int(lengths[rows[0]]))
        yield _pack(detections, order, starts[rows[:count]], lengths[rows[:count]])
        rows = rows[count:]


def _pack(
    detections: Detections, order: NDArray[np.int64], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> _Block:
    columns = np.arange(lengths[0])
    filled = columns < lengths[:, None]
    index = order[np.where(filled, starts[:, None] + columns, 0)]
    start, end = np.moveaxis(detections.segments[index], -1, 0)
    score = np.where(filled, detections.scores[index], EMPTY)
    return _Block(np.stack([start, end, end - start + LENGTH_MARGIN, score]), index, lengths.copy())


def _suppress(block: _Block, decay: Decay, config: PostprocessConfig) -> None:
    """Run all rows of ``block`` to their end, or to ``max_detections`` places, in place."""
    for place in range(min(block.index.shape[1], config.max_detections)):
        active = np.flatnonzero(block.length > place)
        if not len(active):
            return
        # Rows start longest first, so this cuts off finished rows exactly unless removals changed their lengths;
        # finished rows in between only move what lies behind their last filled place.
        rows, columns = slice(0, active[-1] + 1), slice(place, block.length.max())
        _swap_best(block.state[:, rows, columns], block.index[rows, columns])
        _lower_rest(block.state[:, rows, columns], decay, config.nms_sigma)
        if config.nms_min_score > 0:
            _remove_low(block, place + 1, config.nms_min_score)


def _swap_best(state: Floats, index: NDArray[np.int64]) -> None:
    rows, best = np.arange(len(index)), state[3].argmax(axis=1)
    for planes in (state, index):
        chosen = planes[..., rows, best]
        planes[..., rows, best] = planes[..., 0]
        planes[..., 0] = chosen


def _lower_rest(state: Floats, decay: Decay, strength: float) -> None:
    start, end, length, score = state[..., 1:]
    best_start, best_end, best_length, _ = state[..., :1]
    shared = np.minimum(end, best_end)
    shared -= np.maximum(start, best_start)
    np.maximum(shared, 0, out=shared)
    with np.errstate(invalid="ignore", divide="ignore"):  # A segment that ends before it starts can make this 0 / 0.
        overlap = shared / (best_length + length - shared)
    score *= decay(overlap, strength)


def _remove_low(block: _Block, first: int, min_score: float) -> None:
    """Remove places >= ``first`` whose score is below ``min_score``.

    The sequential program overwrites a removed one with the row's last and looks at that place again. That puts the
    survivors from behind, last one first, into the holes in front; here all rows do it in one step.
    """
    columns = np.arange(first, block.index.shape[1])
    state, index = block.state[:, :, first:], block.index[:, first:]
    alive = (columns < block.length[:, None]) & (state[3] >= min_score)
    length = np.where(block.length > first, first + alive.sum(axis=1), block.length)
    inside = columns < length[:, None]
    hole_row, hole = np.nonzero(inside & ~alive)
    tail_row, tail = np.nonzero((alive & ~inside)[:, ::-1])
    tail = len(columns) - 1 - tail
    state[:, hole_row, hole] = state[:, tail_row, tail]
    index[hole_row, hole] = index[tail_row, tail]
    state[3][~inside] = EMPTY
    block.length = length
