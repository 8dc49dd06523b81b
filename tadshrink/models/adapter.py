"""The temporal adapter of AdaTAD: a narrow branch at the end of a ViT block in which the chunks of a clip see each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadshrink.models.convolution import PointwiseConv


class TemporalAdapter(nn.Module):
    """Down-projection, convolution over the time of the whole clip, up-projection, residual ("AdaTAD", section 3.3)."""

    def __init__(self, width: int, inner: int, steps: int) -> None:
        """``steps``: time steps of one chunk."""
        super().__init__()
        self.steps = steps
        self.gamma = nn.Parameter(torch.ones(1))
        self.dwconv = nn.Conv1d(inner, inner, 3, padding=1, groups=inner)
        self.conv = PointwiseConv(inner, inner)
        self.down_proj = nn.Linear(width, inner)
        self.up_proj = nn.Linear(inner, width)

    def forward(self, tokens: Tensor, batch: int) -> Tensor:
        """Tokens [batch * chunks, N, D], the chunks of a clip next to each other -> the same shape."""
        inner = F.gelu(self.down_proj(tokens))
        series = inner.reshape(batch, tokens.shape[0] // batch * self.steps, -1, inner.shape[-1])
        return tokens + self.up_proj(inner + self.conv(self._over_time(series)).view_as(inner)) * self.gamma

    def _over_time(self, series: Tensor) -> Tensor:
        """Depthwise convolution of [B, T, cells, inner] along T as shifted sums; zero beyond the clip."""
        before, here, after = self.dwconv.weight[:, 0].unbind(-1)
        padded = F.pad(series, (0, 0, 0, 0, 1, 1))
        result = torch.addcmul(self.dwconv.bias, series, here)
        result = torch.addcmul(result, padded[:, :-2], before)
        return torch.addcmul(result, padded[:, 2:], after)

    def start_closed(self) -> None:
        """Weights for training from scratch: the adapter changes nothing at first."""
        nn.init.zeros_(self.up_proj.weight)
        nn.init.zeros_(self.up_proj.bias)
