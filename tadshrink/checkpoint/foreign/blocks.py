"""Which blocks the model had, which of them are gone, and under which numbers the file has the others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from tadshrink.checkpoint.foreign.names import VIT
from tadshrink.checkpoint.foreign.presets import VIDEOMAE_SIZES
from tadshrink.checkpoint.foreign.settings import MOST_LAYERS
from tadshrink.checkpoint.foreign.shapes import Shapes
from tadshrink.checkpoint.wording import shortened
from tadshrink.errors import UserError

_DEPTHS = {width: (letter, depth) for letter, (width, depth, _) in VIDEOMAE_SIZES.items()}


@dataclass(frozen=True)
class Blocks:
    """The droppable blocks: those of the ViT, or of the stem on features.

    Attributes:
        depth: before any was dropped.
        dropped: original numbers in the order of dropping.
        unused: dropped ones that the file has weights for all the same.
        numbers: number in the file -> original number, where they differ.
        notes: what was assumed.
    """

    prefix: str
    depth: int
    dropped: tuple[int, ...]
    unused: tuple[int, ...] = ()
    numbers: Mapping[int, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def applied(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights by our names, without the unused blocks' and under the original numbers."""
        regex = re.compile(rf"({re.escape(self.prefix)})([0-9]+)(\..+)")
        made: dict[str, Tensor] = {}
        for name, value in state.items():
            match = regex.fullmatch(name)
            number = int(match[2]) if match and len(match[2]) <= 4 else None
            if number in self.unused:
                continue
            made[f"{match[1]}{self.numbers[number]}{match[3]}" if match and number in self.numbers else name] = value
        return made


def find_blocks(shapes: Shapes, depth: int | None, dropped: tuple[int, ...] | None, stored: list[int] | None, where: object) -> Blocks:
    """Blocks from the numbers that have weights.

    Args:
        depth: as given by the user, who knows best; else that of the VideoMAE size of this width, else the highest number.
        dropped: as given by the user. Some models of the Progressive-Block-Drop fork keep the weights of blocks that they skip, so
            that only the user can tell which.
        stored: the file's own list.

    Raises:
        UserError: they contradict each other or the weights.
    """
    present = shapes.vit.blocks if shapes.vit else shapes.stem
    prefix = f"{VIT}blocks." if shapes.vit else "projection.stem."
    if not shapes.vit and dropped is None and stored and set(stored) & set(present):
        return _renumbered(prefix, present, stored, where)
    listed = dropped if dropped is not None else None if stored is None else tuple(stored)
    if not present and not listed:
        raise UserError(f"no block has weights ({prefix}*)", where=where, fix="Give a whole checkpoint")
    known = _DEPTHS.get(shapes.width) if shapes.width else None
    lowest = max([*present, *(listed or ())], default=-1) + 1
    total = depth or max(lowest, known[1] if known else 0)
    _check(total, present, listed, where)
    notes = []
    if known and depth is None and lowest < total:
        notes.append(f"VideoMAE-{known[0]} has {total} blocks: blocks {shortened(range(lowest, total))} count as dropped (--set depth={lowest} "
                     "if the model never had them)")
    order = listed if listed is not None else tuple(index for index in range(total) if index not in present)
    unused = tuple(index for index in order if index in present)
    if unused:
        notes.append(f"blocks {shortened(unused)} have weights, which are left out because the blocks count as dropped")
    return Blocks(prefix, total, order, unused, {}, tuple(notes))


def _check(depth: int, present: tuple[int, ...], listed: tuple[int, ...] | None, where: object) -> None:
    problems = []
    if beyond := [index for index in present if index >= depth]:
        problems.append(f"depth is {depth}, but there are weights of blocks {shortened(beyond)}")
    if listed is not None:
        if len(set(listed)) != len(listed) or not all(index < depth for index in listed):
            problems.append(f"dropped={','.join(map(str, listed))} must be different numbers below the depth {depth}")
        if unlisted := sorted(set(range(depth)) - set(present) - set(listed)):
            problems.append(f"blocks {shortened(unlisted)} have no weights either, but are not in dropped={','.join(map(str, listed))}")
        if len(set(present) - set(listed)) == 0:
            problems.append(f"dropped={','.join(map(str, listed))} leaves no block")
    if problems:
        raise UserError("; ".join(problems), where=where, fix="Change depth or dropped")


def _renumbered(prefix: str, present: tuple[int, ...], stored: list[int], where: object) -> Blocks:
    """The stem's blocks have consecutive numbers in the reference, so that a shorter stem can be loaded there."""
    depth = len(present) + len(stored)
    if max(stored) >= depth or depth > MOST_LAYERS or present != tuple(range(len(present))):
        raise UserError("drop_idx does not fit the blocks of the stem", where=where, fix="Give a whole checkpoint")
    kept = [index for index in range(depth) if index not in stored]
    return Blocks(prefix, depth, tuple(stored), (), dict(zip(present, kept, strict=True)))
