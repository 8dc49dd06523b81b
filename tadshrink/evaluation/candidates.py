"""From the head's outputs to candidates in grid cells, before NMS, in the ways of OpenTAD and of ActionFormer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tadshrink.evaluation.detections import Detections
from tadshrink.models.config import PostprocessConfig
from tadshrink.models.detector import DetectorOutput

#: Segments [N, 2], scores [N, K] and mask [N] of the points that compete for the ``pre_nms_top_k`` places.
Points = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Scored:
    """What a detector says about a batch of windows, as numbers that no longer depend on how it computes.

    Attributes:
        segments: float32 [B, N, 2], (start, end) in grid cells of every point of every level, fine to coarse.
        scores: float32 [B, N, K], probabilities.
        valid: bool [B, N], true where the window has frames.
        lengths: points per level; their sum is N.
    """

    segments: Tensor
    scores: Tensor
    valid: Tensor
    lengths: tuple[int, ...]

    def levels(self) -> list[Points]:
        """The three tensors of each level."""
        parts = (part.split(self.lengths, dim=1) for part in (self.segments, self.scores, self.valid))
        return list(zip(*parts, strict=True))


def scored(output: DetectorOutput) -> Scored:
    """The same of a detector's own output."""
    return _scored(output.cls_logits, output.offsets, output.masks, output.strides)


def _scored(cls_logits: Sequence[Tensor], offsets: Sequence[Tensor], masks: Sequence[Tensor], strides: Sequence[int]) -> Scored:
    segments = [_segments(*level) for level in zip(offsets, strides, strict=True)]
    scores = [level.float().sigmoid() for level in cls_logits]
    parts = (torch.cat(list(levels), dim=1) for levels in (segments, scores, masks))
    return Scored(*parts, tuple(level.shape[1] for level in masks))


def decode(
    cls_logits: Sequence[Tensor],
    offsets: Sequence[Tensor],
    masks: Sequence[Tensor],
    strides: Sequence[int],
    config: PostprocessConfig,
) -> list[Detections]:
    """:func:`choose` from the outputs of the head.

    Args:
        cls_logits: per level [B, T_l, K], before the sigmoid.
        offsets: per level [B, T_l, 2], distances to start and end in units of the level's stride, >= 0.
        masks: per level bool [B, T_l], true where the window has frames.
        strides: grid cells per point, per level, fine to coarse.
    """
    return choose(_scored(cls_logits, offsets, masks, strides), config)


def choose(points: Scored, config: PostprocessConfig) -> list[Detections]:
    """Candidates of each window of a batch, in grid cells, before NMS.

    Returns:
        One per window: point-class pairs above ``score_threshold``, the best ``pre_nms_top_k`` of all levels together (of
        each level, level after level, if ``top_k_per_level``), by descending score (ties: by point, then class), without
        those not longer than ``min_length`` if that is not 0. For K = 1 without ``top_k_per_level``, every valid point in
        order, as class-agnostic proposals.
    """
    levels = points.levels() if config.top_k_per_level else [(points.segments, points.scores, points.valid)]
    windows = range(len(points.valid))
    return [Detections.concatenate([_select(tuple(part[window] for part in level), config) for level in levels]) for window in windows]


def _segments(offsets: Tensor, stride: int) -> Tensor:
    """[B, T, 2] distances to [B, T, 2] segments; points lie at index * stride."""
    points = torch.arange(offsets.shape[1], device=offsets.device, dtype=torch.float32) * stride
    reach = offsets.float() * stride
    return torch.stack([points - reach[..., 0], points + reach[..., 1]], dim=-1)


def _select(points: Points, config: PostprocessConfig) -> Detections:
    segments, scores, valid = points
    segments, flat, classes = segments[valid], scores[valid].flatten(), scores.shape[1]
    if classes == 1 and not config.top_k_per_level:
        chosen = torch.arange(len(flat), device=flat.device)
    else:
        above = (flat > config.score_threshold).nonzero()[:, 0]
        best = torch.sort(flat[above], descending=True, stable=True).indices[: config.pre_nms_top_k]
        chosen = above[best]
    found = segments[chosen // classes], flat[chosen], chosen % classes
    candidates = Detections(*(value.detach().cpu().numpy() for value in found))
    start, end = candidates.segments.T
    return candidates.take(end - start > config.min_length) if config.min_length > 0 else candidates
