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
        tokens = self.blocks.run(self.embed(pixels), len(pixels), last=last)
        grid = (size // patch for size, patch in zip(pixels.shape[2:], self.patch_embed.projection.kernel_size, strict=True))
        return tokens.transpose(1, 2).unflatten(2, tuple(grid))

    def tail(self, features: Tensor, last: int) -> Tensor:
        """Features after block ``last`` [n, D, T, h, w], of any number of steps -> [n, D].

        The blocks know no more steps than a clip has: longer features are cut into groups, as even as possible, that see only
        themselves, and the mean over the groups is given. What is linear in it is then the mean over the groups as well.
        """
        groups = features.tensor_split(-(-int(features.shape[2]) // self.steps), dim=2)
        return torch.stack([self._pooled(group, last) for group in groups]).mean(0)

    def _pooled(self, features: Tensor, last: int) -> Tensor:
        tokens = features.flatten(2).transpose(1, 2).contiguous()
        return self.fc_norm(self.blocks.run(tokens, len(tokens), first=last + 1).mean(1))
