"""Where windows come from: videos or features behind one interface, so that nobody else asks which it is."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from tadshrink.data.augment import augment
from tadshrink.data.dataset_config import MODES, Kind
from tadshrink.data.datasets import Dataset
from tadshrink.data.features import READERS, FeatureSource, measure_scale, read_features
from tadshrink.data.grids import GRIDS
from tadshrink.data.timeline import Timeline, Video
from tadshrink.data.video import FrameStore
from tadshrink.data.windows import Window, window_mask
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig, FeatureConfig, SamplingConfig


class Source(Protocol):
    """Windows of one kind of input, cut as ``sampling`` says.

    Attributes:
        kept_share: a training window keeps an action of which at least this share is inside.
    """

    sampling: SamplingConfig
    kept_share: float

    def timeline(self, video: Video) -> Timeline:
        """What is known of a video without loading it; remembered."""

    def load(self, video: Video, window: Window) -> tuple[Tensor, Tensor]:
        """One window as the detector takes it, without the batch dimension: uint8 frames ``[1, 3, F, H, W]`` or float32
        features ``[C, T]``; and the mask bool ``[T]`` of the cells that are not padding."""

    def augment(self, inputs: Tensor, rng: np.random.Generator) -> Tensor:
        """A random change of what :meth:`load` gave, for training."""


class VideoSource:
    """Windows over video files; ``frames`` keeps what was decoded."""

    kept_share = 0.75

    def __init__(self, sampling: SamplingConfig, frames: FrameStore | None = None) -> None:
        self.sampling, self.grid = sampling, GRIDS[sampling.mode]
        self.frames = frames or FrameStore(sampling.frame_size)

    def timeline(self, video: Video) -> Timeline:
        info = self.frames.info(video.path)
        duration = info.duration if video.duration is None else video.duration
        return Timeline(duration, info.frames / duration, info.frames, self.grid.cells(info.frames, self.sampling))

    def load(self, video: Video, window: Window) -> tuple[Tensor, Tensor]:
        indices = self.grid.frames(window, self.frames.info(video.path).frames, self.sampling)
        clip = self.frames.frames(video.path, indices).permute(1, 0, 2, 3)
        return clip[None], torch.from_numpy(window_mask(window, self.sampling))

    def augment(self, inputs: Tensor, rng: np.random.Generator) -> Tensor:
        return augment(inputs[0], rng)[None]


def open_source(dataset: Dataset, sampling: SamplingConfig) -> Source:
    """The source of a dataset's windows. With ``normalise: training`` all training features are read once for it."""
    config = dataset.config
    if config.kind == "videos":
        return VideoSource(sampling)
    training = (dataset.file(record) for record in dataset.split("train"))
    scale = measure_scale(training, config.transposed) if config.normalise == "training" else None
    return FeatureSource(sampling, transposed=config.transposed, scale=scale)


def file_source(config: DetectorConfig, path: Path) -> Source:
    """A source for one file that belongs to no dataset. It keeps nothing, so a long video needs no more memory.

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
    return VideoSource(config.sampling, FrameStore(config.sampling.frame_size, max_bytes=0))


def model_kind(config: DetectorConfig) -> Kind:
    """What a model takes."""
    return "features" if isinstance(config.backbone, FeatureConfig) else "videos"


def feature_channels(dataset: Dataset) -> int:
    """Channels of a dataset's features, by the first of its files that is there.

    Raises:
        UserError: none is, or it is not a file of features.
    """
    path = next((path for record in dataset.records if (path := dataset.file(record)).is_file()), None)
    if path is None:
        raise UserError("not one file of features is here", where=dataset.folder, fix="Correct 'features' in the dataset YAML")
    return read_features(path, dataset.config.transposed).shape[1]
