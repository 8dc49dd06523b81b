"""Windows to measure and to count with."""

from __future__ import annotations

import torch
from torch import Tensor

from tadshrink.models.config import DetectorConfig, FeatureConfig


def example_window(config: DetectorConfig, batch: int = 1) -> tuple[Tensor, Tensor]:
    """The same noise each time: uint8 [B, 1, 3, F, H, W] or features [B, C, T], and bool [B, window] of cells, none padding."""
    generator, masks = torch.Generator().manual_seed(0), torch.ones(batch, config.sampling.window, dtype=torch.bool)
    if isinstance(config.backbone, FeatureConfig):
        return torch.randn(*_shape(config, batch), generator=generator), masks
    return torch.randint(256, _shape(config, batch), dtype=torch.uint8, generator=generator), masks


def blank_window(config: DetectorConfig) -> tuple[Tensor, Tensor]:
    """The same of one window without data ("meta" device), which is enough to count."""
    dtype = torch.float32 if isinstance(config.backbone, FeatureConfig) else torch.uint8
    with torch.device("meta"):
        return torch.empty(_shape(config, 1), dtype=dtype), torch.empty(1, config.sampling.window, dtype=torch.bool)


def _shape(config: DetectorConfig, batch: int) -> tuple[int, ...]:
    sampling = config.sampling
    if isinstance(config.backbone, FeatureConfig):
        return batch, config.backbone.channels, sampling.window
    return batch, 1, 3, sampling.frames, sampling.frame_size, sampling.frame_size
