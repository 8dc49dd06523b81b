"""Recognisers of mmaction2 (slow-only ResNets, VideoMAE) and of VideoMAE's own releases as checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tadshrink.checkpoint.foreign.layouts import Source, find_weights
from tadshrink.checkpoint.foreign.settings import MOST_LAYERS, LoadSettings, class_names
from tadshrink.checkpoint.foreign.summary import IMPORT
from tadshrink.checkpoint.foreign.tensors import half_precision
from tadshrink.checkpoint.foreign.videomae import vit_in
from tadshrink.checkpoint.format import Checkpoint, record
from tadshrink.checkpoint.wording import shortened
from tadshrink.errors import UserError
from tadshrink.models.config import BackboneConfig
from tadshrink.models.detector import weight_problems
from tadshrink.recognition.config import ClipConfig, RecogniserConfig, SlowOnlyConfig
from tadshrink.recognition.recogniser import ActionRecogniser
from tadshrink.reporting import Reporter

#: Setting -> where it stands in the configuration.
_PLACES: dict[str, tuple[tuple[str, str], ...]] = {
    "heads": (("backbone", "heads"),), "frame_size": (("clip", "size"),), "snippet_stride": (("clip", "stride"),),
    "clip_frames": (("clip", "frames"), ("backbone", "chunk_frames")),
}
_KNOWN = (*_PLACES, "classes", "weights")
#: What the weights cannot tell, and is usual.
_CLIPS = {"slow-only": ClipConfig(frames=8, stride=8, size=256), "VideoMAE": ClipConfig()}
_HEAD = "cls_head.fc_cls."
#: How the names of the classification layer begin.
_HEADS = (_HEAD, "head.")
_STEM = "backbone.conv1.conv.weight"
_BOTTLENECK = re.compile(r"backbone\.layer([1-4])\.(\d{1,3})\.", re.ASCII)


def check_settings(settings: LoadSettings, where: object) -> None:
    """Raise a :class:`UserError` if a setting is given that means nothing for a recogniser."""
    if strange := [name for name in settings.given() if name not in _KNOWN]:
        raise UserError(f"no setting of a recogniser: {', '.join(strange)}", where=where, fix=f"It has {', '.join(_KNOWN)}")


def changed(config: RecogniserConfig, settings: LoadSettings, where: object) -> RecogniserConfig:
    """``config`` with what is given.

    Raises:
        UserError: it does not fit.
    """
    given, data = settings.given(), config.model_dump()
    for name in _PLACES.keys() & given.keys():
        places = [(section, key) for section, key in _PLACES[name] if key in data[section]]
        if not places:
            raise UserError(f"{name}: a slow-only network has none", where=where, fix="Leave this setting out")
        for section, key in places:
            data[section][key] = given[name]
    if "classes" in given:
        data["classes"] = class_names(given["classes"])
    if len(data["classes"]) != len(config.classes):
        raise UserError(f"{len(data['classes'])} class names, but the classification layer has {len(config.classes)} classes", where=where,
                        fix="Give one name per class")
    return RecogniserConfig.parse(data, where)


def has_class_head(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of a recogniser: no detector has a classification layer of such a name."""
    return any(f"{head}weight" in tensors for head in _HEADS)


def read_foreign(content: Any, settings: LoadSettings, where: object, reporter: Reporter) -> Checkpoint:
    """What ``torch.load`` returned, as a checkpoint; what was chosen is told to the reporter.

    Raises:
        UserError: no known layout, weights that are missing, left over, of a wrong shape or not sound, or settings that contradict them.
    """
    source = find_weights(content, settings.weights, where)
    found = _found(source.tensors, settings, where)
    names = tuple(f"class {index}" for index in range(len(found.state[f"{_HEAD}weight"])))
    config = RecogniserConfig(name=f"{found.title.split(',')[0]} {found.kind}", classes=names, backbone=found.backbone, clip=_CLIPS[found.kind])
    config = changed(config, settings, where)
    _check(config, found, where)
    for note in _notes(config, settings, found, source):
        reporter.note(note)
    checkpoint = Checkpoint(config.model_dump(mode="json"), found.state, list(config.classes))
    given = settings.model_dump(mode="json", exclude_none=True)
    origin = {"layout": str(found), "dictionary": source.dictionary, "weights": source.weights, "settings": given}
    return record(checkpoint, IMPORT, origin, {}, None)


@dataclass(frozen=True)
class _Found:
    """What a file has: weights by our names, of which kind and whose."""

    kind: str
    title: str
    backbone: BackboneConfig | SlowOnlyConfig
    state: dict[str, Tensor]

    def __str__(self) -> str:
        return f"{self.kind} recogniser of {self.title}"


def _found(tensors: dict[str, Tensor], settings: LoadSettings, where: object) -> _Found:
    head = _class_head(tensors, where)
    renamed = {_HEAD + name.removeprefix(head) if name.startswith(head) else name: value for name, value in tensors.items()}
    if _STEM in tensors:
        return _Found("slow-only", "mmaction2", _slow_only(tensors), renamed)
    vit = vit_in(tensors, settings.clip_frames or _CLIPS["VideoMAE"].frames, where)
    others = {name: value for name, value in renamed.items() if name not in tensors or name in vit.left_out}
    # The norm is applied here, so that it must not be made up.
    own = {f"backbone.{name}": value for name, value in vit.state.items() if name not in vit.made or name == "pos_embed"}
    return _Found("VideoMAE", vit.title, vit.backbone, own | others)


def _class_head(tensors: Mapping[str, Tensor], where: object) -> str:
    """How the names of the classification layer begin."""
    for head in _HEADS:
        if (weight := tensors.get(f"{head}weight")) is not None and weight.ndim == 2:
            return head
    raise UserError(f"no classification layer ({' or '.join(f'{head}weight' for head in _HEADS)})", where=where,
                    fix="Give a recogniser of mmaction2, or a fine-tuned VideoMAE")


def _slow_only(tensors: Mapping[str, Tensor]) -> SlowOnlyConfig:
    """From the shapes; what they do not show gets the usual value, so that what is missing can be named."""
    usual = SlowOnlyConfig()
    numbers: dict[int, int] = {}
    for name in tensors:
        if (match := _BOTTLENECK.match(name)) and int(match[2]) < MOST_LAYERS:
            numbers[int(match[1])] = max(numbers.get(int(match[1]), 0), int(match[2]) + 1)
    first = [tensors.get(f"backbone.layer{stage}.0.conv1.conv.weight") for stage in range(1, 5)]
    temporal = [known if weight is None or weight.ndim != 5 else weight.shape[2] == 3
                for weight, known in zip(first, usual.temporal, strict=True)]
    return SlowOnlyConfig(
        depths=tuple(numbers.get(stage, depth) for stage, depth in enumerate(usual.depths, start=1)),
        width=len(tensors[_STEM]) if tensors[_STEM].ndim else usual.width,
        temporal=tuple(temporal),
    )


def _check(config: RecogniserConfig, found: _Found, where: object) -> None:
    with torch.device("meta"):
        expected = ActionRecogniser(config).state_dict()
    if problems := weight_problems(expected, found.state):
        raise UserError(f"weights do not fit what they look like, a {found} (by mmaction2's names): {problems}", where=where,
                        fix="Give a whole checkpoint, or what it was made with (--set KEY=VALUE)")


def _notes(config: RecogniserConfig, settings: LoadSettings, found: _Found, source: Source) -> list[str]:
    clip, given, backbone = config.clip, settings.given(), config.backbone
    notes = [f"{found}: {len(config.classes)} classes, "
             + (f"bottlenecks {', '.join(map(str, backbone.depths))}" if isinstance(backbone, SlowOnlyConfig)
                else f"{backbone.width} wide, {backbone.depth} blocks, {backbone.heads} heads")]
    if not {"clip_frames", "snippet_stride", "frame_size"} <= set(given):
        notes.append(f"clips of {clip.frames} frames, {clip.stride} apart, of {clip.size} pixels: what is not given is usual for such a model "
                     "(--set clip_frames=, snippet_stride=, frame_size=)")
    if "classes" not in given:
        notes.append("the file has no class names (--set classes=FILE)")
    if source.weights:
        notes.append(f"{source.weights} weights, from {source.dictionary}")
    if ignored := [key for key in source.ignored if key not in source.prefixed]:
        notes.append(f"not needed and ignored: {shortened(ignored, most=9)}")
    if note := half_precision(source.tensors):
        notes.append(note)
    return notes
