"""Parameter groups and the learning rate as a function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from tadshrink.training.settings import TrainSettings

#: A short memory for squared gradients: with 0.999 the first, large ones hold back a ViT trained from scratch for thousands of steps.
BETAS = (0.9, 0.95)


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; matrices and convolutions decay, biases, norms and scales do not."""
    named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    decayed = [value for name, value in named if _decays(name, value)]
    others = [value for name, value in named if not _decays(name, value)]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.lr, betas=BETAS, fused=True)


def _decays(name: str, value: nn.Parameter) -> bool:
    return value.ndim >= 2 and not name.endswith((".bias", ".scale"))


def learning_rate(step: int, steps: int, settings: TrainSettings) -> float:
    """Linear warm-up from the first step on, then half a cosine down to 0."""
    warmup = max(1, round(settings.warmup * steps))
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    return settings.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value
