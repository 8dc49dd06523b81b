"""Non-maximum suppression of 1-D segments, for all classes of many videos at once.

Soft-NMS is that of Bodla et al. (2017) in the five forms that ActionFormer and OpenTAD have; see :data:`METHODS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.suppression import Bars, Floats, Integers, Rule, pack, run
from tadshrink.evaluation.voting import vote
from tadshrink.models.config import PostprocessConfig


@dataclass(frozen=True)
class Strength:
    """Settings of the factors, all float32: Gaussian width, tIoU threshold, and the gate's base and slope."""

    sigma: np.float32
    iou: np.float32
    gate_base: np.float32
    gate_slope: np.float32


@dataclass(frozen=True)
class Method:
    """A kind of NMS.

    Attributes:
        factor: (tIoU with the kept segment, length of the kept segment, strength) -> what a score is multiplied with.
        final: a suppressed segment is gone, and segments with scores up to ``nms_min_score`` (unless that is 0) do not
            take part; otherwise segments are removed once their score falls below ``nms_min_score``.
    """

    factor: Callable[[Floats, Floats, Strength], Floats]
    final: bool = False


def _gaussian(overlap: Floats, length: Floats, strength: Strength) -> Floats:
    exponent = -(overlap * overlap) / strength.sigma
    # Rounded from float64: float32 exponentials of different libraries disagree far more often in the last bit.
    return np.exp(exponent.astype(np.float64)).astype(np.float32)


def _linear(overlap: Floats, length: Floats, strength: Strength) -> Floats:
    return np.where(overlap >= strength.iou, 1 - overlap, np.float32(1))


def _cut(overlap: Floats, length: Floats, strength: Strength) -> Floats:
    return (overlap < strength.iou).astype(np.float32)


def _gated(overlap: Floats, length: Floats, strength: Strength) -> Floats:
    gate = strength.gate_base + strength.gate_slope * length
    return np.where(overlap >= gate, _gaussian(overlap, length, strength), np.float32(1))


#: ``PostprocessConfig.nms`` -> how later segments are treated (numbers of the compiled programs: soft_hard 0, linear 1,
#: gaussian 2, gated 3). "soft_hard" sets scores to 0, "hard" is classic NMS, "none" only sorts and caps. Segments that do
#: not overlap never touch each other, also where the threshold is 0.
METHODS: dict[str, Method | None] = {
    "gaussian": Method(_gaussian),
    "linear": Method(_linear),
    "soft_hard": Method(_cut),
    "gated": Method(_gated),
    "hard": Method(_cut, final=True),
    "none": None,
}


def nms_many(videos: Sequence[Detections], config: PostprocessConfig) -> list[Detections]:
    """NMS within each class of each video, or among all detections of a video if ``config.multiclass`` is false.

    The best remaining detection (the first of equals) is kept and the scores of the others that it competes with are
    lowered by their tIoU with it, as :data:`METHODS` says. Doing many videos in one call is much faster than one by one.

    Args:
        videos: segments in any one unit; scores >= 0.

    Returns:
        Per video, by descending score (ties within several classes: lower label; else the order in which they were
        kept), at most ``config.max_detections``; boundaries are voted on where ``config.voting_iou`` says so.
    """
    everything = Detections.concatenate(videos)
    video = np.repeat(np.arange(len(videos)), [len(part) for part in videos])
    group = everything.labels if config.multiclass else np.zeros_like(video)
    index, scores = _suppress(everything, group, video, config)
    kept = replace(everything.take(index), scores=scores)
    order = np.lexsort((group[index], -scores, video[index]))
    edges = np.searchsorted(video[index][order], np.arange(len(videos) + 1)).tolist()
    found = [kept.take(order[first:last][: config.max_detections]) for first, last in pairwise(edges)]
    if config.multiclass or config.voting_iou == 0:
        return found
    return [vote(part, candidates, config) for part, candidates in zip(found, videos, strict=True)]


def _suppress(everything: Detections, group: Integers, video: Integers, config: PostprocessConfig) -> tuple[Integers, Floats]:
    """Positions of what is kept, in the order in which each row keeps it, and the lowered scores."""
    method = METHODS[config.nms]
    competing = np.arange(len(video))
    if method is None:
        return competing, everything.scores
    if method.final:
        competing = np.argsort(-everything.scores, kind="stable")
        competing = competing[(everything.scores[competing] > config.nms_min_score) | (config.nms_min_score == 0)]
    strength = Strength(*map(np.float32, (config.nms_sigma, config.nms_iou, *config.nms_gate)))
    min_score = 0 if method.final else config.nms_min_score
    rule = Rule(lambda overlap, length: method.factor(overlap, length, strength), method.final, min_score, config.max_detections)
    bars, chosen = Bars(np.bincount(video), rule), everything.take(competing)
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.float32))]
    for rows in pack(chosen.segments, chosen.scores, group[competing], video[competing]):
        parts += run(rows, rule, bars)
    index, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    return competing[index], scores
