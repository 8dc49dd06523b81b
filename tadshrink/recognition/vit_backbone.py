"""The VideoMAE ViT as the backbone of a recogniser: split after any block, and pooled as in its own fine-tuning."""

from __future__ import annotations

import torch
from torch import Tensor

from tadshrink.models.config import BackboneConfig
from tadshrink.models.vit import VideoViT


class VitBackbone(VideoViT):
    """The ViT on one clip. Here ``fc_norm`` is applied, after the mean over all tokens."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__(config)
        self.steps = config.chunk_frames // config.tubelet

    @property
    def outputs(self) -> int:
        """Channels of what :meth:`tail` gives."""
        return self.config.width

    def channels(self, last: int) -> int:
        """Channels of the features after a block."""
        return self.config.width

    def head(self, pixels: Tensor, last: int) -> Tensor:
        """Normalised pixels [n, 3, F, H, W] -> features after block ``last`` (its original index), [n, D, F / tubelet, h, w]."""
        tokens = self.blocks.run(self.embed(pixels), pixels.shape[0], last=last, joined=False)
        grid = (size // patch for size, patch in zip(pixels.shape[2:], self.patch_embed.projection.kernel_size, strict=True))
        return tokens.transpose(1, 2).unflatten(2, tuple(grid))

    def tail(self, features: Tensor, last: int) -> Tensor:
        """Features after block ``last`` [n, D, T, h, w], of any number of steps -> [n, D].

        The blocks know no more steps than a clip has: longer features are cut into groups, as even as possible, that see only
        themselves, and the mean over the groups is given. What is linear in it is then the mean over the groups as well.
        """
        count = -(-int(features.shape[2]) // self.steps)
        if features.shape[2] % count == 0:
            return self._pooled(self.grouped(features), last).unflatten(0, (-1, count)).mean(1)
        return torch.stack([self._pooled(self.grouped(group), last) for group in features.tensor_split(count, dim=2)]).mean(0)

    def grouped(self, features: Tensor) -> Tensor:
        """Features [n, D, T, h, w] as tokens of groups of steps [n * G, T / G * h * w, D], with the least G that the blocks take."""
        count = -(-int(features.shape[2]) // self.steps)
        return features.unflatten(2, (count, -1)).permute(0, 2, 3, 4, 5, 1).flatten(2, 4).flatten(0, 1).contiguous()

    def _pooled(self, tokens: Tensor, last: int) -> Tensor:
        return self.fc_norm(self.blocks.run(tokens, tokens.shape[0], first=last + 1).mean(1))
