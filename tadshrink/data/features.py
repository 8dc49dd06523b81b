"""Windows over features that were extracted before."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tadshrink.data.feature_files import read_features
from tadshrink.data.grids import GRIDS
from tadshrink.data.timeline import Timeline, Video
from tadshrink.data.windows import Window
from tadshrink.errors import UserError
from tadshrink.models.config import SamplingConfig

#: Streams of one video may differ by so many time steps; what is longer is cut.
MOST_APART = 2


class FeatureSource:
    """Windows over files of features; see :class:`~tadshrink.data.sources.Source`.

    Several streams (``Video.path`` and ``Video.more``) are joined along the channels.

    Args:
        channels: what every video must have; by default that of the first one read.
    """

    kept_share = 0.5

    def __init__(self, sampling: SamplingConfig, channels: int | None = None, transposed: bool = False) -> None:
        self.sampling, self.channels, self.transposed = sampling, channels, transposed
        self._timelines: dict[Video, Timeline] = {}

    def timeline(self, video: Video) -> Timeline:
        if video not in self._timelines:
            self._timelines[video] = self._measure(video)
        return self._timelines[video]

    def windows(self, video: Video) -> list[Window]:
        return GRIDS[self.sampling.mode].windows(self.timeline(video), self.sampling)

    def load(self, video: Video, window: Window) -> tuple[Tensor, Tensor]:
        """Features float32 ``[C, T]`` and mask ``[T]``; T is the model's window, or more where the window has more cells."""
        if self.sampling.mode == "resize":
            return self._resized(video)
        values = self.read(video, window.first, window.first + window.cells)
        if values.shape[1] == 0:
            raise UserError(f"no feature for cell {window.first} and after it, though the annotations say that the video goes on",
                            where=video.path, fix="Check 'snippet_stride' in the dataset YAML, and 'frame' in the annotations")
        padding = max(self.sampling.window, window.cells) - values.shape[1]
        inputs = functional.pad(values, (0, padding))
        return inputs, torch.arange(inputs.shape[1]) < values.shape[1]

    def read(self, video: Video, first: int = 0, last: int | None = None) -> Tensor:
        """Features of time steps ``first`` to ``last``, as far as there are any: float32 ``[C, T]``.

        Raises:
            UserError: unreadable files, streams that do not fit together, or numbers that are not finite.
        """
        values = torch.from_numpy(np.concatenate([np.array(part[first:last], dtype=np.float32).T for part in self._streams(video)]))
        if not torch.isfinite(values).all():
            raise UserError("some features are not finite numbers", where=video.path, fix="Extract them again")
        return values

    def draw(self, video: Video, window: Window, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """:meth:`load`: features are left as they are."""
        return self.load(video, window)

    def _resized(self, video: Video) -> tuple[Tensor, Tensor]:
        """The whole video on the window's cells, linear between time steps (both code bases' way)."""
        inputs = functional.interpolate(self.read(video)[None], size=self.sampling.window, mode="linear", align_corners=False)[0]
        return inputs, torch.ones(self.sampling.window, dtype=torch.bool)

    def _measure(self, video: Video) -> Timeline:
        steps = len(self._streams(video)[0])
        cells = self.sampling.window if self.sampling.mode == "resize" else steps
        fps = video.frames / video.duration if video.frames and video.duration else video.fps
        stride, offset = self.sampling.snippet_stride, self.sampling.offset_frames
        if fps is None and self.sampling.mode == "resize" and video.duration:
            # Only shares of the duration matter there.
            fps = steps * stride / video.duration
        if fps is None:
            raise UserError("nothing says how many frames per second these features stand for", where=video.path,
                            fix="Give 'fps' in the annotations or the dataset YAML; for detect: --fps")
        # Each feature reaches as far behind its centre as the first one does before it.
        frames = video.frames or (steps - 1) * stride + max(2 * offset, stride)
        duration = video.duration or frames / fps
        return Timeline(duration, fps, video.frames, cells)

    def _streams(self, video: Video) -> list[np.ndarray]:
        """Each stream ``[T, its channels]``, all of one length."""
        streams = [read_features(path, self.transposed) for path in (video.path, *video.more)]
        lengths = sorted(map(len, streams))
        if lengths[-1] - lengths[0] > MOST_APART:
            raise UserError(f"its streams have {', '.join(str(len(part)) for part in streams)} time steps", where=video.path,
                            fix="Extract all streams with the same stride")
        channels = sum(part.shape[1] for part in streams)
        self.channels = self.channels or channels
        if channels != self.channels:
            raise UserError(f"{channels} channels, where {self.channels} are expected (file: {lengths[0]} time steps)", where=video.path,
                            fix="Give the features that the model was made for; 'transposed' in the dataset YAML swaps time and channels")
        return [part[:lengths[0]] for part in streams]


def measure_scale(source: FeatureSource, videos: Iterable[Video]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every channel over all time steps of some videos, float32 ``[C]`` each.

    A channel that never changes has the deviation 1.
    """
    steps, total, squares = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for video in videos:
        values = source.read(video).double()
        steps, total, squares = steps + values.shape[1], total + values.sum(1), squares + values.square().sum(1)
    mean = total / steps
    std = (squares / steps - mean.square()).clamp_min(0).sqrt()
    return mean.float(), torch.where(std > 1e-6, std, 1.0).float()
