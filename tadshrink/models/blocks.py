"""A run of blocks of which any can be dropped."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from tadshrink.errors import UserError


class DroppableBlocks(nn.ModuleList):
    """Residual blocks that keep the shape. A dropped one leaves a placeholder: survivors keep their original index."""

    @property
    def indices(self) -> tuple[int, ...]:
        """Original indices of the surviving blocks, ascending."""
        return tuple(index for index, block in enumerate(self) if not isinstance(block, nn.Identity))

    def drop(self, index: int) -> None:
        """Remove the block with this original index and free its weights; the other blocks keep theirs."""
        if index not in self.indices:
            raise UserError(f"block {index} cannot be dropped: the blocks left are {list(self.indices)}")
        self[index] = nn.Identity()

    def run(self, tokens: Tensor, context: Any, first: int = 0, last: int | None = None, outputs: dict[int, Tensor] | None = None) -> Tensor:
        """Run the surviving blocks whose original index is from ``first`` to ``last`` (``None``: to the end).

        Args:
            tokens: the output of the block before ``first``, or what goes into the first block; every block keeps its shape.
            context: what each block needs beside the tokens.
            outputs: if given, filled with the output of each block run, by original index.
        """
        for index in self.indices:
            if index < first or (last is not None and index > last):
                continue
            tokens = self[index](tokens, context)
            if outputs is not None:
                outputs[index] = tokens
        return tokens
