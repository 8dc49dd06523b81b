"""Where windows come from: videos or features behind one interface, so that nobody else asks which it is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tadshrink.data.augment import AUGMENTATIONS
from tadshrink.data.dataset_config import MODES, Kind
from tadshrink.data.datasets import Dataset
from tadshrink.data.feature_files import READERS
from tadshrink.data.features import FeatureSource
from tadshrink.data.grids import GRIDS
from tadshrink.data.timeline import Timeline, Video
from tadshrink.data.video import FrameStore
from tadshrink.data.video_index import VideoIndex
from tadshrink.data.windows import Window, window_mask
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig, FeatureConfig, SamplingConfig
from tadshrink.reporting import SILENT, Reporter

#: Frame rates that differ by no more than this share count as one, as 29.97 and 30 do.
SAME_RATE = 0.02


class Source(Protocol):
    """Windows of one kind of input, cut as ``sampling`` says.

    Attributes:
        kept_share: a training window keeps an action of which at least this share is inside.
    """

    sampling: SamplingConfig
    kept_share: float

    def timeline(self, video: Video) -> Timeline:
        """What is known of a video without loading it; remembered."""

    def windows(self, video: Video) -> list[Window]:
        """The windows that inference looks at."""

    def load(self, video: Video, window: Window) -> tuple[Tensor, Tensor]:
        """One window as the detector takes it, without the batch dimension: uint8 frames ``[1, 3, F, H, W]`` or float32
        features ``[C, T]``; and the mask bool ``[T]`` of the cells that are not padding."""

    def draw(self, video: Video, window: Window, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """:meth:`load` for training: changed at random."""


class VideoSource:
    """Windows over video files.

    Args:
        augment: how training clips change, a key of :data:`AUGMENTATIONS`.
        fps: take videos of other frame rates as if they had this one; by default every video is taken in its own frames.

    Attributes:
        frames, training: keep what was decoded as inference and as training see it; one store where both see the same.
    """

    kept_share = 0.75

    def __init__(self, sampling: SamplingConfig, frames: FrameStore | None = None, augment: str = "light",
                 fps: float | None = None) -> None:
        self.sampling, self.grid, self.augmentation, self.fps = sampling, GRIDS[sampling.mode], AUGMENTATIONS[augment], fps
        self.frames = frames or FrameStore(sampling.frame_size)
        margin = self.augmentation.margin
        self.training = self.frames if margin is None else self.frames.uncropped(round(margin * sampling.frame_size))

    def timeline(self, video: Video) -> Timeline:
        index = self.frames.index(video.path)
        rate, frames = self._counted(index)
        cells = self.grid.cells(frames, self.sampling)
        if index.declared is not None:
            # Of a file that was cut off, the length in the annotations says nothing.
            return Timeline(index.duration, rate or index.fps, None, cells)
        duration = index.duration if video.duration is None else video.duration
        return Timeline(duration, rate or frames / duration, frames, cells)

    def _counted(self, index: VideoIndex) -> tuple[float | None, int]:
        """The frame rate in which the video is counted, ``None`` for its own, and how many frames it then has."""
        if self.fps is None or abs(index.fps / self.fps - 1) <= SAME_RATE:
            return None, index.frames
        return self.fps, max(1, round(index.duration * self.fps))

    def windows(self, video: Video) -> list[Window]:
        return self.grid.windows(self.timeline(video), self.sampling)

    def load(self, video: Video, window: Window) -> tuple[Tensor, Tensor]:
        return self._clip(self.frames, video, window)[None], torch.from_numpy(window_mask(window, self.sampling))

    def draw(self, video: Video, window: Window, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        clip = self.augmentation.change(self._clip(self.training, video, window), self.sampling.frame_size, rng)
        return clip[None], torch.from_numpy(window_mask(window, self.sampling))

    def _clip(self, store: FrameStore, video: Video, window: Window) -> Tensor:
        rate, frames = self._counted(store.index(video.path))
        indices = self.grid.frames(window, frames, self.sampling)
        return store.frames(video.path, indices, rate).permute(1, 0, 2, 3)


def open_source(dataset: Dataset, sampling: SamplingConfig, reporter: Reporter = SILENT) -> Source:
    """The source of a dataset's windows. What is wrong with a video that can be read all the same is told to ``reporter``."""
    config = dataset.config
    if config.kind == "videos":
        return VideoSource(sampling, FrameStore(sampling.frame_size, reporter=reporter), config.augment)
    return FeatureSource(sampling, transposed=config.transposed)


def common_rate(source: Source, videos: Iterable[Video]) -> float | None:
    """Frames per second of videos that all have one rate, else ``None``."""
    rates = [source.timeline(video).fps for video in videos]
    middle = sorted(rates)[len(rates) // 2] if rates else 0.0
    return round(middle, 3) if rates and all(abs(rate / middle - 1) <= SAME_RATE for rate in rates) else None


def file_source(config: DetectorConfig, path: Path, reporter: Reporter = SILENT, fps: float | None = None) -> Source:
    """A source for one file that belongs to no dataset. It keeps no more than a window, so a long video needs no more memory.

    Args:
        fps: take a video as if it had so many frames per second; default: what the model was trained at, else the video's own.

    Raises:
        UserError: a video where the model takes features, or the reverse, or a way of sampling that there is not.
    """
    kind, mode = model_kind(config), config.sampling.mode
    given: Kind = "features" if path.suffix.removeprefix(".") in READERS else "videos"
    if given != kind:
        raise UserError(f"the model takes {kind}, not {given}", where=path, fix=f"Features are files of type {', '.join(READERS)}")
    if mode not in MODES[kind]:
        raise UserError(f"{kind} cannot be sampled in mode {mode!r}", where=path, fix=f"Modes: {', '.join(MODES[kind])}")
    if isinstance(config.backbone, FeatureConfig):
        return FeatureSource(config.sampling, config.backbone.channels)
    return VideoSource(config.sampling, FrameStore(config.sampling.frame_size, max_bytes=0, reporter=reporter), fps=fps or config.sampling.fps)


def model_kind(config: DetectorConfig) -> Kind:
    """What a model takes."""
    return "features" if isinstance(config.backbone, FeatureConfig) else "videos"


def feature_channels(dataset: Dataset) -> int:
    """Channels of a dataset's features, all streams together, by the first of its videos that is there.

    Raises:
        UserError: none is, or it has no files of features.
    """
    video = next((video for video in map(dataset.video, dataset.records) if video.path.is_file()), None)
    if video is None:
        raise UserError("not one file of features is here", where=dataset.folders[0], fix="Correct 'features' in the dataset YAML")
    return len(FeatureSource(SamplingConfig(), transposed=dataset.config.transposed).read(video, 0, 1))
