"""The module of Selective Feature Compression: attention that keeps the informative part of a long sequence of features.

The abstract of the paper and its figures say that queries are pooled over time by TopK, that keys and queries come from an abstraction
layer, and that values are the features themselves, so that a tail that was trained before understands them. All else is this package's
own choice ("Selective Feature Compression", ICCV 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadshrink.models.vit import attend
from tadshrink.recognition.config import SfcConfig
from tadshrink.recognition.convolution import VideoConv

#: What the cosine of a query and a key is multiplied by before training.
_TEMPERATURE = 10.0


def topk_mean(values: Tensor, count: int | None) -> Tensor:
    """Mean of the ``count`` largest along axis 2 (half of them by default), per channel and place."""
    size = int(values.shape[2])
    return values.topk(min(count or max(1, size // 2), size), dim=2, sorted=False).values.mean(2)


#: Name -> from the steps of a bin of time [B, C, size, H, W], and ``topk``, to one query [B, C, H, W].
POOLS: dict[str, Callable[[Tensor, int | None], Tensor]] = {
    "topk": topk_mean,
    "avg": lambda values, _: values.mean(2),
    "max": lambda values, _: values.amax(2),
    "none": lambda values, _: values[:, :, 0],
}


def time_bins(steps: int, bins: int) -> list[slice]:
    """``steps`` cut into bins as even as possible, none of them empty."""
    edges = [steps * index // bins for index in range(bins + 1)]
    return [slice(start, end) for start, end in pairwise(edges)]


def query_bins(keys: Tensor, left: int, clip: int | None) -> list[Tensor]:
    """What each query is pooled of: keys ``[B, c, T, H, W]`` to so many of ``[B, c, size, H, W]``.

    Args:
        clip: steps of a clip, where what comes after takes a clip's steps at a time and knows them by their place in the clip. Queries
            then are groups of up to so many: each group is pooled of some clips, and each of its steps of the same moment of all of them,
            so that a group is in the order of a clip. Otherwise bins follow each other in time.
    """
    if clip is None:
        return [keys[:, :, part] for part in time_bins(int(keys.shape[2]), left)]
    clips, groups = keys.unflatten(2, (-1, clip)), -(-left // clip)
    return [clips[:, :, some, moments].flatten(2, 3) for some in time_bins(int(clips.shape[2]), groups)
            for moments in time_bins(clip, left // groups)]


class SfcModule(nn.Module):
    """Features of a whole video in, fewer steps of them out.

    Queries and keys have length 1, so that without pooling a place is always most like itself: with a kernel of one place and a high
    temperature the module gives exactly what it was given.

    Args:
        channels: of the features.
        limit: steps of a clip, if they are all that the tail takes at once. More than that are made to be groups of one size.
    """

    def __init__(self, channels: int, config: SfcConfig, limit: int | None = None) -> None:
        super().__init__()
        self.config, self.limit = config, limit
        width = config.width or max(1, channels // 4)
        self.abstraction = nn.Sequential(
            VideoConv(channels, width, config.kernel), nn.BatchNorm3d(width), nn.ReLU(),
            VideoConv(width, width, config.kernel), nn.BatchNorm3d(width),
        )  # fmt: skip
        self.temperature = nn.Parameter(torch.tensor(_TEMPERATURE))

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, C, T', H, W], with T' as :meth:`steps` says."""
        keys = self.abstraction(features)
        queries = F.normalize(self.pooled(keys), dim=1)
        # The temperature stands in place of the usual 1 / sqrt(width).
        scale = self.temperature * keys.shape[1] ** 0.5
        attended = attend(self._sequences(queries) * scale, self._sequences(F.normalize(keys, dim=1)), self._sequences(features))
        return self._maps(attended, queries.shape[2:])

    def steps(self, steps: int) -> int:
        """How many of so many steps of time are left for the tail: max(1, round(ratio * steps)), or a few more for as few groups of one
        size as there can be."""
        left = self.config.steps(steps)
        groups = -(-left // self.limit) if self.limit else 1
        return groups * -(-left // groups)

    def pooled(self, keys: Tensor) -> Tensor:
        """One query per bin, see :func:`query_bins`: [B, c, T, H, W] -> [B, c, T', H, W]."""
        bins = query_bins(keys, self.steps(int(keys.shape[2])), self.limit)
        return torch.stack([POOLS[self.config.pool](part, self.config.topk) for part in bins], dim=2)

    def _sequences(self, maps: Tensor) -> Tensor:
        """What attends to itself as a sequence, with the channels last: the steps of each place, or all steps and places."""
        if self.config.attention == "time":
            return maps.permute(0, 3, 4, 2, 1).flatten(1, 2)
        return maps.flatten(2).transpose(1, 2)[:, None]

    def _maps(self, sequences: Tensor, shape: torch.Size) -> Tensor:
        """The inverse of :meth:`_sequences`; ``shape`` is (T', H, W)."""
        if self.config.attention == "time":
            return sequences.unflatten(1, tuple(shape[1:])).permute(0, 4, 3, 1, 2).contiguous()
        return sequences[:, 0].transpose(1, 2).unflatten(2, tuple(shape)).contiguous()
