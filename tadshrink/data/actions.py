"""What is to be found in a window: the annotated actions, in its grid cells, with the numbers of their classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tadshrink.data.datasets import Dataset
from tadshrink.data.grids import GRIDS
from tadshrink.data.sources import Source
from tadshrink.data.windows import Window, clip_to_window


class ActionGrid:
    """The actions of the videos of a split on the grid of a source."""

    def __init__(self, dataset: Dataset, split: str, source: Source) -> None:
        self.dataset, self.source = dataset, source
        # An action that is annotated twice is one (as in OpenTAD).
        self.records = {record.name: replace(record, actions=tuple(dict.fromkeys(record.actions))) for record in dataset.split(split)}
        self.index = {label: number for number, label in enumerate(dataset.classes)}

    def of(self, video: str) -> tuple[np.ndarray, np.ndarray]:
        """All actions of a video: (start, end) in cells, float32 ``[N, 2]``, and classes, int64 ``[N]``."""
        record, sampling = self.records[video], self.source.sampling
        segments = GRIDS[sampling.mode].actions(record, self.source.timeline(self.dataset.video(record)), sampling)
        return segments, np.array([self.index[action.label] for action in record.actions], dtype=np.int64)

    def inside(self, video: str, window: Window, least: float = 0.0) -> tuple[Tensor, Tensor]:
        """Actions clipped to a window, in cells from its start, of which something and at least the share ``least`` is inside."""
        segments, labels = self.of(video)
        clipped, share = clip_to_window(segments, window)
        kept = (share > 0) & (share >= least)
        return torch.from_numpy(clipped[kept]), torch.from_numpy(labels[kept])
