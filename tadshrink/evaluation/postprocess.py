"""From the head's outputs to detections in seconds: decode windows, convert, merge the windows of a video (OpenTAD)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.nms import soft_nms_many
from tadshrink.models.config import PostprocessConfig, SamplingConfig


def decode(
    cls_logits: Sequence[Tensor],
    offsets: Sequence[Tensor],
    masks: Sequence[Tensor],
    strides: Sequence[int],
    config: PostprocessConfig,
) -> list[Detections]:
    """Candidates of each window of a batch, in grid cells, before NMS.

    Args:
        cls_logits: per level [B, T_l, K], before the sigmoid.
        offsets: per level [B, T_l, 2], distances to start and end in units of the level's stride, >= 0.
        masks: per level bool [B, T_l], true where the window has frames.
        strides: grid cells per point, per level, fine to coarse.

    Returns:
        One per window. K > 1: point-class pairs above ``score_threshold``, the best ``pre_nms_top_k``, by descending
        score (ties: by point, then class). K = 1: every valid point in order, as class-agnostic proposals.
    """
    scores = torch.cat([level.float() for level in cls_logits], dim=1).sigmoid()
    segments = torch.cat([_segments(*level) for level in zip(offsets, strides, strict=True)], dim=1)
    valid = torch.cat(list(masks), dim=1)
    windows = zip(segments, scores, valid, strict=True)
    return [_select(segment[keep], score[keep], config) for segment, score, keep in windows]


def _segments(offsets: Tensor, stride: int) -> Tensor:
    """[B, T, 2] distances to [B, T, 2] segments; points lie at index * stride."""
    points = torch.arange(offsets.shape[1], device=offsets.device, dtype=torch.float32) * stride
    reach = offsets.float() * stride
    return torch.stack([points - reach[..., 0], points + reach[..., 1]], dim=-1)


def _select(segments: Tensor, scores: Tensor, config: PostprocessConfig) -> Detections:
    """Candidates out of segments [N, 2] and scores [N, K] of one window's valid points."""
    classes = scores.shape[1]
    flat = scores.flatten()
    if classes == 1:
        chosen = torch.arange(len(flat), device=flat.device)
    else:
        above = (flat > config.score_threshold).nonzero()[:, 0]
        best = torch.sort(flat[above], descending=True, stable=True).indices[: config.pre_nms_top_k]
        chosen = above[best]
    found = segments[chosen // classes], flat[chosen], chosen % classes
    return Detections(*(value.detach().cpu().numpy() for value in found))


def to_seconds(
    detections: Detections, window_start_frame: int, sampling: SamplingConfig, fps: float, duration: float
) -> Detections:
    """Grid cells of the window that starts at ``window_start_frame`` to seconds of the video, clipped to its length."""
    frames = detections.segments * np.float32(sampling.snippet_stride) + np.float32(window_start_frame)
    return replace(detections, segments=np.clip(frames / np.float32(fps), np.float32(0), np.float32(duration)))


def merge_windows(windows: Sequence[Detections], config: PostprocessConfig) -> Detections:
    """Detections of one video out of those of its windows, in seconds; see :func:`merge_videos`."""
    return merge_videos([windows], config)[0]


def merge_videos(videos: Sequence[Sequence[Detections]], config: PostprocessConfig) -> list[Detections]:
    """Per video: round, concatenate its windows in order, soft NMS within each class, round again.

    Doing many videos in one call is much faster than one by one. Equal scores of different classes come in the order
    in which the classes first appear in the video.
    """
    rounded = [Detections.concatenate(windows).rounded() for windows in videos]
    names = [_by_appearance(video.labels) for video in rounded]
    merged = soft_nms_many([replace(video, labels=ids) for video, (_, ids) in zip(rounded, names, strict=True)], config)
    return [replace(video, labels=labels[video.labels]).rounded()
            for video, (labels, _) in zip(merged, names, strict=True)]


def _by_appearance(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct labels by first appearance, and for every element the position of its label in that list."""
    distinct, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return distinct[order], np.argsort(order)[inverse]
