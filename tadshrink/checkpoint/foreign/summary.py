"""A checkpoint's architecture in one line, in the words of the code base that it comes from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tadshrink.checkpoint.foreign.lora import effective_ranks
from tadshrink.checkpoint.foreign.presets import VIDEOMAE_SIZES
from tadshrink.checkpoint.format import Checkpoint
from tadshrink.checkpoint.wording import counted
from tadshrink.models.config import BackboneConfig, DetectorConfig, HeadConfig, Kept
from tadshrink.models.units import Left, Unit, left_of, order

IMPORT = "import"


def imported(checkpoint: Checkpoint) -> dict[str, Any]:
    """What was recorded when the checkpoint was read from another code base's file; empty if it never was."""
    return next((entry["arguments"] for entry in checkpoint.history if entry["command"] == IMPORT), {})


def summary(checkpoint: Checkpoint, where: object = "checkpoint") -> str:
    """Such as ``OpenTAD AdaTAD · VideoMAE ViT-S (384 wide, 12 blocks, 6 heads) with adapters in all blocks · ActionFormer head 512
    wide, 6 levels, 20 classes · EMA weights``.

    Raises:
        UserError: the architecture is not one; ``where`` names the file.
    """
    config = DetectorConfig.parse(checkpoint.architecture, where)
    origin = imported(checkpoint)
    video = isinstance(config.backbone, BackboneConfig)
    name = _video_title(checkpoint, config.backbone) if video else _feature_title(config)
    title = name if origin else f"tadshrink {config.name}"
    parts = [title, _backbone(config.backbone, checkpoint) if video else _stem(config, checkpoint), _head(config.head, len(config.classes))]
    return " · ".join(parts + ([f"{origin['weights']} weights"] if origin.get("weights") else []))


def _video_title(checkpoint: Checkpoint, backbone: BackboneConfig) -> str:
    if checkpoint.dropped:
        return "Progressive Block Drop student"
    if checkpoint.lora:
        return "Progressive Block Drop, uncompressed"
    if backbone.adapters:
        return "OpenTAD AdaTAD"
    fork = imported(checkpoint).get("layout") == "fork"
    return "Progressive Block Drop, uncompressed and merged" if fork else "OpenTAD end-to-end ActionFormer"


def _feature_title(config: DetectorConfig) -> str:
    base = {"opentad": "OpenTAD ActionFormer", "actionformer": "ActionFormer (original)"}[config.head.variant]
    return f"{base} on {config.inputs}-channel features"


def _backbone(backbone: BackboneConfig, checkpoint: Checkpoint) -> str:
    letters = {width: letter for letter, (width, depth, _) in VIDEOMAE_SIZES.items() if depth == backbone.depth}
    letter = letters.get(backbone.width)
    size = f"ViT-{letter}" if letter else "ViT"
    kept = left_of(backbone.depth, checkpoint.dropped)
    has = []
    if backbone.adapters:
        has.append("adapters in " + ("all blocks" if set(kept) <= set(backbone.adapters) else f"blocks {_listed(backbone.adapters)}"))
    if checkpoint.lora:
        has.append(f"LoRA rank {' and '.join(map(str, effective_ranks(checkpoint.lora)))}")
    text = f"VideoMAE {size} ({backbone.width} wide, {counted(backbone.depth, 'block')}, {counted(backbone.heads, 'head')})"
    extra = [*_pruned(backbone.kept, kept), *_dropped(checkpoint.dropped, "block")]
    return ", ".join([text + (f" with {' and '.join(has)}" if has else ""), *extra])


def _stem(config: DetectorConfig, checkpoint: Checkpoint) -> str:
    pruned = _pruned(config.head.kept, left_of(config.head.stem_layers, checkpoint.dropped))
    return ", ".join([counted(config.head.stem_layers, "stem block"), *pruned, *_dropped(checkpoint.dropped, "stem block")])


def _pruned(kept: Kept, left: Left) -> list[str]:
    """What channel pruning left of the blocks that there are."""
    # Of another length they are refused, by whoever builds the model.
    if not kept or not left or len(kept) <= max(left):
        return []
    told = []
    for place, (half, noun) in enumerate({"attention": "heads", "mlp": "hidden units"}.items()):
        if widths := [kept[index][place] for index, halves in left.items() if half in halves]:
            told.append(f"{'-'.join(map(str, sorted({min(widths), max(widths)})))} {noun}")
    return [f"pruned to {' and '.join(told)}"]


def _dropped(dropped: list[Unit], noun: str) -> list[str]:
    return [f"{noun}{'' if len(dropped) == 1 else 's'} {_listed(sorted(dropped, key=order))} dropped"] if dropped else []


def _head(head: HeadConfig, classes: int) -> str:
    extras = {"attention window " + str(head.attention_window): head.attention_window > 1, "absolute positions": head.absolute_position,
              "relative positions": head.relative_position, "FPN": head.neck == "fpn"}
    count = f"{classes} class{'' if classes == 1 else 'es'}"
    shown = [name for name, has in extras.items() if has]
    return ", ".join([f"ActionFormer head {head.width} wide", counted(head.levels, "level"), count, *shown])


def _listed(numbers: Iterable[Unit]) -> str:
    return ", ".join(map(str, numbers))
