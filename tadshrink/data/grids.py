"""What the modes of sampling mean: how many cells a video has, which windows are cut from it, where its actions lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tadshrink.data.annotations import VideoRecord
from tadshrink.data.timeline import Timeline
from tadshrink.data.windows import (
    Window,
    actions_in_cells,
    actions_in_shares,
    frame_indices,
    grid_cells,
    random_window,
    sliding_windows,
    spread_indices,
)
from tadshrink.models.config import SamplingConfig


@dataclass(frozen=True)
class Grid:
    """One mode of sampling.

    Attributes:
        cells: cells of a video with so many frames.
        frames: the video frames of a window of a video with so many frames, int64 ``[sampling.frames]``, ascending.
        windows: all windows that inference looks at.
        draw: a training window, given the actions in cells, the timeline and the share of an action that makes it count.
        actions: (start, end) of a record's actions in cells from cell 0, float32 ``[N, 2]``.
    """

    cells: Callable[[int, SamplingConfig], int]
    frames: Callable[[Window, int, SamplingConfig], np.ndarray]
    windows: Callable[[Timeline, SamplingConfig], list[Window]]
    draw: Callable[[np.ndarray, Timeline, SamplingConfig, float, np.random.Generator], Window]
    actions: Callable[[VideoRecord, Timeline, SamplingConfig], np.ndarray]


def _sliding(timeline: Timeline, sampling: SamplingConfig) -> list[Window]:
    # Features end a little before their video does; published windows go by the video, and the rest of the last is padding.
    return sliding_windows(timeline.cells if timeline.frames is None else grid_cells(timeline.frames, sampling), sampling)


def _draw(segments: np.ndarray, timeline: Timeline, sampling: SamplingConfig, kept_share: float, rng: np.random.Generator) -> Window:
    return random_window(segments, timeline.cells, sampling.window, kept_share, rng)


_SLIDING = Grid(grid_cells, frame_indices, _sliding, _draw, actions_in_cells)

#: By ``SamplingConfig.mode``.
GRIDS = {
    "sliding": _SLIDING,
    "whole": replace(_SLIDING, windows=lambda timeline, sampling: [Window(0, timeline.cells)]),
    "resize": Grid(
        cells=lambda frames, sampling: sampling.window,
        frames=lambda window, frames, sampling: spread_indices(frames, sampling),
        windows=lambda timeline, sampling: [Window(0, sampling.window)],
        draw=lambda segments, timeline, sampling, kept_share, rng: Window(0, sampling.window),
        actions=actions_in_shares,
    ),
}
