"""ActionFormer on a feature sequence: projection to a pyramid, norm per level, heads shared over the levels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadshrink.models.attention import TemporalConv, TransformerBlock
from tadshrink.models.config import HeadConfig
from tadshrink.models.vit import sinusoid_table


class ConvBlock(nn.Module):
    """Convolution, norm and ReLU, masked before the norm and at the end."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.conv = TemporalConv(inputs, width)
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, T, inputs], mask [B, T, 1] -> [B, T, width]."""
        return F.relu(self.norm(self.conv(x) * mask)) * mask


class Projection(nn.Module):
    """Features to a pyramid: convolutions, transformer blocks, then one halving transformer block per level."""

    def __init__(self, config: HeadConfig, inputs: int, window: int) -> None:
        super().__init__()
        self.config, self.window = config, window
        sizes = [inputs] + [config.width] * config.embed_layers
        self.embed = nn.ModuleList(ConvBlock(size, config.width) for size in sizes[:-1])
        self.stem = nn.ModuleList(TransformerBlock(config, 1) for _ in range(config.stem_layers))
        self.branch = nn.ModuleList(TransformerBlock(config, 2) for _ in range(config.levels - 1))
        if config.absolute_position:
            table = sinusoid_table(window, config.width) / math.sqrt(config.width)
            self.register_buffer("positions", table, persistent=False)

    def padded_length(self, length: int) -> int:
        """Grid cells after padding: the window, or the next multiple that the pyramid can halve."""
        if length <= self.window:
            return self.window
        half = self.config.attention_window // 2
        multiple = 2 ** (self.config.levels - 1) * max(2 * half, 1)
        return math.ceil(length / multiple) * multiple

    def _position(self, length: int) -> Tensor:
        """Absolute positions [1, length, C]; resized if the input is longer than the table."""
        if length <= self.window:
            return self.positions[None, :length]
        table = self.positions.t()[None]
        return F.interpolate(table, size=length, mode="linear", align_corners=False).transpose(1, 2)

    def forward(self, features: Tensor, masks: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Features [B, D, T] and masks bool [B, T] -> per level [B, T_l, C] and masks of 0 and 1 [B, T_l, 1]."""
        extra = self.padded_length(features.shape[-1]) - features.shape[-1]
        features, mask = F.pad(features, (0, extra)), F.pad(masks, (0, extra))
        # Whole channels are dropped, as for feature input in the reference.
        x = F.dropout1d(features, self.config.input_dropout, self.training).transpose(1, 2)
        mask = mask.to(x.dtype)[..., None]
        for layer in self.embed:
            x = layer(x, mask)
        if self.config.absolute_position:
            x = x + self._position(x.shape[1]) * mask
        for block in self.stem:
            x, mask = block(x, mask)
        levels, level_masks = [x], [mask]
        for block in self.branch:
            x, mask = block(x, mask)
            levels.append(x)
            level_masks.append(mask)
        return levels, level_masks


class Neck(nn.Module):
    """One LayerNorm per level."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.fpn_norms = nn.ModuleList(nn.LayerNorm(config.width, eps=1e-6) for _ in range(config.levels))

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Per level [B, T_l, C] -> the same shapes."""
        return [norm(level) for norm, level in zip(self.fpn_norms, levels, strict=True)]


class Scale(nn.Module):
    """One learned number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, times the number."""
        return x * self.scale


def join_levels(levels: list[Tensor]) -> Tensor:
    """Levels [B, T_l, C] behind each other with one zero cell after each: [B, sum(T_l + 1), C].

    The zero cell is what a convolution with kernel 3 would see as padding, so one pass does all levels.
    """
    return torch.cat([F.pad(level, (0, 0, 0, 1)) for level in levels], dim=1)


def split_levels(joined: Tensor, lengths: list[int]) -> list[Tensor]:
    """The inverse of :func:`join_levels`."""
    parts = joined.split([length + 1 for length in lengths], dim=1)
    return [part[:, :-1] for part in parts]


class Head(nn.Module):
    """Class logits and distances to start and end for every cell of every level; the levels share all weights."""

    def __init__(self, config: HeadConfig, classes: int) -> None:
        super().__init__()
        width, layers = config.width, range(config.head_layers)
        self.cls_convs = nn.ModuleList(ConvBlock(width, width) for _ in layers)
        self.reg_convs = nn.ModuleList(ConvBlock(width, width) for _ in layers)
        self.cls_head = TemporalConv(width, classes, bias=True)
        self.reg_head = TemporalConv(width, 2, bias=True)
        self.scale = nn.ModuleList(Scale() for _ in range(config.levels))
        self.register_buffer("loss_normalizer", torch.tensor(100.0))

    def forward(self, levels: list[Tensor], masks: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per level [B, T_l, C] and masks [B, T_l, 1] -> logits [B, T_l, K] and offsets [B, T_l, 2] in strides."""
        lengths = [level.shape[1] for level in levels]
        cls, mask = join_levels(levels), join_levels(masks)
        reg = cls
        for cls_conv, reg_conv in zip(self.cls_convs, self.reg_convs, strict=True):
            cls, reg = cls_conv(cls, mask), reg_conv(reg, mask)
        logits = split_levels(self.cls_head(cls), lengths)
        offsets = split_levels(self.reg_head(reg), lengths)
        return logits, [F.relu(scale(offset)) for scale, offset in zip(self.scale, offsets, strict=True)]


def initialise(module: nn.Module) -> None:
    """Zero biases of convolutions; apply before :func:`initialise_prior` ("ActionFormer")."""
    if isinstance(module, nn.Conv1d) and module.bias is not None:
        nn.init.zeros_(module.bias)


def initialise_prior(head: Head, probability: float) -> None:
    """Start every class at this probability, so that the many negatives do not swamp the first steps."""
    nn.init.constant_(head.cls_head.bias, -math.log((1 - probability) / probability))
