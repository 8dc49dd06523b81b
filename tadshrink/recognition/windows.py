"""Trimmed videos as the steps of compression take them: in windows, each of which is one view, or all clips of a video at once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from tadshrink.data.loader import Batch
from tadshrink.data.timeline import Timeline, Video
from tadshrink.data.windows import Window
from tadshrink.models.config import SamplingConfig
from tadshrink.recognition.config import RecogniserConfig
from tadshrink.recognition.data import RecognitionDataset
from tadshrink.recognition.records import TrimmedVideo
from tadshrink.recognition.views import ClipSource, Views, module_views
from tadshrink.reporting import SILENT, Reporter

#: Clips of a video that a recogniser without a module is judged by, each a window of its own.
CLIPS = 10


def as_videos(dataset: RecognitionDataset, split: str) -> list[Video]:
    """The trimmed videos of a split; a part of a file is a video of its own."""
    return [Video(record.name, record.path) for record in dataset.split(split)]


class ClipWindows:
    """Windows over trimmed videos, see :class:`~tadshrink.data.sources.Source`: uint8 ``[V, 3, F, S, S]`` and masks ``[V]``, all true.

    A recogniser with a module takes all clips of a video in one window, another one a clip.
    """

    sampling = SamplingConfig(snippet_stride=1)
    kept_share = 0.0

    def __init__(self, records: Iterable[TrimmedVideo], config: RecogniserConfig, augment: str = "none", reporter: Reporter = SILENT) -> None:
        self.records = {record.name: record for record in records}
        self.views = module_views(config) if config.sfc else Views(CLIPS, 1)
        self.together = self.views.clips if config.sfc else 1
        self.source = ClipSource(config.clip, augment, reporter)

    def timeline(self, video: Video) -> Timeline:
        index = self.source.frames.index(video.path)
        first, end = self.records[video.name].frames(index)
        return Timeline((end - first) / index.fps, index.fps, end - first, self.views.clips)

    def windows(self, video: Video) -> list[Window]:
        return [Window(first, self.together) for first in range(0, self.views.clips, self.together)]

    def load(self, video: Video, window: Window) -> tuple[Tensor, Tensor]:
        chosen = slice(window.first, window.first + window.cells)
        return self.source.views(self.records[video.name], self.views, chosen), torch.ones(window.cells, dtype=torch.bool)

    def draw(self, video: Video, window: Window, rng: np.random.Generator, changed: bool = True) -> tuple[Tensor, Tensor]:
        clips = self.source.draw(self.records[video.name], window.cells, rng, changed, self.views.turns)
        return clips, torch.ones(window.cells, dtype=torch.bool)


class Labels:
    """The class of each trimmed video of a split, see :class:`~tadshrink.data.actions.ActionGrid`."""

    def __init__(self, dataset: RecognitionDataset, split: str) -> None:
        numbers = {name: number for number, name in enumerate(dataset.classes)}
        self.of = {record.name: numbers[record.label] for record in dataset.split(split)}

    def inside(self, video: str, window: Window) -> tuple[Tensor, Tensor]:
        """No segment, and the label."""
        return torch.zeros(0, 2), torch.tensor([self.of[video]])


class ClipTrainingSet:
    """Random windows over the trimmed videos of a split, see :class:`~tadshrink.data.loader.TrainingSet`."""

    def __init__(self, dataset: RecognitionDataset, split: str, source: ClipWindows) -> None:
        self.source, self.labels, self.samples = source, Labels(dataset, split), as_videos(dataset, split)

    def batch(self, indices: Iterable[int], epoch: int, seed: int, augmented: bool = True) -> Batch:
        """These of the :attr:`samples`, as they are drawn in an epoch."""
        chosen = [(self.samples[index], np.random.default_rng([seed, epoch, int(index)])) for index in indices]
        window = Window(0, self.source.together)
        inputs, masks = zip(*(self.source.draw(video, window, rng, augmented) for video, rng in chosen), strict=True)
        found = [self.labels.inside(video.name, window) for video, _ in chosen]
        return Batch(torch.stack(inputs), torch.stack(masks), [segments for segments, _ in found], [labels for _, labels in found])
