"""Windows over a video, in grid cells of ``snippet_stride`` frames, and actions on that grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tadshrink.data.annotations import VideoRecord
from tadshrink.models.config import SamplingConfig

#: A clipped action is kept in a training window when at least this share of it is inside.
KEPT_SHARE = 0.75
#: Draws of a training window before one without any action is accepted.
TRIES = 200


@dataclass(frozen=True)
class Window:
    """``cells`` valid grid cells from cell ``first`` on; the rest of the model's window is padding."""

    first: int
    cells: int


def grid_cells(frames: int, sampling: SamplingConfig) -> int:
    """Number of grid cells of a video: snippets start at frames 0, stride, 2 * stride, ..."""
    return math.ceil(frames / sampling.snippet_stride)


def sliding_windows(frames: int, sampling: SamplingConfig) -> list[Window]:
    """Overlapping windows that cover a video to its end; the last one is moved back to end with the video.

    When the video ends exactly with a full window, that window appears twice (as in the published evaluation code, where
    both copies go to NMS). With an overlap below one half that code leaves out the end of some videos; here it is covered.
    """
    cells, size = grid_cells(frames, sampling), sampling.window
    hop, last = max(1, int(size * (1 - sampling.overlap))), max(0, cells - size)
    windows = []
    for number in range(max(1, cells // hop)):
        first = min(number * hop, last)
        windows.append(Window(first, min(size, cells - first)))
        if number * hop > last:
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


def window_mask(window: Window, sampling: SamplingConfig) -> np.ndarray:
    """True for the valid cells, bool ``[sampling.window]``.

    With several frames per cell, a video's last cell counts even when it is not full (in OpenTAD it does not, which leaves
    a very short video without any valid cell).
    """
    return np.arange(sampling.window) < window.cells


def actions_on_grid(record: VideoRecord, frames: int, sampling: SamplingConfig) -> np.ndarray:
    """Actions as (start, end) in grid cells, float32 ``[N, 2]``; seconds become whole frames by truncation."""
    seconds = np.array([(action.start, action.end) for action in record.actions], dtype=np.float64).reshape(-1, 2)
    whole_frames = np.trunc(seconds / record.duration * frames)
    return (whole_frames / sampling.snippet_stride).astype(np.float32)


def clip_to_window(segments: np.ndarray, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Clip actions to a window and shift them to its start.

    Returns:
        the clipped segments ``[N, 2]`` and the share of each action that is inside, ``[N]``.
    """
    clipped = np.clip(segments, window.first, window.first + window.cells)
    share = (clipped[:, 1] - clipped[:, 0]) / np.maximum(segments[:, 1] - segments[:, 0], 1e-6)
    return clipped - window.first, share


def random_window(segments: np.ndarray, cells: int, size: int, rng: np.random.Generator) -> Window:
    """Draw a training window in which at least one action is (almost) whole, if the video has any.

    A video shorter than the window is cropped to 90-100 % of its length.
    """
    window = Window(0, min(cells, size))
    for _ in range(TRIES):
        length = size if cells > size else int(rng.integers(round(0.9 * cells), cells + 1))
        window = Window(int(rng.integers(0, cells - length + 1)), max(1, length))
        if len(segments) == 0 or (clip_to_window(segments, window)[1] >= KEPT_SHARE).any():
            break
    return window
