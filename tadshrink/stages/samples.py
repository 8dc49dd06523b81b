"""A few windows on which two forms of one model are compared: real ones where there are any, else noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from tadshrink.compress.benches import BENCHES
from tadshrink.data.datasets import HELDOUT
from tadshrink.data.sources import Source
from tadshrink.data.timeline import Video
from tadshrink.data.windows import Window
from tadshrink.errors import UserError
from tadshrink.reporting import SILENT
from tadshrink.stages.common import DatasetChoice, Opened
from tadshrink.stages.sides import side_of


@dataclass(frozen=True, eq=False)
class Samples:
    """Windows as the detector takes them, ``inputs`` and ``masks``, and what they are of in words; ``real`` if not of noise."""

    inputs: Tensor
    masks: Tensor
    text: str
    real: bool = True

    def first(self, count: int) -> tuple[Tensor, Tensor]:
        """Inputs and masks of the first few."""
        return self.inputs[:count], self.masks[:count]


def sample_windows(opened: Opened, count: int, choice: DatasetChoice | None = None, file: Path | None = None,
                   fps: float | None = None) -> Samples:
    """Up to ``count`` windows of the model's length: of the held-out videos of a dataset, of one file, or noise.

    Raises:
        UserError: the dataset or the file cannot be read, or is not for this model.
    """
    if choice is not None:
        side = side_of(opened.checkpoint)
        opened, data = side.fitted(opened, side.load(choice, SILENT), SILENT)
        source = side.source(data, opened.detector.config, SILENT)
        return _gathered(source, BENCHES[type(data)].videos(data, HELDOUT), count, f"windows of {choice.name}")
    if file is not None:
        video = Video(file.stem, file, fps=fps)
        return _gathered(side_of(opened.checkpoint).file(opened.detector.config, video), [video], count, f"windows of {file}")
    return Samples(*side_of(opened.checkpoint).noise(opened.detector.config), "a window of noise", real=False)


def _gathered(source: Source, videos: Sequence[Video], count: int, text: str) -> Samples:
    length = source.sampling.window
    loaded = [source.load(video, window) for video, window in _spread(source, videos, count)]
    if not loaded:
        raise UserError("there is not one window to compare on", fix="Give a dataset with held-out videos, or a longer video")
    inputs, masks = zip(*((part[..., :length] if part.dim() == 2 else part, mask[:length]) for part, mask in loaded), strict=True)
    return Samples(torch.stack(inputs), torch.stack(masks), f"{len(loaded)} {text}")


def _spread(source: Source, videos: Sequence[Video], count: int) -> Iterator[tuple[Video, Window]]:
    """Windows from as many videos as there are places for, and evenly from each of them."""
    chosen = videos[:count]
    for number, video in enumerate(chosen):
        share = count * (number + 1) // len(chosen) - count * number // len(chosen)
        windows = source.windows(video)
        step = max(1, len(windows) / share)
        yield from ((video, windows[int(step * place)]) for place in range(min(share, len(windows))))
