"""1-D convolutions on channel-last tensors [B, T, C], as matrix products and shifted sums.

The weights keep the shapes and names of convolutions in state dicts, but on a CPU, and at the small sizes of a
temporal pyramid, a convolution is much slower.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PointwiseConv(nn.Linear):
    """Convolution with kernel 1: a linear layer whose weight is [outputs, inputs, 1] in state dicts."""

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        # Who asks for the parameters themselves (tracing) must get no view of them.
        if not keep_vars:
            destination[prefix + "weight"] = destination[prefix + "weight"].unsqueeze(-1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        weight = state_dict.get(prefix + "weight")
        if weight is not None and weight.dim() == 3 and weight.shape[-1] == 1:
            state_dict = {**state_dict, prefix + "weight": weight.squeeze(-1)}
        super()._load_from_state_dict(state_dict, prefix, *rest)


class TemporalConv(nn.Conv1d):
    """Convolution with kernel 3 and zero padding 1."""

    def __init__(self, inputs: int, outputs: int, bias: bool = False) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, inputs] -> [B, T, outputs]."""
        padded = F.pad(x, (0, 0, 1, 1))
        taps = torch.cat((padded[:, :-2], x, padded[:, 2:]), dim=-1)
        return F.linear(taps, self.weight.transpose(1, 2).flatten(1), self.bias)


class DepthwiseConv(nn.Module):
    """Depthwise convolution with kernel 3, zero padding 1, no bias, followed by the mask."""

    def __init__(self, width: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(width, width, 3, stride=stride, padding=1, groups=width, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, T, C] and the mask of the OUTPUT [B, T / stride, 1] -> [B, T / stride, C]."""
        before, here, after = self.conv.weight[:, 0].unbind(-1)
        padded, step = F.pad(x, (0, 0, 1, 1)), self.stride
        y = padded[:, 1:-1:step] * here
        y = torch.addcmul(y, padded[:, :-2:step], before)
        return torch.addcmul(y, padded[:, 2::step], after) * mask


class LateralConv(nn.Module):
    """Convolution with kernel 1, no bias, followed by the mask."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = PointwiseConv(inputs, outputs, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, T, inputs], mask [B, T, 1] -> [B, T, outputs]."""
        return self.conv(x) * mask
