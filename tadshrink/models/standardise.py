"""Features at the scale that a detector was trained for."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Standardise(nn.Module):
    """Brings each channel to mean 0 and deviation 1 over the training videos. A part of the model, so that every command that
    runs it, on whatever files, does the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def measured(self, mean: Tensor, std: Tensor) -> None:
        """Take these, float ``[C]`` each."""
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        """Features [B, C, T] and masks bool [B, T] -> [B, C, T], zero in padding."""
        return (features - self.mean[:, None]) / self.std[:, None] * masks[:, None]
