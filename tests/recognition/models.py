"""Small recognisers with weights that leave nothing trivial."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tadshrink.models.config import BackboneConfig
from tadshrink.recognition.config import ClipConfig, RecogniserConfig, SfcConfig, SlowOnlyConfig
from tadshrink.recognition.recogniser import ActionRecogniser

VIT = RecogniserConfig(
    classes=("a", "b", "c"), backbone=BackboneConfig(width=8, depth=3, heads=2, table_size=32, chunk_frames=4, drop_path=0.5),
    clip=ClipConfig(frames=4, stride=2, size=32),
)
SLOW_ONLY = RecogniserConfig(
    classes=("a", "b", "c"), backbone=SlowOnlyConfig(depths=(1, 2, 1, 1), width=4), clip=ClipConfig(frames=3, stride=2, size=32),
)


def made(config: RecogniserConfig, sfc: SfcConfig | None = None, seed: int = 0) -> ActionRecogniser:
    """In eval mode, with norms that are not those of the start."""
    torch.manual_seed(seed)
    recogniser = ActionRecogniser(config.model_copy(update={"sfc": sfc})).eval()
    for module in recogniser.modules():
        if isinstance(module, nn.BatchNorm3d | nn.LayerNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return recogniser


def clips(config: RecogniserConfig, count: int, batch: int = 1, seed: int = 1) -> Tensor:
    """uint8 noise [batch, count, 3, F, S, S]."""
    clip = config.clip
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (batch, count, 3, clip.frames, clip.size, clip.size), dtype=torch.uint8, generator=generator)
