"""Features that were extracted before: files of ``[T, C]`` numbers, read window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tadshrink.data.timeline import Timeline, Video
from tadshrink.data.windows import Window
from tadshrink.errors import UserError
from tadshrink.models.config import SamplingConfig

Reader = Callable[[Path], np.ndarray]


def _read_npy(path: Path) -> np.ndarray:
    # Mapped, so that a window costs what is in it, and the length of a video nothing.
    return np.load(path, mmap_mode="r", allow_pickle=False)


#: How to open a file of features, by its extension.
READERS: dict[str, Reader] = {"npy": _read_npy}


def read_features(path: Path, transposed: bool = False) -> np.ndarray:
    """The features of a file, ``[T, C]`` of its own type.

    Args:
        transposed: the file holds ``[C, T]``.

    Raises:
        UserError: no such file, not one that a reader knows, or not a table of numbers with at least one row.
    """
    reader = READERS.get(path.suffix.removeprefix("."))
    if reader is None:
        raise UserError("not a file of features", where=path, fix=f"Give files of type {', '.join(READERS)}")
    try:
        values = reader(path)
    except FileNotFoundError as error:
        raise UserError("no such file of features", where=path, fix="Check the path") from error
    except (OSError, ValueError, EOFError) as error:
        raise UserError("the features cannot be read", where=path, fix=f"Check that it is a sound {path.suffix} file") from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiu":
        raise UserError("not a table of features (time x channels)", where=path, fix="Give one number per time step and channel")
    return values.T if transposed else values


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of every channel, float32 ``[C]``."""

    mean: np.ndarray
    std: np.ndarray


def measure_scale(paths: Iterable[Path], transposed: bool = False) -> Scale:
    """The scale of all time steps of some files. A channel that never changes has the deviation 1."""
    steps, total, squares = 0, np.zeros(()), np.zeros(())
    for path in paths:
        values = np.asarray(read_features(path, transposed), dtype=np.float64)
        steps, total, squares = steps + len(values), total + values.sum(0), squares + np.square(values).sum(0)
    mean = total / steps
    std = np.sqrt(np.maximum(squares / steps - np.square(mean), 0))
    return Scale(mean.astype(np.float32), np.where(std > 1e-6, std, 1).astype(np.float32))


class FeatureSource:
    """Windows over files of features; see :class:`~tadshrink.data.sources.Source`.

    Args:
        channels: what every file must have; by default that of the first one read.
        scale: features are brought to mean 0 and deviation 1 with it.
    """

    kept_share = 0.5

    def __init__(self, sampling: SamplingConfig, channels: int | None = None, transposed: bool = False, scale: Scale | None = None) -> None:
        self.sampling, self.channels, self.transposed, self.scale = sampling, channels, transposed, scale
        self._timelines: dict[Video, Timeline] = {}

    def timeline(self, video: Video) -> Timeline:
        if video not in self._timelines:
            self._timelines[video] = self._measure(video)
        return self._timelines[video]

    def load(self, video: Video, window: Window) -> tuple[Tensor, Tensor]:
        """Features float32 ``[C, T]`` and mask ``[T]``; T is the model's window, or more where the window has more cells."""
        part = self._open(video.path)[window.first:window.first + window.cells]
        values = np.array(part, dtype=np.float32)
        if len(values) == 0:
            raise UserError(f"no feature for cell {window.first} and after it, though the annotations say that the video goes on",
                            where=video.path, fix="Check 'snippet_stride' in the dataset YAML, and 'frame' in the annotations")
        if not np.isfinite(values).all():
            raise UserError("some features are not finite numbers", where=video.path, fix="Extract them again")
        if self.scale is not None:
            values = (values - self.scale.mean) / self.scale.std
        padding = max(self.sampling.window, window.cells) - len(values)
        inputs = functional.pad(torch.from_numpy(np.ascontiguousarray(values.T)), (0, padding))
        return inputs, torch.arange(inputs.shape[1]) < len(values)

    def augment(self, inputs: Tensor, rng: np.random.Generator) -> Tensor:
        """Features are left as they are."""
        return inputs

    def _measure(self, video: Video) -> Timeline:
        cells = len(self._open(video.path))
        fps = video.frames / video.duration if video.frames and video.duration else video.fps
        if fps is None:
            raise UserError("nothing says how many frames per second these features stand for", where=video.path,
                            fix="Give 'fps' in the annotations or the dataset YAML; for detect: --fps")
        stride, offset = self.sampling.snippet_stride, self.sampling.offset_frames
        # Each feature reaches as far behind its centre as the first one does before it.
        duration = video.duration or ((cells - 1) * stride + max(2 * offset, stride)) / fps
        return Timeline(duration, fps, video.frames, cells)

    def _open(self, path: Path) -> np.ndarray:
        values = read_features(path, self.transposed)
        self.channels = self.channels or values.shape[1]
        if values.shape[1] != self.channels:
            raise UserError(f"{values.shape[1]} channels, where {self.channels} are expected (file: {len(values)} time steps)", where=path,
                            fix="Give the features that the model was made for; 'transposed' in the dataset YAML swaps time and channels")
        return values
