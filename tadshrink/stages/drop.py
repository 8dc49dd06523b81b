"""``drop``: remove blocks from a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.opening import ModelFile, read_model
from tadshrink.errors import UserError
from tadshrink.models.body import BODIES
from tadshrink.models.config import DetectorConfig
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import Written, save_stage


@dataclass(frozen=True)
class Dropped(Written):
    """A checkpoint with fewer blocks; ``dropped`` lists all that are gone, in the order of dropping."""

    dropped: list[int]
    remaining: list[int]


def drop(checkpoint: Path | ModelFile, output: Path, blocks: Sequence[int] | None = None, count: int | None = None,
         reporter: Reporter = SILENT) -> Dropped:
    """Remove the named blocks (original indices), or the ``count`` best-ranked ones (default 1), and write the rest.

    The survivors keep their indices. The ranking goes: it was measured on the model before the drop.

    Raises:
        UserError: a block that is not there, no ranking to choose by, or no block would be left.
    """
    count = 1 if count is None and blocks is None else count
    source = read_model(checkpoint, reporter)
    config = DetectorConfig.parse(source.architecture, where=checkpoint)
    remaining = [index for index in range(config.block_count) if index not in source.dropped]
    chosen = _named(blocks, remaining, checkpoint) if blocks is not None else _ranked(source, remaining, count, checkpoint)
    left = [index for index in remaining if index not in chosen]
    if not left:
        raise UserError(f"dropping {len(chosen)} of {len(remaining)} blocks leaves none", where=checkpoint, fix="Drop fewer")
    arguments: dict[str, Any] = {"blocks": list(blocks) if blocks is not None else None, "count": count}
    written = save_stage(output, without_blocks(source, chosen, config), "drop", arguments, source.checksum, {"dropped": chosen})
    return Dropped(written.output, written.checksum, [*source.dropped, *chosen], left)


def without_blocks(checkpoint: Checkpoint, blocks: Sequence[int], config: DetectorConfig) -> Checkpoint:
    """The checkpoint without the weights (and LoRA) of these blocks."""
    gone = tuple(f"{BODIES[type(config.backbone)].prefix}.{index}." for index in blocks)
    lora = checkpoint.lora and {**checkpoint.lora, "state": _without(checkpoint.lora["state"], gone)}
    return replace(checkpoint, state=_without(checkpoint.state, gone), lora=lora, dropped=[*checkpoint.dropped, *blocks], ranking=None)


def _without(state: dict[str, Tensor], prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not name.startswith(prefixes)}


def _named(blocks: Sequence[int], remaining: list[int], where: object) -> list[int]:
    if wrong := sorted({index for index in blocks if index not in remaining}):
        raise UserError(f"no block {', '.join(map(str, wrong))}", where=where, fix=f"The remaining blocks are {', '.join(map(str, remaining))}")
    if len(set(blocks)) != len(blocks) or not blocks:
        raise UserError("name each block once, and at least one", where=where, fix="For example: --blocks 3,7")
    return list(blocks)


def _ranked(checkpoint: Checkpoint, remaining: list[int], count: int, where: object) -> list[int]:
    if checkpoint.ranking is None:
        raise UserError("the checkpoint holds no ranking", where=where, fix="Run tadshrink select first, or name blocks with --blocks")
    ranking = [item["block"] for item in checkpoint.ranking["ranking"]]
    if sorted(ranking) != remaining:
        raise UserError("the checkpoint's ranking is not of the blocks that it has", where=where, fix="Run tadshrink select again")
    if not 1 <= count < len(ranking):
        raise UserError(f"cannot drop {count} of {len(ranking)} blocks", where=where, fix="Drop at least one, and leave at least one")
    return ranking[:count]
