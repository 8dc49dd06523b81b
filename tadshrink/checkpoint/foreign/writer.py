"""A checkpoint as a file that the code base it belongs to loads strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor

from tadshrink.checkpoint.foreign import lora
from tadshrink.checkpoint.foreign.layouts import EMA, RAW
from tadshrink.checkpoint.foreign.names import actionformer_to_theirs
from tadshrink.checkpoint.foreign.summary import imported
from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.torch_file import packed, write_torch
from tadshrink.errors import UserError, check_known
from tadshrink.models.config import BackboneConfig, DetectorConfig

ReferenceLayout = Literal["opentad", "fork", "actionformer"]

_TITLES: dict[str, str] = {"opentad": "OpenTAD", "fork": "Progressive Block Drop", "actionformer": "the original ActionFormer"}
_PREFIX = "module."
#: Whether the names begin with ``module.``: in ``state_dict``, and in ``state_dict_ema``.
_PREFIXED = {"opentad": (True, True), "fork": (True, False), "actionformer": (True, True)}


def save_reference(path: str | Path, checkpoint: Checkpoint, layout: ReferenceLayout | None = None) -> str:
    """Write :func:`to_reference` atomically; returns what to tell the user about it.

    Raises:
        UserError: the path cannot be written, or the code base cannot hold this checkpoint.
    """
    layout, why = choose_layout(checkpoint, layout)
    content = to_reference(checkpoint, layout, path)
    write_torch(path, content)
    note = f"{_TITLES[layout]}'s layout ({why}), {len(content[RAW])} weights; set there: {', '.join(_configuration(checkpoint))}"
    return note + _caution(checkpoint)


def to_reference(checkpoint: Checkpoint, layout: ReferenceLayout | None = None, where: object = None) -> dict[str, Any]:
    """What ``torch.save`` is to write: ``epoch``, the same weights as ``state_dict`` and ``state_dict_ema``, and ``drop_idx``.

    The code bases read no ``drop_idx``; it keeps the order of dropping for :func:`~tadshrink.checkpoint.io.load_checkpoint`.

    Raises:
        UserError: the code base cannot hold this checkpoint; all reasons together.
    """
    layout, _ = choose_layout(checkpoint, layout)
    config = DetectorConfig.parse(checkpoint.architecture, where)
    if problems := [problem for problem, holds in _limits(checkpoint, config, layout).items() if not holds]:
        raise UserError(f"cannot be written for {_TITLES[layout]}: {'; '.join(problems)}", where=where,
                        fix="Choose another layout, or --onnx; a file of tadshrink itself holds every model")
    weights = packed(_weights(checkpoint, config, layout, where))
    raw, ema = ({_PREFIX + name: value for name, value in weights.items()} if prefixed else weights for prefixed in _PREFIXED[layout])
    content = {"epoch": 0, RAW: raw, EMA: ema}
    return content | ({"drop_idx": list(checkpoint.dropped)} if checkpoint.dropped else {})


def choose_layout(checkpoint: Checkpoint, layout: ReferenceLayout | None = None) -> tuple[ReferenceLayout, str]:
    """The layout asked for, else the one that fits, and why."""
    if layout is not None:
        check_known("layout", layout, get_args(ReferenceLayout))
        return layout, "as asked for"
    config = DetectorConfig.parse(checkpoint.architecture, "checkpoint")
    if config.head.variant == "actionformer":
        return "actionformer", "whose arithmetic the weights are for"
    if isinstance(config.backbone, BackboneConfig) and (checkpoint.lora or checkpoint.dropped):
        has = {"LoRA": checkpoint.lora, "dropped blocks": checkpoint.dropped}
        return "fork", f"only it has {' and '.join(name for name, there in has.items() if there)}"
    origin = imported(checkpoint).get("layout")
    return (origin, "which the weights came from") if origin in get_args(ReferenceLayout) else ("opentad", "the usual one")


def _limits(checkpoint: Checkpoint, config: DetectorConfig, layout: ReferenceLayout) -> dict[str, bool]:
    """Reason against -> whether all is well."""
    video, original = isinstance(config.backbone, BackboneConfig), layout == "actionformer"
    halves = [unit for unit in checkpoint.dropped if isinstance(unit, str)]
    return {
        "its head computes something else with these weights": (config.head.variant == "actionformer") == original,
        "it has no video backbone": not (video and original),
        "it has no LoRA (merge first, with: tadshrink merge)": not checkpoint.lora or layout == "fork",
        "it has no dropped blocks": not (checkpoint.dropped and video) or layout == "fork",
        f"it has no half blocks ({', '.join(halves)})": not halves,
        "all its blocks are of one width": not (config.head.kept or (isinstance(config.backbone, BackboneConfig) and config.backbone.kept)),
        "its neck has other weights": original or config.head.neck == "identity",
        "it does not bring features to one scale": video or not config.backbone.normalise,
        "it has no relative positions": original or not config.head.relative_position,
    }


def _weights(checkpoint: Checkpoint, config: DetectorConfig, layout: ReferenceLayout, where: object) -> dict[str, Tensor]:
    if layout == "actionformer":
        return _renumbered(actionformer_to_theirs(checkpoint.state), checkpoint, config, "backbone.stem.")
    state = lora.to_reference(checkpoint.state, checkpoint.lora, where) if checkpoint.lora else checkpoint.state
    return _renumbered(state, checkpoint, config, "projection.stem.")


def _renumbered(state: dict[str, Tensor], checkpoint: Checkpoint, config: DetectorConfig, stem: str) -> dict[str, Tensor]:
    """With the stem's blocks counted through, so that a shorter stem can be loaded; the ViT's keep their numbers, as in the fork."""
    if isinstance(config.backbone, BackboneConfig) or not checkpoint.dropped:
        return state
    kept = [index for index in range(config.block_count) if index not in checkpoint.dropped]
    numbers = {f"{stem}{index}.": f"{stem}{position}." for position, index in enumerate(kept)}
    return {_with_prefix(name, numbers): value for name, value in state.items()}


def _with_prefix(name: str, prefixes: dict[str, str]) -> str:
    return next((new + name.removeprefix(old) for old, new in prefixes.items() if name.startswith(old)), name)


def _caution(checkpoint: Checkpoint) -> str:
    config = DetectorConfig.parse(checkpoint.architecture, "checkpoint")
    both = checkpoint.dropped and isinstance(config.backbone, BackboneConfig) and config.backbone.adapters
    return "; its released models have either adapters or dropped blocks, so that this needs a model class with both" if both else ""


def _configuration(checkpoint: Checkpoint) -> list[str]:
    """What the code base's configuration must say for this file, as it is not in the file."""
    config = DetectorConfig.parse(checkpoint.architecture, "checkpoint")
    head, backbone = config.head, config.backbone
    stem = head.stem_layers - (0 if isinstance(backbone, BackboneConfig) else len(checkpoint.dropped))
    parts = [f"arch ({head.embed_layers}, {stem}, {head.levels - 1})", f"max_seq_len {config.sampling.window}", f"n_head {head.heads}",
             f"n_mha_win_size {head.attention_window if head.attention_window > 1 else -1}"]
    if isinstance(backbone, BackboneConfig):
        parts += [f"depth {backbone.depth}", f"num_heads {backbone.heads}"]
        parts += [f"drop_idx {list(checkpoint.dropped)}"] if checkpoint.dropped else []
        parts += [f"lora_rank {' and '.join(map(str, lora.effective_ranks(checkpoint.lora)))}"] if checkpoint.lora else []
        parts += [f"adapter_index {list(backbone.adapters)}"] if backbone.adapters else []
    return parts
