"""The loop of non-maximum suppression, run on many rows of segments at once.

Detections that compete with each other (one class of one video) are a row. Rows are padded to matrices, and every step
takes the best remaining detection of each row and lowers the scores of the later ones that overlap it. The order of
operations, float32 arithmetic included, is that of the sequential program used by ActionFormer and OpenTAD, because ties
make the order part of the result. What is left out cannot change it: pairs that do not overlap, and the rest of a row
once its best score is below the last one that the video has room for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
#: (tIoU with the taken segment, length of the taken segment) -> factor of the score.
Factor = Callable[[Floats, Floats], Floats]

#: Elements per matrix: small enough to stay in the processor's cache, which matters more than fewer steps.
BLOCK_ELEMENTS = 1 << 16
#: Steps between two looks at which rows are finished.
STEPS = 16
#: Added to every length, so that two zero-length segments have an overlap (of 0).
LENGTH_MARGIN = np.float32(1e-6)
#: Score of a place that holds nothing, below every score.
EMPTY = np.float32(-1)
#: Such a place: start, end, length and score. It overlaps nothing.
NOTHING = np.array([[np.inf], [-np.inf], [LENGTH_MARGIN], [EMPTY]], dtype=np.float32)


@dataclass(frozen=True)
class Rule:
    """What happens to the rows.

    Attributes:
        factor: what a score is multiplied with.
        final: a factor of 0 means that a detection is no result.
        min_score: detections whose score falls below are removed; 0 removes none.
        limit: results per video.
    """

    factor: Factor
    final: bool
    min_score: float
    limit: int


@dataclass
class Rows:
    """Rows of similar length, longest first.

    Attributes:
        state: float32 [4, R, N]: start, end, length + margin, current score.
        index: int64 [R, N], position in the input.
        length: int64 [R], filled places per row; what was removed lies behind them.
        video: int64 [R].
    """

    state: Floats
    index: Integers
    length: Integers
    video: Integers

    def __post_init__(self) -> None:
        # Flattened views are written to.
        self.state, self.index = np.ascontiguousarray(self.state), np.ascontiguousarray(self.index)


class Bars:
    """Per video the score that a result must reach: that of its ``limit``-th best so far."""

    def __init__(self, candidates: Integers, rule: Rule) -> None:
        self.value = np.zeros(len(candidates), dtype=np.float32)
        self._limit = rule.limit
        self._full = candidates > rule.limit
        self._best: dict[int, Floats] = {}

    def add(self, video: Integers, scores: Floats) -> None:
        """Results [n] of the videos [n]."""
        for name in np.unique(video[self._full[video]]).tolist():
            best = np.concatenate([self._best.get(name, scores[:0]), scores[video == name]])
            if len(best) >= self._limit:
                best = np.partition(best, len(best) - self._limit)[-self._limit :]
                self.value[name] = best[0]
            self._best[name] = best


def pack(segments: Floats, scores: Floats, group: Integers, video: Integers) -> Iterator[Rows]:
    """Rows of equal (video, group), keeping the input order within, in matrices of about ``BLOCK_ELEMENTS``."""
    if not len(scores):
        return
    order = np.lexsort((group, video))
    changes = (np.diff(video[order]) != 0) | (np.diff(group[order]) != 0)
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    lengths = np.diff(np.append(starts, len(order)))
    rows = np.argsort(-lengths, kind="stable")
    while len(rows):
        chosen = rows[: max(1, BLOCK_ELEMENTS // int(lengths[rows[0]]))]
        rows = rows[len(chosen) :]
        columns, length = np.arange(lengths[chosen[0]]), lengths[chosen]
        filled = columns < length[:, None]
        index = order[np.where(filled, starts[chosen, None] + columns, 0)]
        start, end = np.moveaxis(segments[index], -1, 0)
        # A segment that ends before it starts overlaps nothing, whatever its length; this one cannot make 0 / 0.
        size = np.maximum(end - start, 0) + LENGTH_MARGIN
        state = np.where(filled, np.stack([start, end, size, scores[index]]), NOTHING[..., None])
        yield Rows(state, index, length, video[index[:, 0]])


def run(rows: Rows, rule: Rule, bars: Bars) -> Iterator[tuple[Integers, Floats]]:
    """Results in the order in which they are taken within each row: (positions in the input [n], scores [n])."""
    taken = 0
    while len(rows.length):
        steps = min(STEPS, rows.index.shape[1], rule.limit - taken)
        for place in range(steps):
            _take_best(rows.state[:, :, place:], rows.index[:, place:])
            lowered = _lower_rest(rows.state, place, rule)
            if rule.min_score > 0:
                _remove_low(rows, _behind_first(rows) if taken == place == 0 else lowered, rule.min_score)
        taken += steps
        scores = rows.state[3, :, :steps]
        found = (np.arange(steps) < rows.length[:, None]) & (scores >= 0)
        bars.add(np.repeat(rows.video, found.sum(axis=1)), scores[found])
        yield rows.index[:, :steps][found], scores[found]
        if taken == rule.limit:
            return
        rows = _rest(rows, steps, bars)


def _rest(rows: Rows, steps: int, bars: Bars) -> Rows:
    """Without the first places and without finished rows."""
    best = rows.state[3, :, steps:].max(axis=1, initial=EMPTY)
    going = (rows.length > steps) & (best >= bars.value[rows.video])
    end = rows.length[going].max(initial=0)
    return Rows(rows.state[:, going, steps:end], rows.index[going, steps:end], rows.length[going] - steps, rows.video[going])


def _take_best(state: Floats, index: Integers) -> None:
    """Swap the first of the highest scores of each row to the front."""
    rows, best = np.arange(len(index)), state[3].argmax(axis=1)
    for planes in (state, index):
        chosen = planes[..., rows, best]
        planes[..., rows, best] = planes[..., 0]
        planes[..., 0] = chosen


def _lower_rest(state: Floats, place: int, rule: Rule) -> Integers:
    """Lower the scores of what overlaps ``place`` and lies behind it: these places of the flattened matrix, ascending."""
    first = place + 1
    near = state[0, :, first:] < state[1, :, place, None]
    near &= state[1, :, first:] > state[0, :, place, None]
    rows, columns = near.shape
    flat = near.reshape(-1).nonzero()[0]
    row_numbers = np.arange(rows + 1)
    edges = flat.searchsorted(row_numbers * columns)
    per_row = edges[1:] - edges[:-1]
    flat += (row_numbers[1:] * first).repeat(per_row)
    best_start, best_end, best_length = state[:3, :, place].repeat(per_row, axis=1)
    planes = state.reshape(4, -1)
    start, end, length, score = planes.take(flat, axis=1)
    shared = np.minimum(end, best_end)
    shared -= np.maximum(start, best_start)
    np.maximum(shared, 0, out=shared)
    factor = rule.factor(shared / (best_length + length - shared), best_length)
    score *= factor
    if rule.final:
        score[factor == 0] = EMPTY
    planes[3, flat] = score
    return flat


def _behind_first(rows: Rows) -> Integers:
    """All filled places of the flattened matrix that are not the first of their row."""
    columns = np.arange(rows.index.shape[1])
    return np.flatnonzero((columns > 0) & (columns < rows.length[:, None]))


def _remove_low(rows: Rows, places: Integers, min_score: float) -> None:
    """Remove those of ``places`` (of the flattened matrix, ascending) whose score is below ``min_score``.

    The sequential program overwrites a removed one with the row's last and looks at that place again. That puts the
    survivors from behind, last one first, into the holes in front; here all rows do it in one step.
    """
    low = places[rows.state[3].reshape(-1).take(places) < min_score]
    if not len(low):
        return
    width = rows.index.shape[1]
    row, column = np.divmod(low, width)
    count = np.bincount(row, minlength=len(rows.length))
    behind = np.arange(len(low)) - np.repeat(np.cumsum(count) - count, count)
    last = row * width + rows.length[row] - 1 - behind
    state, index = rows.state.reshape(4, -1), rows.index.reshape(-1)
    rows.length = rows.length - count
    hole = low[column < rows.length[row]]
    state[3, low] = EMPTY
    moved = last[state[3, last] != EMPTY]
    state[:, hole] = state[:, moved]
    index[hole] = index[moved]
    state[:, last] = NOTHING
