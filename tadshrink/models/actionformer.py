"""ActionFormer on a feature sequence: projection to a pyramid, norm per level, heads shared over the levels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadshrink.models.attention import TransformerBlock
from tadshrink.models.blocks import DroppableBlocks
from tadshrink.models.config import HeadConfig
from tadshrink.models.convolution import DepthwiseConv, LateralConv, PointwiseConv, TemporalConv
from tadshrink.models.variants import VARIANTS
from tadshrink.models.vit import sinusoid_table


class ConvBlock(nn.Module):
    """Convolution, norm and ReLU, masked before the norm and at the end."""

    def __init__(self, inputs: int, config: HeadConfig) -> None:
        super().__init__()
        self.conv = TemporalConv(inputs, config.width)
        self.norm = nn.LayerNorm(config.width, eps=VARIANTS[config.variant].norm_eps)

    def forward(self, x: Tensor, mask: Tensor, end: Tensor) -> Tensor:
        """[B, T, inputs], masks [B, T, 1] before the norm and at the end -> [B, T, width]."""
        return F.relu(self.norm(self.conv(x) * mask)) * end


class Projection(nn.Module):
    """Features to a pyramid: convolutions, transformer blocks, then one halving transformer block per level."""

    def __init__(self, config: HeadConfig, inputs: int, window: int) -> None:
        super().__init__()
        self.config, self.window = config, window
        sizes = [inputs] + [config.width] * config.embed_layers
        self.embed = nn.ModuleList(ConvBlock(size, config) for size in sizes[:-1])
        self.stem = DroppableBlocks(TransformerBlock(config, 1, index) for index in range(config.stem_layers))
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

    def pad(self, masks: Tensor) -> Tensor:
        """Masks bool [B, T] -> masks of 0 and 1 [B, padded length, 1]."""
        extra = self.padded_length(masks.shape[-1]) - masks.shape[-1]
        return F.pad(masks, (0, extra)).to(self.embed[0].conv.weight.dtype)[..., None]

    def enter(self, features: Tensor, mask: Tensor) -> Tensor:
        """Features [B, D, T] and their mask from :meth:`pad` -> what goes into the stem [B, padded length, C]."""
        features = F.pad(features, (0, mask.shape[1] - features.shape[-1]))
        # Whole channels are dropped, as for feature input in the reference.
        x = F.dropout1d(features, self.config.input_dropout, self.training).transpose(1, 2)
        end = mask if VARIANTS[self.config.variant].mask_after_norm else torch.ones_like(mask)
        for layer in self.embed:
            x = layer(x, mask, end)
        return x + self._position(x.shape[1]) * mask if self.config.absolute_position else x

    def pyramid(self, x: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The stem's output [B, T, C] and its mask -> per level [B, T_l, C] and masks of 0 and 1 [B, T_l, 1]."""
        levels, masks = [x], [mask]
        for block in self.branch:
            masks.append(masks[-1][:, :: block.stride])
            levels.append(block(levels[-1], masks[-1]))
        return levels, masks

    def forward(self, features: Tensor, masks: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Features [B, D, T] and masks bool [B, T] -> per level [B, T_l, C] and masks of 0 and 1 [B, T_l, 1]."""
        mask = self.pad(masks)
        return self.pyramid(self.stem.run(self.enter(features, mask), mask), mask)


class Neck(nn.Module):
    """One LayerNorm per level."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        eps = VARIANTS[config.variant].norm_eps
        self.fpn_norms = nn.ModuleList(nn.LayerNorm(config.width, eps=eps) for _ in range(config.levels))

    def forward(self, levels: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
        """Per level [B, T_l, C] and masks [B, T_l, 1] -> the same shapes."""
        return [norm(level) for norm, level in zip(self.fpn_norms, levels, strict=True)]


class PyramidNeck(Neck):
    """Feature pyramid network: coarse levels are summed into fine ones, then a depthwise convolution and a norm per level."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__(config)
        self.lateral_convs = nn.ModuleList(LateralConv(config.width, config.width) for _ in range(config.levels))
        self.fpn_convs = nn.ModuleList(DepthwiseConv(config.width) for _ in range(config.levels))

    def forward(self, levels: list[Tensor], masks: list[Tensor]) -> list[Tensor]:
        """Per level [B, T_l, C] and masks [B, T_l, 1] -> the same shapes."""
        sums = [conv(level, mask) for conv, level, mask in zip(self.lateral_convs, levels, masks, strict=True)]
        for fine in reversed(range(len(sums) - 1)):
            sums[fine] = sums[fine] + sums[fine + 1].repeat_interleave(2, dim=1)
        return super().forward([conv(level, mask) for conv, level, mask in zip(self.fpn_convs, sums, masks, strict=True)], masks)


NECKS: dict[str, type[Neck]] = {"identity": Neck, "fpn": PyramidNeck}


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
        self.variant = VARIANTS[config.variant]
        width, layers = config.width, range(config.head_layers)
        self.cls_convs = nn.ModuleList(ConvBlock(width, config) for _ in layers)
        self.reg_convs = nn.ModuleList(ConvBlock(width, config) for _ in layers)
        self.cls_head = TemporalConv(width, classes, bias=True)
        self.reg_head = TemporalConv(width, 2, bias=True)
        self.scale = nn.ModuleList(Scale() for _ in range(config.levels))
        self.register_buffer("loss_normalizer", torch.tensor(config.loss_normalizer))

    def forward(self, levels: list[Tensor], masks: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per level [B, T_l, C] and masks [B, T_l, 1] -> logits [B, T_l, K] and offsets [B, T_l, 2] in strides."""
        lengths = [level.shape[1] for level in levels]
        cls, mask = join_levels(levels), join_levels(masks)
        # The cell between two levels stays zero even where padding does not.
        end = mask if self.variant.mask_after_norm else join_levels([torch.ones_like(level) for level in masks])
        reg = cls
        for cls_conv, reg_conv in zip(self.cls_convs, self.reg_convs, strict=True):
            cls, reg = cls_conv(cls, mask, end), reg_conv(reg, mask, end)
        shown = mask if self.variant.mask_outputs else 1.0
        logits = split_levels(self.cls_head(cls) * shown, lengths)
        offsets = split_levels(self.reg_head(reg) * shown, lengths)
        return logits, [F.relu(scale(offset)) for scale, offset in zip(self.scale, offsets, strict=True)]


def initialise(module: nn.Module) -> None:
    """Zero biases of convolutions; apply before :func:`initialise_prior` ("ActionFormer")."""
    if isinstance(module, nn.Conv1d | PointwiseConv) and module.bias is not None:
        nn.init.zeros_(module.bias)


def initialise_prior(head: Head, probability: float) -> None:
    """Start every class at this probability, so that the many negatives do not swamp the first steps, and both boundaries one stride away.

    A distance that is negative in all cells, as it may be at random, is cut to 0 and has no gradient: it would never be learned.
    """
    nn.init.constant_(head.cls_head.bias, -math.log((1 - probability) / probability))
    nn.init.ones_(head.reg_head.bias)
