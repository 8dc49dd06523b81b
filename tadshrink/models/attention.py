"""The masked transformer of ActionFormer. Everything here is channel-last, [B, T, C], with masks [B, T, 1] of 0 and 1."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadshrink.models.blocks import Cut, HalvedBlock
from tadshrink.models.config import HeadConfig
from tadshrink.models.convolution import DepthwiseConv, PointwiseConv
from tadshrink.models.vit import stochastic_depth

#: Queries that attend together within a band; fewer waste less of their products, more make longer matrices.
RUN = 32


class MaskedAttention(nn.Module):
    """Multi-head attention over time, global or within a band, after a depthwise convolution of q, k and v."""

    def __init__(self, config: HeadConfig, stride: int, heads: int | None = None) -> None:
        """``heads``: how many of the configured ones there are; by default all."""
        super().__init__()
        heads = config.heads if heads is None else heads
        width, inner = config.width, config.width // config.heads * heads
        self.heads, self.window = heads, config.attention_window
        for name in ("query", "key", "value"):
            self.add_module(f"{name}_conv", DepthwiseConv(width, stride))
            self.add_module(f"{name}_norm", nn.LayerNorm(width, eps=1e-5))
            self.add_module(name, PointwiseConv(width, inner))
        self.proj = PointwiseConv(inner, width)
        if config.relative_position:
            self.rel_pe = nn.Parameter(torch.empty(1, 1, self.heads, self.window))
            nn.init.trunc_normal_(self.rel_pe, std=(2.0 / width) ** 0.5)

    def _heads(self, name: str, x: Tensor, mask: Tensor) -> Tensor:
        """One of query, key, value: [B, T, C] -> [B, heads, T', C / heads]."""
        x = self.get_submodule(f"{name}_conv")(x, mask)
        x = self.get_submodule(name)(self.get_submodule(f"{name}_norm")(x))
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, T, C] and the mask of the OUTPUT [B, T', 1] -> [B, T', C], zero where masked."""
        query, key, value = (self._heads(name, x, mask) for name in ("query", "key", "value"))
        y = self._banded(query, key, value, mask) if self.window > 1 else self._global(query, key, value, mask)
        return self.proj(y.transpose(1, 2).flatten(2)) * mask

    def _global(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """[B, heads, T, D] each -> [B, heads, T, D]."""
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask.bool()[:, None, None, :, 0])

    def _banded(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """The same, each query with the keys at most half the window away.

        Runs of queries share one run of keys, so that time and memory grow with T and not with its square.
        """
        (batch, _, length, _), half = query.shape, self.window // 2
        run = max(RUN, 2 * half)
        count = -(-length // run)
        extra, around = count * run - length, run + 2 * half
        queries = F.pad(query, (0, 0, 0, extra)).unflatten(2, (count, run)).transpose(1, 2).flatten(0, 1)
        keys, values = (F.pad(part, (0, 0, half, half + extra)).unfold(2, around, run).permute(0, 2, 1, 4, 3).flatten(0, 1)
                        for part in (key, value))
        valid = F.pad(mask[..., 0], (half, half + extra)).unfold(1, around, run).flatten(0, 1).bool()
        y = F.scaled_dot_product_attention(queries, keys, values, attn_mask=self._band(valid, run))
        return y.unflatten(0, (batch, count)).transpose(1, 2).flatten(2, 3)[:, :, :length]

    def _band(self, valid: Tensor, run: int) -> Tensor:
        """Which key each query of a run may see, bool [N, 1, run, keys]; with relative positions, what is added to their products
        [N, heads, run, keys]. ``valid``: bool [N, keys]."""
        index = torch.arange(valid.shape[1], device=valid.device)
        # Number of the key within the window around the query, whose first key has the query's own number.
        place = index - index[:run, None]
        inside, itself = (place >= 0) & (place < self.window), place == self.window // 2
        # Itself always, so that no row is empty: the output of a masked query is zeroed later anyway.
        allowed = ((valid[:, None] & inside) | itself)[:, None]
        if not hasattr(self, "rel_pe"):
            return allowed
        return torch.where(allowed, self.rel_pe[0, 0][:, place.clamp(0, self.window - 1)], -torch.inf)


class ScaledPath(nn.Module):
    """Residual branch times a learned factor per channel (LayerScale), with stochastic depth."""

    def __init__(self, width: int, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.scale = nn.Parameter(torch.full((1, width, 1), 1e-4))

    def forward(self, branch: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        return stochastic_depth(branch * self.scale.view(-1), self.drop_path, self.training)


class TransformerBlock(HalvedBlock):
    """Pre-norm block; with stride 2 it halves the time axis ("ActionFormer").

    From [B, T, C] and the mask of the OUTPUT [B, T / stride, 1] to [B, T / stride, C].
    """

    parts: ClassVar = {"attention": ("ln1", "attn", "drop_path_attn"), "mlp": ("ln2", "mlp", "drop_path_mlp")}

    cuts: ClassVar = {
        "attention": (*(Cut(f"attn.{name}.{kind}") for name in ("query", "key", "value") for kind in ("weight", "bias")),
                      Cut("attn.proj.weight", axis=1)),
        "mlp": (Cut("mlp.0.weight"), Cut("mlp.0.bias"), Cut("mlp.3.weight", axis=1)),
    }

    def __init__(self, config: HeadConfig, stride: int, index: int | None = None) -> None:
        """``index``: its number in the stem; ``None`` outside of it."""
        super().__init__()
        width, (heads, hidden) = config.width, config.sizes(index)
        self.stride = stride
        self.ln1 = nn.LayerNorm(width, eps=1e-5)
        self.attn = MaskedAttention(config, stride, heads)
        self.ln2 = nn.LayerNorm(width, eps=1e-5)
        # The placeholder keeps the second layer at index 3, its name in checkpoints.
        self.mlp = nn.Sequential(PointwiseConv(width, hidden), nn.GELU(), nn.Identity(), PointwiseConv(hidden, width))
        self.drop_path_attn, self.drop_path_mlp = (self._path(config) for _ in range(2))

    @staticmethod
    def _path(config: HeadConfig) -> nn.Module:
        """Without stochastic depth the reference has no learned factor either."""
        return ScaledPath(config.width, config.drop_path) if config.drop_path > 0 else nn.Identity()

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return x
        return F.max_pool1d(x.transpose(1, 2), 3, stride=self.stride, padding=1).transpose(1, 2)

    def attention_half(self, x: Tensor, mask: Tensor) -> Tensor:
        return self._shortcut(x) * mask + self.drop_path_attn(self.attn(self.ln1(x), mask))

    def mlp_half(self, x: Tensor, mask: Tensor) -> Tensor:
        return x + self.drop_path_mlp(self.branch(self.ln2, lambda y: self.mlp[1](self.mlp[0](y)), self.mlp[3], x) * mask)
