"""From the head's outputs to detections in seconds: decode windows, NMS, convert, merge the windows of a video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tadshrink.errors import UserError
from tadshrink.evaluation.candidates import Scored, choose, scored
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.fusion import VideoScores
from tadshrink.evaluation.nms import nms_many
from tadshrink.models.config import DetectorConfig, PostprocessConfig, SamplingConfig
from tadshrink.models.detector import DetectorOutput

Floats = NDArray[np.float32]
#: What a model says about a batch of windows; or candidates in grid cells that have been chosen already, one for each.
Output = DetectorOutput | Scored | Sequence[Detections]


class Place(Protocol):
    """Which part of which video a window is; ``start_frame`` and ``fps`` in frames of the video, ``duration`` in seconds."""

    @property
    def video(self) -> str: ...
    @property
    def start_frame(self) -> int: ...
    @property
    def fps(self) -> float: ...
    @property
    def duration(self) -> float: ...


def window_detections(
    output: Output, windows: Sequence[Place], config: DetectorConfig, scores: VideoScores | None = None
) -> list[Detections]:
    """Detections in seconds of each window of a batch, for :func:`merge_videos`.

    NMS on the grid, where ``config`` puts it there, is done; what is left to do is done when all windows of
    a video are together.

    Args:
        windows: one per sample of the batch.
        scores: of a video-level classifier, which give the class-agnostic proposals of a one-class detector their
            labels; these are then indices into ``scores.classes``.

    Raises:
        UserError: ``scores`` with a detector of several classes, or without one of the videos.
    """
    postprocess = config.postprocess
    if scores and len(config.classes) != 1:
        raise UserError(f"class scores of videos need a detector of one class (proposals), not {len(config.classes)}", where=scores.where,
                        fix="Leave them out, or give a class-agnostic detector")
    cells = candidates_of(output, postprocess)
    candidates = nms_many(cells, postprocess) if config.nms_on_grid else cells
    found = [to_seconds(part, place.start_frame, config.sampling, place.fps, place.duration)
             for part, place in zip(candidates, windows, strict=True)]
    if scores:
        found = [scores.fuse(part, place.video, postprocess) for part, place in zip(found, windows, strict=True)]
    return [part.rounded() for part in found] if config.nms_on_grid and postprocess.rounded else found


def candidates_of(output: Output, config: PostprocessConfig) -> Sequence[Detections]:
    """Candidates of each window in grid cells, before NMS."""
    if isinstance(output, DetectorOutput):
        output = scored(output)
    return choose(output, config) if isinstance(output, Scored) else output


def _as_frames(cells: Floats, start_frame: int, sampling: SamplingConfig, fps: float, duration: float) -> Floats:
    frames = cells * np.float32(sampling.snippet_stride) + np.float32(start_frame) + np.float32(sampling.offset_frames)
    return frames / np.float32(fps)


def _as_share(cells: Floats, start_frame: int, sampling: SamplingConfig, fps: float, duration: float) -> Floats:
    return cells / np.float32(sampling.window) * np.float32(duration)


#: ``SamplingConfig.mode`` -> what a grid cell is: so many frames, or a share of the whole video.
SECONDS: dict[str, Callable[[Floats, int, SamplingConfig, float, float], Floats]] = {
    "sliding": _as_frames,
    "whole": _as_frames,
    "resize": _as_share,
}


def to_seconds(
    detections: Detections, window_start_frame: int, sampling: SamplingConfig, fps: float, duration: float
) -> Detections:
    """Grid cells of the window that starts at ``window_start_frame`` to seconds of the video, clipped to its length."""
    seconds = SECONDS[sampling.mode](detections.segments, window_start_frame, sampling, fps, duration)
    return replace(detections, segments=np.clip(seconds, np.float32(0), np.float32(duration)))


def merge_videos(videos: Sequence[Sequence[Detections]], config: DetectorConfig) -> list[Detections]:
    """Per video: round, concatenate its windows in order, NMS, round again; rounding only if ``config.postprocess.rounded``.

    Where NMS was done on the grid, the windows are only concatenated. Doing many videos in one call is much faster than
    one by one. Equal scores of different classes come in the order in which the classes first appear in the video.
    """
    joined, postprocess = [Detections.concatenate(windows) for windows in videos], config.postprocess
    if config.nms_on_grid:
        return joined
    if postprocess.rounded:
        joined = [video.rounded() for video in joined]
    names = [_by_appearance(video.labels) for video in joined]
    merged = nms_many([replace(video, labels=ids) for video, (_, ids) in zip(joined, names, strict=True)], postprocess)
    named = [replace(video, labels=labels[video.labels]) for video, (labels, _) in zip(merged, names, strict=True)]
    return [video.rounded() for video in named] if postprocess.rounded else named


def _by_appearance(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct labels by first appearance, and for every element the position of its label in that list."""
    distinct, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return distinct[order], np.argsort(order)[inverse]
