"""A file of OpenTAD, Progressive Block Drop or ActionFormer as a :class:`~tadshrink.checkpoint.format.Checkpoint`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from tadshrink.checkpoint.foreign import lora
from tadshrink.checkpoint.foreign.blocks import Blocks, find_blocks
from tadshrink.checkpoint.foreign.infer import Inferred, infer
from tadshrink.checkpoint.foreign.kinds import Kind, Naming, recognise
from tadshrink.checkpoint.foreign.layouts import EMA, RAW, Source, find_weights
from tadshrink.checkpoint.foreign.names import LOSS_NORMALIZER, VIT, actionformer_to_ours, actionformer_to_theirs
from tadshrink.checkpoint.foreign.presets import preset_named
from tadshrink.checkpoint.foreign.settings import LoadSettings
from tadshrink.checkpoint.foreign.shapes import read_shapes
from tadshrink.checkpoint.foreign.summary import IMPORT, summary
from tadshrink.checkpoint.foreign.tensors import half_precision
from tadshrink.checkpoint.format import Checkpoint, record
from tadshrink.checkpoint.wording import shortened
from tadshrink.errors import UserError
from tadshrink.models.config import DetectorConfig
from tadshrink.models.detector import Detector, weight_problems
from tadshrink.reporting import Reporter


def read_foreign(content: Any, settings: LoadSettings, where: object, reporter: Reporter) -> Checkpoint:
    """What ``torch.load`` returned, as a checkpoint; every choice is told to the reporter.

    Raises:
        UserError: no known layout, weights that are missing, left over, of a wrong shape or not sound, or settings that contradict them.
    """
    source = find_weights(content, settings.weights, where)
    kind = recognise(source.tensors, where)
    _refuse_others(kind, source, where)
    own, updates = _ours(kind.naming, source, where)
    shapes = read_shapes(own, where)
    blocks = find_blocks(shapes, settings.depth, settings.dropped, source.dropped, where)
    own, updates = blocks.applied(own), blocks.applied(updates)
    inferred = infer(shapes, kind.naming, blocks, settings, where, _frozen(source, own))
    _check(kind, inferred.config, blocks, own, updates, lora.wrapped_layers(source.tensors), where)
    checkpoint = _checkpoint(source, kind.naming, inferred.config, blocks, own, updates, settings)
    for note in _notes(source, checkpoint, inferred, blocks, settings):
        reporter.note(note)
    return checkpoint


def _refuse_others(kind: Kind, source: Source, where: object) -> None:
    """Files that are recognised, but are no detector that can be run here."""
    if kind.naming == "videomae":
        raise UserError(f"{kind.title}: a backbone without a detector", where=where, fix="Start training from it, with: tadshrink train --init")
    if any(name.startswith(f"{VIT}ladders.") for name in source.tensors):
        raise UserError("a ladder variant of Progressive Block Drop (a side network beside the ViT), which is not supported", where=where,
                        fix="Give a model with adapters, LoRA or neither")


def _ours(naming: Naming, source: Source, where: object) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights and low-rank updates by our names."""
    own, updates = (actionformer_to_ours(source.tensors), {}) if naming == "actionformer" else lora.split(source.tensors)
    if len(own) + len(updates) < len(source.tensors):
        raise UserError("two names in the file mean the same weight", where=where, fix="Give a checkpoint of one code base")
    return own, updates


def _frozen(source: Source, own: Mapping[str, Tensor]) -> bool:
    """Whether training left a video backbone alone: the optimizer has as many parameters as there are elsewhere."""
    elsewhere = [name for name in own if not name.startswith(VIT) and name != LOSS_NORMALIZER]
    return any(name.startswith(VIT) for name in own) and source.optimised == len(elsewhere)


def _check(kind: Kind, config: DetectorConfig, blocks: Blocks, own: Mapping[str, Tensor], updates: Mapping[str, Tensor],
           wrapped: list[str], where: object) -> None:
    """Raise unless these are exactly the weights of this architecture; told by the file's own names."""
    try:
        with torch.device("meta"):
            state = Detector(config, blocks.dropped).state_dict()
    except UserError as error:
        raise UserError(error.what, where=where, fix="Give what fits with --set KEY=VALUE") from error
    expected = _theirs(kind.naming, state, lora.expected(updates, state), wrapped)
    if problems := weight_problems(expected, _theirs(kind.naming, own, updates, wrapped)):
        raise UserError(f"weights do not fit what they look like, {kind.title}: {problems}", where=where,
                        fix="Give a whole checkpoint, or what it was made with (--set KEY=VALUE, --preset)")


def _theirs(naming: Naming, own: Mapping[str, Tensor], updates: Mapping[str, Tensor], wrapped: Iterable[str]) -> dict[str, Tensor]:
    if naming == "actionformer":
        return actionformer_to_theirs(own)
    return {**lora.own_names(own, wrapped), **lora.update_names(updates)}


def _checkpoint(source: Source, naming: Naming, config: DetectorConfig, blocks: Blocks, own: dict[str, Tensor],
                updates: dict[str, Tensor], settings: LoadSettings) -> Checkpoint:
    if naming == "actionformer":
        own[LOSS_NORMALIZER] = torch.tensor(config.head.loss_normalizer)
    kept = [index for index in range(config.block_count) if index not in blocks.dropped]
    checkpoint = Checkpoint(
        architecture=config.model_dump(mode="json"), state=own, classes=list(config.classes), dropped=list(blocks.dropped),
        lora=lora.assemble(updates, own, kept) if updates else None,
    )  # fmt: skip
    layout = "fork" if naming == "opentad" and _is_fork(source, checkpoint) and blocks.prefix.startswith(VIT) else naming
    given = settings.model_dump(mode="json", exclude_none=True)
    origin = {"layout": layout, "dictionary": source.dictionary, "weights": source.weights, "settings": given}
    return record(checkpoint, IMPORT, origin, {}, None)


def _is_fork(source: Source, checkpoint: Checkpoint) -> bool:
    """What only Progressive Block Drop writes: EMA weights without a prefix, low-rank updates, missing blocks."""
    mixed = source.prefixed.get(RAW) is True and source.prefixed.get(EMA) is False
    return mixed or bool(checkpoint.lora or checkpoint.dropped)


def _notes(source: Source, checkpoint: Checkpoint, inferred: Inferred, blocks: Blocks, settings: LoadSettings) -> list[str]:
    notes = [summary(checkpoint)]
    if source.weights:
        others = [key for key in source.prefixed if key != source.dictionary]
        other = f"; {shortened(others)} is left aside (--weights {'raw' if source.weights == 'EMA' else 'ema'})" if others else ""
        notes.append(f"{source.weights} weights, from {source.dictionary}{other}")
    if ignored := [key for key in source.ignored if key not in source.prefixed]:
        notes.append(f"not needed and ignored: {shortened(ignored, most=9)}")
    if note := half_precision(source.tensors):
        notes.append(note)
    notes += blocks.notes
    if checkpoint.lora and (note := lora.filling(checkpoint.lora)):
        notes.append(note)
    if settings.preset and (caution := preset_named(settings.preset).caution):
        notes.append(f"preset {settings.preset}: {caution}")
    return [*notes, *inferred.notes()]
