"""Windows over a video, in grid cells of ``snippet_stride`` frames, and actions on that grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tadshrink.data.annotations import VideoRecord
from tadshrink.data.timeline import Timeline
from tadshrink.models.config import SamplingConfig

#: Draws of a training window before one without any action is accepted.
TRIES = 200


@dataclass(frozen=True)
class Window:
    """``cells`` valid grid cells from cell ``first`` on; the rest of the model's window is padding."""

    first: int
    cells: int


def grid_cells(frames: float, sampling: SamplingConfig) -> int:
    """Number of grid cells of a video: snippets start at frames 0, stride, 2 * stride, ..."""
    return math.ceil(frames / sampling.snippet_stride)


def sliding_windows(cells: int, sampling: SamplingConfig) -> list[Window]:
    """Overlapping windows that cover a video to its end; the last one is moved back to end with the video.

    When the video ends exactly with a full window, that window appears twice (as in the published evaluation code, where
    both copies go to NMS). With an overlap below one half that code leaves out the end of some videos; here it is covered.
    """
    size = sampling.window
    hop, last = max(1, int(size * (1 - sampling.overlap))), max(0, cells - size)
    windows = []
    for number in range(max(1, cells // hop)):
        first = min(number * hop, last)
        windows.append(Window(first, min(size, cells - first)))
        if cells < size or number * hop > last:
            break
    if windows[-1].first < last:
        windows.append(Window(last, size))
    return windows


def frame_indices(window: Window, frames: int, sampling: SamplingConfig) -> np.ndarray:
    """Video frames of one window, int64 ``[sampling.frames]``; a short window repeats its last frame."""
    step = sampling.snippet_stride / sampling.frames_per_cell
    order = np.arange(sampling.frames)
    indices = np.round((window.first * sampling.frames_per_cell + order) * step).astype(np.int64)
    inside = (order < window.cells * sampling.frames_per_cell) & (indices < frames)
    return indices[np.minimum(order, np.count_nonzero(inside) - 1)]


def spread_indices(frames: int, sampling: SamplingConfig) -> np.ndarray:
    """The middle frames of ``sampling.frames`` equal parts of a video, int64, halves to even; a short video repeats frames."""
    step = frames / sampling.frames
    middles = step / 2 - 0.5 + np.arange(sampling.frames) * step
    return np.round(np.clip(middles, 0, frames - 1)).astype(np.int64)


def window_mask(window: Window, sampling: SamplingConfig) -> np.ndarray:
    """True for the valid cells, bool ``[sampling.window]``.

    With several frames per cell, a video's last cell counts even when it is not full (in OpenTAD it does not, which leaves
    a very short video without any valid cell).
    """
    return np.arange(sampling.window) < window.cells


def actions_in_cells(record: VideoRecord, timeline: Timeline, sampling: SamplingConfig) -> np.ndarray:
    """Actions as (start, end) in cells of ``snippet_stride`` frames, float32 ``[N, 2]``.

    Where the number of frames is known, seconds become whole frames by truncation (OpenTAD); with a frame rate alone they
    stay exact (ActionFormer).
    """
    seconds = _seconds(record)
    frames = seconds * timeline.fps if timeline.frames is None else np.trunc(seconds / timeline.duration * timeline.frames)
    return ((frames - sampling.offset_frames) / sampling.snippet_stride).astype(np.float32)


def actions_in_shares(record: VideoRecord, timeline: Timeline, sampling: SamplingConfig) -> np.ndarray:
    """Actions as (start, end) where the whole video is ``sampling.window`` cells long, float32 ``[N, 2]``."""
    share = _seconds(record).astype(np.float32) / np.float32(timeline.duration)
    return np.clip(share, 0, 1) * np.float32(sampling.window)


def _seconds(record: VideoRecord) -> np.ndarray:
    return np.array([(action.start, action.end) for action in record.actions], dtype=np.float64).reshape(-1, 2)


def clip_to_window(segments: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Clip actions to a window and shift them to its start.

    Returns:
        the clipped segments ``[N, 2]`` and the share of each action that is inside, ``[N]``.
    """
    clipped = np.clip(segments, window.first, window.first + window.cells)
    share = (clipped[:, 1] - clipped[:, 0]) / np.maximum(segments[:, 1] - segments[:, 0], 1e-6)
    return clipped - window.first, share


def random_window(segments: np.ndarray, cells: int, size: int, kept_share: float, rng: np.random.Generator) -> Window:
    """Draw a training window that holds at least ``kept_share`` of some action, if the video has any.

    A video shorter than the window is cropped to 90-100 % of its length.
    """
    window = Window(0, min(cells, size))
    for _ in range(TRIES):
        length = size if cells > size else int(rng.integers(round(0.9 * cells), cells + 1))
        window = Window(int(rng.integers(0, cells - length + 1)), max(1, length))
        if len(segments) == 0 or (clip_to_window(segments, window)[1] >= kept_share).any():
            break
    return window
