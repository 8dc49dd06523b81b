"""What the blocks of a detector make of a batch, kept by original block index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tadshrink.models.blocks import DroppableBlocks, HalvedBlock
from tadshrink.models.detector import Detector

#: Stands for what goes into the first block, among the blocks' original indices.
ENTRY = -1


@dataclass
class Trace:
    """Tokens ``[n, tokens, D]`` by original block index: after each block, and between its attention and its MLP."""

    outputs: dict[int, Tensor] = field(default_factory=dict)
    mids: dict[int, Tensor] = field(default_factory=dict)


def run_traced(detector: Detector, tokens: Tensor, masks: Tensor, trace: Trace, first: int = 0, last: int | None = None, mids: bool = False,
               checkpointing: bool = False) -> Tensor:
    """:meth:`~tadshrink.models.detector.Detector.run_blocks` that fills a trace.

    Args:
        mids: whether the tokens between attention and MLP are kept, too, of blocks that have both.
        checkpointing: keep nothing inside the blocks for the backward pass, which runs each block once more.
    """
    context = detector.body.context(detector, masks)
    with _watched(detector.blocks, trace.mids) if mids else nullcontext():
        for index in detector.blocks.indices:
            if index < first or (last is not None and index > last):
                continue
            block: Callable[..., Tensor] = detector.blocks[index]
            tokens = checkpoint(block, tokens, context, use_reentrant=False) if checkpointing else block(tokens, context)
            trace.outputs[index] = tokens
            tokens = detector.blocks.join(index, tokens, context)
    return tokens


@contextmanager
def _watched(blocks: DroppableBlocks, mids: dict[int, Tensor]) -> Iterator[None]:
    """Keep what goes into the first module of each whole block's MLP half."""
    def keep(index: int, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        mids[index] = inputs[0]

    with ExitStack() as stack:
        for index, halves in blocks.left.items():
            block = blocks[index]
            if isinstance(block, HalvedBlock) and len(halves) == 2:
                entrance = getattr(block, block.parts["mlp"][0])
                stack.callback(entrance.register_forward_pre_hook(partial(keep, index)).remove)
        yield


def joined(traces: list[Trace]) -> Trace:
    """The traces of single samples as that of a batch."""
    def together(parts: list[dict[int, Tensor]]) -> dict[int, Tensor]:
        return {index: torch.cat([part[index] for part in parts]) for index in parts[0]}

    return Trace(together([trace.outputs for trace in traces]), together([trace.mids for trace in traces]))
