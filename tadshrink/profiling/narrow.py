"""Blocks with fewer heads and hidden units, as structured channel pruning leaves them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from tadshrink.errors import UserError
from tadshrink.models.detector import Detector
from tadshrink.models.units import HALVES
from tadshrink.models.vit import Attention, Block, FeedForward


class NarrowAttention(Attention):
    """Self-attention whose heads together are narrower than the tokens."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        """``inner``: width of all heads together."""
        super().__init__(inner, heads)
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.proj = nn.Linear(inner, width)


def narrow(detector: Detector, heads: Sequence[int], hidden: Sequence[int]) -> None:
    """Keep the first heads and hidden units of every block, in place. Which ones does not matter to its speed.

    Args:
        heads, hidden: of each block that is left, in their order; at least 1.

    Raises:
        UserError: see :func:`check_whole`.
    """
    check_whole(detector)
    blocks = [detector.blocks[index] for index in detector.blocks.indices]
    for block, heads_kept, hidden_kept in zip(blocks, heads, hidden, strict=True):
        block.attn = _first_heads(block.attn, heads_kept)
        block.mlp = _first_hidden(block.mlp, hidden_kept)


def check_whole(detector: Detector) -> None:
    """Raise a :class:`UserError` unless the blocks are those of a video backbone, with both halves and plain layers."""
    blocks = [detector.blocks[index] for index in detector.blocks.indices]
    if not all(isinstance(block, Block) for block in blocks):
        raise UserError("only the blocks of a video backbone can be made narrower", fix="Choose a detector on videos")
    if any(block.halves != HALVES or type(layer) is not nn.Linear for block in blocks
           for layer in (getattr(block.attn, "qkv", None), getattr(block.attn, "proj", None))):
        raise UserError("blocks without one half or with LoRA cannot be made narrower", fix="Choose whole blocks, and merge LoRA first")


@torch.no_grad()
def _first_heads(attention: Attention, heads: int) -> NarrowAttention:
    width = attention.proj.out_features
    inner = attention.proj.in_features // attention.heads * heads
    with torch.device(attention.qkv.weight.device):
        result = NarrowAttention(width, inner, heads)
    result.qkv.weight.copy_(attention.qkv.weight.view(3, -1, width)[:, :inner].flatten(0, 1))
    result.q_bias.copy_(attention.q_bias[:inner])
    result.v_bias.copy_(attention.v_bias[:inner])
    result.proj.weight.copy_(attention.proj.weight[:, :inner])
    result.proj.bias.copy_(attention.proj.bias)
    return result.train(attention.training)


@torch.no_grad()
def _first_hidden(mlp: FeedForward, hidden: int) -> FeedForward:
    first, second = mlp.layers[0][0], mlp.layers[1]
    with torch.device(first.weight.device):
        result = FeedForward(first.in_features, hidden)
    result.layers[0][0].weight.copy_(first.weight[:hidden])
    result.layers[0][0].bias.copy_(first.bias[:hidden])
    result.layers[1].weight.copy_(second.weight[:, :hidden])
    result.layers[1].bias.copy_(second.bias)
    return result.train(mlp.training)
