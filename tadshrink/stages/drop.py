"""``drop``: remove blocks, or halves of them, from a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.opening import ModelFile, check_merged
from tadshrink.errors import UserError
from tadshrink.models.body import unit_prefixes
from tadshrink.models.config import DetectorConfig
from tadshrink.models.units import NOUNS, Left, Unit, left_of, merged, split_unit, units, whole, without
from tadshrink.recognition.config import RecogniserConfig
from tadshrink.recognition.opening import read_either
from tadshrink.reporting import SILENT, Reporter
from tadshrink.stages.common import Written, save_stage
from tadshrink.stages.sides import side_of


@dataclass(frozen=True)
class Dropped(Written):
    """A checkpoint with fewer units; ``dropped`` lists all that are gone, in the order of dropping, ``now`` what went now."""

    dropped: list[Unit]
    remaining: list[Unit]
    now: list[Unit]


def drop(checkpoint: Path | ModelFile, output: Path, blocks: Sequence[Unit] | None = None, count: int | None = None,
         span: int | None = None, reporter: Reporter = SILENT) -> Dropped:
    """Remove the named units, or the ``count`` best-ranked ones, or the best run of ``span`` neighbours, and write the rest.

    By default the best candidate of the ranking goes. The survivors keep their indices. The ranking goes: it was measured on the
    model before the drop.

    Args:
        blocks: original indices, or halves such as "3.mlp".

    Raises:
        UserError: a unit that is not there, no ranking to choose by, LoRA that is not merged, or nothing would be left.
    """
    count = 1 if count is None and blocks is None and span is None else count
    source = read_either(checkpoint, reporter)
    check_merged(source, checkpoint)
    config = side_of(source).config(source.architecture, checkpoint)
    if not config.block_count:
        raise UserError("this network has no blocks that can be dropped", where=checkpoint, fix="Give a model with a ViT or a stem of blocks")
    left = left_of(config.block_count, source.dropped)
    chosen = _named(blocks, left, checkpoint) if blocks is not None else _ranked(source, left, 1 if count is None else count, span, checkpoint)
    rest = left
    for unit in chosen:
        rest = without(rest, unit)
    if not rest:
        raise UserError(f"dropping {len(chosen)} of {len(left)} blocks leaves none", where=checkpoint, fix="Drop fewer")
    dropped = merged([*source.dropped, *chosen])
    arguments: dict[str, Any] = {"blocks": list(blocks) if blocks is not None else None, "count": count}
    arguments |= {"span": span} if span else {}
    made = without_units(source, chosen, config)
    written = save_stage(output, made, "drop", arguments, source.checksum, {"dropped": chosen})
    return Dropped(written.output, written.checksum, dropped, whole(rest), chosen)


def without_units(checkpoint: Checkpoint, chosen: Sequence[Unit], config: DetectorConfig | RecogniserConfig) -> Checkpoint:
    """The checkpoint without the weights of these units."""
    body, left = side_of(checkpoint).body(config), left_of(config.block_count, checkpoint.dropped)
    prefixes: tuple[str, ...] = ()
    for unit in chosen:
        prefixes += unit_prefixes(body, left, unit)
        left = without(left, unit)
    rest = {name: value for name, value in checkpoint.state.items() if not name.startswith(prefixes)}
    return replace(checkpoint, state=rest, dropped=merged([*checkpoint.dropped, *chosen]), ranking=None)


def _named(chosen: Sequence[Unit], left: Left, where: object) -> list[Unit]:
    if wrong := sorted({str(unit) for unit in chosen if not _is_there(unit, left)}):
        raise UserError(f"no block {', '.join(wrong)}", where=where, fix=f"The remaining blocks are {', '.join(map(str, whole(left)))}")
    halves = [(index, half) for index, parts in map(split_unit, chosen) for half in parts]
    if len(set(halves)) != len(halves) or not chosen:
        raise UserError("name each block once, and at least one", where=where, fix="For example: --blocks 3,7")
    return list(chosen)


def _is_there(unit: Unit, left: Left) -> bool:
    index, halves = split_unit(unit)
    return bool(set(halves) & set(left.get(index, ())))


def _ranked(checkpoint: Checkpoint, left: Left, count: int, span: int | None, where: object) -> list[Unit]:
    ranking = _ranking(checkpoint, left, where)
    length, noun = len(ranking[0]), NOUNS[_kind(ranking)]
    if span not in (None, length) or (count > 1 and length > 1):
        raise UserError(f"the checkpoint's ranking is of {f'runs of {length}' if length > 1 else 'single'} {noun}", where=where,
                        fix=f"Run tadshrink select again{f', with --span {span}' if span else ', without --span'}")
    if not 1 <= count < len(ranking) + (length > 1):
        raise UserError(f"cannot drop {count} of {len(ranking)} {noun}", where=where, fix="Drop at least one, and leave at least one")
    if count > (finished := sum(item.get("stopped") is None for item in checkpoint.ranking["ranking"])):
        raise UserError(f"the race for the ranking was for {finished} of the {noun}, not {count}", where=where,
                        fix=f"Run tadshrink select again, with --top {count}")
    return [unit for run in ranking[:count] for unit in run]


def _ranking(checkpoint: Checkpoint, left: Left, where: object) -> list[list[Unit]]:
    """The units of every candidate, best first."""
    if checkpoint.ranking is None:
        raise UserError("the checkpoint holds no ranking", where=where, fix="Run tadshrink select first, or name blocks with --blocks")
    ranking = [item.get("units", [item["block"]]) for item in checkpoint.ranking["ranking"]]
    if {unit for item in ranking for unit in item} != set(units(left, _kind(ranking))):
        raise UserError("the checkpoint's ranking is not of the blocks that it has", where=where, fix="Run tadshrink select again")
    return ranking


def _kind(ranking: list[list[Unit]]) -> str:
    first = ranking[0][0]
    return "block" if isinstance(first, int) else first.split(".")[1]
