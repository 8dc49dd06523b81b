"""Forward passes of selection: what the model makes of a batch without each candidate, for little more than one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from tadshrink.compress.candidates import WHOLE, Key
from tadshrink.models.detector import Detector
from tadshrink.models.units import HALVES, Unit, split_unit


def leave_out(detector: Detector, inputs: Tensor, masks: Tensor, candidates: Sequence[Key]) -> dict[Key, Tensor]:
    """Features ``[B, D, T]`` that go into the head without each candidate, and of the whole model.

    The running activation is kept, and only the blocks from the candidate on run again: about half of the block forwards of
    running every model, with the same numbers.
    """
    features: dict[Key, Tensor] = {}
    tokens = detector.embed(inputs, masks)
    for block in detector.blocks.indices:
        for key in candidates:
            if split_unit(key[0])[0] == block:
                features[key] = detector.pool(detector.run_blocks(tokens, masks, first=block, skipped=key), masks)
        tokens = detector.run_blocks(tokens, masks, first=block, last=block)
    features[WHOLE] = detector.pool(tokens, masks)
    return features


def whole_output(model: Any, inputs: Tensor, masks: Tensor) -> Any:
    """What a detector or a recogniser says of a batch."""
    return model.finish(model.pool(model.run_blocks(model.embed(inputs, masks), masks), masks), masks)


def walk(detector: Detector, inputs: Tensor, masks: Tensor, kind: str) -> Iterator[tuple[Unit, Tensor, Tensor]]:
    """Every unit of a kind in turn, with the tokens before and after it."""
    tokens, context = detector.embed(inputs, masks), detector.body.context(detector, masks)
    for index, halves in detector.blocks.left.items():
        block, before = detector.blocks[index], tokens
        if kind == "block":
            tokens = block(tokens, context)
            yield index, before, tokens
        else:
            for half, run in zip(HALVES, (block.attention_half, block.mlp_half), strict=True):
                if half in halves:
                    before, tokens = tokens, run(tokens, context)
                    if half == kind:
                        yield f"{index}.{half}", before, tokens
            tokens = block.end(tokens, context)
        tokens = detector.blocks.join(index, tokens, context)
