"""From what the tensors show and what was said about them to a whole architecture, with a reason for every part of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tadshrink.checkpoint.foreign.blocks import Blocks
from tadshrink.checkpoint.foreign.kinds import Naming
from tadshrink.checkpoint.foreign.presets import (
    ACTIONFORMER_I3D,
    ADATAD_ANET,
    ADATAD_THUMOS,
    FROZEN,
    OPENTAD_I3D,
    VIDEOMAE_SIZES,
    Preset,
    preset_named,
)
from tadshrink.checkpoint.foreign.settings import FIELDS, VIDEO_ONLY, LoadSettings, class_names
from tadshrink.checkpoint.foreign.shapes import Shapes, VitShapes
from tadshrink.errors import UserError
from tadshrink.models.config import BackboneConfig, DetectorConfig, HeadConfig, PostprocessConfig, SamplingConfig

#: (features, naming, one class) -> whose settings are usual, and which.
_USUAL: dict[tuple[bool, Naming, bool], tuple[str, dict[str, Any]]] = {
    (False, "opentad", False): ("AdaTAD on THUMOS-14", ADATAD_THUMOS),
    (False, "opentad", True): ("AdaTAD on ActivityNet-1.3, as there is one class", ADATAD_ANET),
    **{(True, "opentad", one): ("OpenTAD's ActionFormer on I3D features of THUMOS-14", OPENTAD_I3D) for one in (False, True)},
    **{(True, "actionformer", one): ("ActionFormer on I3D features of THUMOS-14", ACTIONFORMER_I3D) for one in (False, True)},
}
_HEADS = {width: (letter, heads) for letter, (width, _, heads) in VIDEOMAE_SIZES.items()}
_SEEN, _GIVEN, _DEFAULT = "read from the weights", "given", "tadshrink's defaults"
_FROZEN = "usual for a frozen ViT, of which the file's optimizer has nothing"


@dataclass(frozen=True)
class Choice:
    """One part of the architecture and where it comes from."""

    setting: str
    value: Any
    why: str


@dataclass(frozen=True)
class Inferred:
    """An architecture, and everything that was chosen to get it."""

    config: DetectorConfig
    choices: list[Choice]

    def notes(self) -> list[str]:
        """One line per reason."""
        reasons: dict[str, list[str]] = {}
        for choice in self.choices:
            reasons.setdefault(choice.why, []).append(f"{choice.setting}={_shown(choice.value)}")
        return [f"{why}: {', '.join(parts)}" for why, parts in reasons.items()]


def infer(shapes: Shapes, naming: Naming, blocks: Blocks, settings: LoadSettings, where: object, frozen: bool) -> Inferred:
    """The architecture; ``frozen`` says that training left the video backbone alone.

    Raises:
        UserError: what was given contradicts the shapes; names both, and all contradictions together.
    """
    preset = preset_named(settings.preset) if settings.preset else Preset({})
    chosen = _chosen(shapes, naming, settings, preset, frozen)
    value = {name: choice.value for name, choice in chosen.items()}
    value["classes"] = class_names(value["classes"])
    problems = _contradictions(shapes, value) + _unexpected(shapes, naming, settings.preset, preset)
    if problems:
        raise UserError("; ".join(problems), where=where, fix="Give what fits the weights with --set KEY=VALUE or --preset")
    seen = {**_seen_backbone(shapes, blocks, value), **_seen_head(shapes, blocks, naming)}
    config = _built(shapes, settings.preset or _name(shapes, naming), seen, value)
    facts = [Choice(name.removeprefix("backbone."), item, _SEEN) for name, item in seen.items()]
    return Inferred(config, [*facts, *chosen.values()])


def usual_heads(width: int) -> int:
    """Heads of a ViT of this width: VideoMAE's, else about one per 64 channels."""
    if width in _HEADS:
        return _HEADS[width][1]
    divisors = [count for count in range(1, max(width // 32, 1) + 1) if width % count == 0]
    return min(divisors, key=lambda count: abs(count - width / 64))


def _chosen(shapes: Shapes, naming: Naming, settings: LoadSettings, preset: Preset, frozen: bool) -> dict[str, Choice]:
    """Every setting, from the most to the least certain source."""
    title, usual = _USUAL[shapes.features, naming, shapes.classes == 1]
    defaults = {name: _defaults(section)[field] for name, (section, field) in FIELDS.items()}
    layers = [(_DEFAULT, defaults), (f"usual for {title}", usual)]
    layers += [(_FROZEN, FROZEN[shapes.classes == 1])] if frozen else []
    layers += [(why, {name: value}) for name, value, why in _derived(shapes)]
    layers += [(f"preset {settings.preset}", preset.settings), (_GIVEN, settings.given())]
    chosen = {name: Choice(name, value, why) for why, layer in layers for name, value in layer.items()}
    chosen["attention_window"] = _plain_window(chosen["attention_window"])
    skipped = VIDEO_ONLY if shapes.features else ()
    return {name: choice for name, choice in chosen.items() if (name in FIELDS or name == "classes") and name not in skipped}


def _plain_window(choice: Choice) -> Choice:
    """Their -1, 0 and 1 all mean global attention."""
    return Choice(choice.setting, max(choice.value, 1), choice.why)


def _derived(shapes: Shapes) -> list[tuple[str, Any, str]]:
    """Settings that follow from the shapes, or are usual with them: (name, value, why)."""
    found: list[tuple[str, Any, str]] = [
        ("regression_ranges", _ranges(shapes.levels), f"usual with {shapes.levels} levels"),
        ("classes", tuple(f"class {index}" for index in range(shapes.classes)), "placeholders, as the file has no names (--set classes=FILE)"),
    ]
    if shapes.relative:
        found += [(name, value, _SEEN) for name, value in zip(("head_heads", "attention_window"), shapes.relative, strict=True)]
    if shapes.vit:
        width, patch = shapes.vit.width, shapes.vit.patch
        of = f"VideoMAE-{_HEADS[width][0]}'s" if width in _HEADS else "about one per 64 channels"
        found.append(("heads", usual_heads(width), f"{of} (the file cannot tell)"))
        if ADATAD_THUMOS["frame_size"] % patch:
            found.append(("frame_size", 224 // patch * patch, f"with patches of {patch} pixels"))
    return found


def _ranges(levels: int) -> tuple[tuple[float, float], ...]:
    """(0, 4), (4, 8), (8, 16), ... and no end to the last."""
    edges = [0, *(2 ** (level + 2) for level in range(levels - 1)), 10000 if levels < 13 else 2 ** (levels + 2)]
    return tuple(pairwise(edges))


def _contradictions(shapes: Shapes, value: dict[str, Any]) -> list[str]:
    head_heads, window, width = value["head_heads"], value["attention_window"], shapes.head_width
    heads_seen, window_seen = shapes.relative or (head_heads, window)
    rules = {
        f"head_heads={head_heads}, but the relative positions are of {heads_seen} heads": head_heads == heads_seen,
        f"attention_window={window}, but the relative positions are of a window of {window_seen}": window == window_seen,
        f"head_heads={head_heads} does not divide the head's width {width}": width % head_heads == 0,
        f"{len(value['classes'])} class names, but the head has {shapes.classes} classes": len(value["classes"]) == shapes.classes,
        f"{len(value['regression_ranges'])} regression_ranges, but there are {shapes.levels} levels":
            len(value["regression_ranges"]) == shapes.levels,
    }  # fmt: skip
    if shapes.vit:
        heads, clip, vit = value["heads"], value["clip_frames"], shapes.vit
        rules[f"heads={heads} does not divide the ViT's width {vit.width}"] = vit.width % heads == 0
        rules[f"clip_frames={clip} does not fit the position table of {vit.tokens} tokens (tubelets of {vit.tubelet} frames, square grid)"] = (
            vit.tokens is None or _side(vit, clip) is not None)
    return [problem for problem, holds in rules.items() if not holds]


def _unexpected(shapes: Shapes, naming: Naming, name: str | None, preset: Preset) -> list[str]:
    """Where the weights are not those of the preset."""
    found = {key: naming if key == "variant" else getattr(shapes, key) for key in preset.expects}
    return [f"preset {name} is for {key.replace('_', ' ')} {expected}, but the file's is {found[key]}"
            for key, expected in preset.expects.items() if found[key] != expected]


def _side(vit: VitShapes, clip_frames: int) -> int | None:
    """Side of the position table in patches; None if it is not a square."""
    times, rest = divmod(clip_frames, vit.tubelet)
    cells, more = divmod(vit.tokens or 196 * times, max(times, 1))
    side = math.isqrt(cells)
    return side if times and not rest and not more and side * side == cells else None


def _seen_backbone(shapes: Shapes, blocks: Blocks, value: dict[str, Any]) -> dict[str, Any]:
    if shapes.vit is None:
        return {"backbone.channels": shapes.channels}
    vit, ratio = shapes.vit, shapes.vit.hidden / shapes.vit.width
    return {
        "backbone.width": vit.width, "backbone.depth": blocks.depth, "backbone.mlp_ratio": ratio, "backbone.patch_size": vit.patch,
        "backbone.tubelet": vit.tubelet, "backbone.table_size": (_side(vit, value["clip_frames"]) or 14) * vit.patch,
        "backbone.adapters": tuple(index for index in vit.adapters if index not in blocks.unused),
        "backbone.adapter_width": vit.adapter_width,
    }  # fmt: skip


def _seen_head(shapes: Shapes, blocks: Blocks, naming: Naming) -> dict[str, Any]:
    return {
        "head.variant": naming, "head.width": shapes.head_width, "head.embed_layers": shapes.embed_layers,
        "head.stem_layers": blocks.depth if shapes.features else len(shapes.stem), "head.levels": shapes.levels,
        "head.head_layers": shapes.head_layers, "head.mlp_ratio": shapes.mlp_ratio,
        "head.relative_position": naming == "actionformer" and shapes.relative is not None,
        "head.neck": "fpn" if naming == "actionformer" and shapes.fpn else "identity", "head.drop_path": 0.1 if shapes.scales else 0.0,
    }  # fmt: skip


def _built(shapes: Shapes, name: str, seen: dict[str, Any], value: dict[str, Any]) -> DetectorConfig:
    parts: dict[str, Any] = {"backbone": {}, "head": {}, "sampling": {}, "postprocess": {}}
    for place, item in seen.items():
        section, _, key = place.partition(".")
        parts[section][key] = item
    for setting, (section, key) in FIELDS.items():
        if setting in value:
            parts[section][key] = value[setting]
    return DetectorConfig.parse({"name": name, "classes": value["classes"], **parts}, "the architecture found")


def _defaults(section: str) -> dict[str, Any]:
    owner = {"backbone": BackboneConfig, "head": HeadConfig, "sampling": SamplingConfig, "postprocess": PostprocessConfig}[section]
    return {name: item.default for name, item in owner.model_fields.items()}


def _name(shapes: Shapes, naming: Naming) -> str:
    if shapes.vit is None:
        return f"{naming}-features-{shapes.channels}"
    letter = _HEADS.get(shapes.vit.width, (None,))[0]
    return f"{naming}-videomae-{letter.lower() if letter else shapes.vit.width}"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} names" if value and isinstance(value[0], str) else "[" + ",".join(map(_shown, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
