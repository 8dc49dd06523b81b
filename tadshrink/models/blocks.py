"""A run of blocks of which any can be dropped, whole or by half."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tadshrink.models.units import HALVES, Left, Unit, split_unit, without


@dataclass(frozen=True)
class Cut:
    """A weight of a block along one axis of which its heads, or hidden units, lie one after the other.

    Attributes:
        name: within the block.
        axis: 0 where they come out, 1 where they go in.
        repeats: how often all of them lie there: queries, keys and values in one matrix.
    """

    name: str
    axis: int = 0
    repeats: int = 1


class HalvedBlock(nn.Module):
    """A block of two residual branches, attention and then MLP, each of which can be dropped on its own."""

    #: The modules that make up each half; the first of them is never an ``nn.Identity`` while the half is there.
    parts: ClassVar[dict[str, tuple[str, ...]]]
    #: The weights of which heads (half "attention") and hidden units (half "mlp") can be cut away; the last one of each is the way out.
    cuts: ClassVar[dict[str, tuple[Cut, ...]]]
    #: Whether what the MLP widens the tokens to is computed again in the backward pass, instead of being kept for it.
    thrifty = False

    @property
    def halves(self) -> tuple[str, ...]:
        """The halves that are left."""
        return tuple(half for half in HALVES if not isinstance(getattr(self, self.parts[half][0]), nn.Identity))

    def branch(self, norm: nn.Module, widen: Callable[[Tensor], Tensor], narrow: nn.Module, tokens: Tensor) -> Tensor:
        """What the MLP adds to the tokens. If ``narrow`` is not trained, nothing that is as wide as its input is kept when thrifty."""
        def wide(tokens: Tensor) -> Tensor:
            return widen(norm(tokens))

        if self.thrifty and torch.is_grad_enabled():
            return narrow(checkpoint(wide, tokens, use_reentrant=False, preserve_rng_state=False))
        return narrow(wide(tokens))

    def drop_half(self, half: str) -> None:
        """Remove a branch and free its weights."""
        for name in self.parts[half]:
            setattr(self, name, nn.Identity())

    def attention_half(self, tokens: Tensor, context: Any) -> Tensor:
        """Tokens with what the attention adds."""
        raise NotImplementedError

    def mlp_half(self, tokens: Tensor, context: Any) -> Tensor:
        """Tokens with what the MLP adds."""
        raise NotImplementedError

    def end(self, tokens: Tensor, context: Any) -> Tensor:
        """What follows both halves and goes with the last of them."""
        return tokens

    def forward(self, tokens: Tensor, context: Any, skipped: Collection[str] = ()) -> Tensor:
        """The halves that are left and not ``skipped``; tokens keep their shape."""
        present = self.halves
        for half, run in zip(HALVES, (self.attention_half, self.mlp_half), strict=True):
            if half in present and half not in skipped:
                tokens = run(tokens, context)
        return self.end(tokens, context)


class DroppableBlocks(nn.ModuleList):
    """Residual blocks that keep the shape. A dropped one leaves a placeholder: survivors keep their original index.

    Attributes:
        joint: what happens to the tokens between two blocks, if anything: ``(tokens, context) -> tokens``, which may be of another shape,
            and the original index of the block that it follows. It stays when that block goes.
    """

    joint: tuple[int, Callable[[Tensor, Any], Tensor]] | None = None

    @property
    def left(self) -> Left:
        """The halves that are left of every block, by original index, ascending."""
        return {index: halves for index, block in enumerate(self) if (halves := _halves(block))}

    @property
    def indices(self) -> tuple[int, ...]:
        """Original indices of the blocks of which something is left, ascending."""
        return tuple(self.left)

    def drop(self, unit: Unit) -> None:
        """Remove a block or half of one and free its weights; the others keep theirs.

        Raises:
            UserError: it is not there.
        """
        index, halves = split_unit(unit)
        if index in without(self.left, unit):
            self[index].drop_half(*halves)
        else:
            self[index] = nn.Identity()

    @property
    def joint_place(self) -> int | None:
        """The last block left before the joint, by original index; -1 if none is, and ``None`` without a joint."""
        if self.joint is None:
            return None
        # Asked for after every block: only those from the joint backwards are looked at.
        return next((index for index in range(self.joint[0], -1, -1) if _halves(self[index])), -1)

    def join(self, index: int, tokens: Tensor, context: Any) -> Tensor:
        """What goes into the block after ``index``, from what came out of this one (-1: what goes into all blocks)."""
        return tokens if self.joint is None or index != self.joint_place else self.joint[1](tokens, context)

    def run(self, tokens: Tensor, context: Any, first: int = 0, last: int | None = None, skipped: Collection[Unit] = (),
            joined: bool = True) -> Tensor:
        """Run the surviving blocks whose original index is from ``first`` to ``last`` (``None``: to the end).

        Args:
            tokens: the output of the block before ``first``, or what goes into the first block; every block keeps its shape.
            context: what each block needs beside the tokens.
            skipped: units that are left out, as if they had been dropped.
            joined: whether the joint comes to pass, if it is in between.
        """
        for index, block in enumerate(self):
            if index < first or (last is not None and index > last) or not (halves := _halves(block)):
                continue
            leaving = _skipped(index, halves, skipped)
            if len(leaving) < len(halves):
                tokens = block(tokens, context, leaving) if leaving else block(tokens, context)
            tokens = self.join(index, tokens, context) if joined else tokens
        return tokens


def _halves(block: nn.Module) -> tuple[str, ...]:
    """What is left of a block."""
    if isinstance(block, nn.Identity):
        return ()
    return block.halves if isinstance(block, HalvedBlock) else HALVES


def _skipped(index: int, halves: tuple[str, ...], units: Collection[Unit]) -> tuple[str, ...]:
    """Which of the halves that a block has are left out."""
    return halves if index in units else tuple(half for half in halves if f"{index}.{half}" in units)
