"""Architectures by name, and from a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tadshrink.errors import UserError
from tadshrink.models.config import BackboneConfig, DetectorConfig, FeatureConfig, HeadConfig, PostprocessConfig, SamplingConfig
from tadshrink.yaml_files import read_yaml

_NANO_HEAD = HeadConfig(
    width=64, heads=4, levels=4, embed_layers=2, stem_layers=2, head_layers=2,
    regression_ranges=((0, 4), (4, 8), (8, 16), (16, 10000)),
)  # fmt: skip

#: name -> what differs from the defaults, which are VideoMAE-S of AdaTAD on THUMOS-14 (768 frames of 160 pixels).
PRESETS: dict[str, dict[str, Any]] = {
    "videomae-nano": {
        "backbone": BackboneConfig(width=80, depth=12, heads=5, table_size=32, drop_path=0.0, branch_gain=3.0),
        "head": _NANO_HEAD,
        "sampling": SamplingConfig(window=64, frames_per_cell=2, snippet_stride=2, frame_size=32),
    },
    "videomae-s": {},
    "videomae-b": {"backbone": BackboneConfig(width=768, depth=12, heads=12)},
    "videomae-l": {"backbone": BackboneConfig(width=1024, depth=24, heads=16)},
    # On features; the channels are those of the data set, and the stem's blocks are the droppable ones.
    "actionformer-nano": {
        "backbone": FeatureConfig(channels=1),
        "head": _NANO_HEAD.model_copy(update={"stem_layers": 12, "attention_window": 9, "levels": 6,
                                              "regression_ranges": HeadConfig().regression_ranges}),
        "postprocess": PostprocessConfig(nms_on="grid", nms_sigma=0.5, nms_min_score=0.001),
    },
}  # fmt: skip


def preset(name: str, classes: Iterable[str]) -> DetectorConfig:
    """The architecture of this name for these classes.

    Raises:
        UserError: there is no such architecture.
    """
    if name not in PRESETS:
        what = f"no such file: {name}" if Path(name).suffix in (".yaml", ".yml") else f"unknown architecture {name!r}"
        raise UserError(what, fix=f"Choose one of {', '.join(PRESETS)}, or a YAML file")
    return DetectorConfig(name=name, classes=tuple(classes), **PRESETS[name])


def architecture(arch: str, classes: Iterable[str]) -> DetectorConfig:
    """A preset by its name, or a YAML file with ``backbone``, ``head`` and ``postprocess`` as in a checkpoint's architecture.

    Keys that the file leaves out are those of the preset that it names under ``preset`` (default: videomae-s).

    Raises:
        UserError: there is no such preset or file, or it does not hold an architecture; all problems together.
    """
    if arch in PRESETS or not Path(arch).is_file():
        return preset(arch, classes)
    data = read_yaml(arch)
    if not isinstance(data, dict):
        raise UserError("not an architecture (a mapping of keys to values)", where=arch, fix="See sample_configs/ beside the README")
    name = data.pop("preset", "videomae-s")
    if not isinstance(name, str):
        raise UserError(f"preset: {name!r} is not a name", where=arch, fix=f"Choose one of {', '.join(PRESETS)}")
    base = preset(name, classes).model_dump()
    return DetectorConfig.parse(_updated(base, {"name": Path(arch).stem, **data}), arch)


def _updated(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``changes``, section by section."""
    return base | {key: base[key] | value if isinstance(value, dict) and isinstance(base.get(key), dict) else value
                   for key, value in changes.items()}
