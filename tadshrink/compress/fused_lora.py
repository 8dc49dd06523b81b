"""LoRA layers that multiply once while they are trained."""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn
from torch.nn import functional


class FusedLinear(Linear):
    """By W + (alpha / rank) B A. With as many tokens as a video has, that sum costs nothing; peft's way, two more products and two sums
    over all tokens, takes a third longer per layer. Only the rounding differs, and it is then that of the merged layer."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not torch.is_grad_enabled() or self.merged:
            return super().forward(x, *args, **kwargs)
        base = self.get_base_layer()
        return functional.linear(x, base.weight + self.get_delta_weight("default"), base.bias)


def fuse(model: nn.Module) -> None:
    """Make all plain LoRA layers of a model such layers, in place."""
    for module in model.modules():
        if type(module) is Linear:
            module.__class__ = FusedLinear
