"""Architectures by name."""

from __future__ import annotations

from collections.abc import Iterable

from tadshrink.errors import UserError
from tadshrink.models.config import BackboneConfig, DetectorConfig, HeadConfig, SamplingConfig

_NANO_HEAD = HeadConfig(
    width=64, heads=4, levels=4, embed_layers=2, stem_layers=2, head_layers=2,
    regression_ranges=((0, 4), (4, 8), (8, 16), (16, 10000)),
)  # fmt: skip

#: name -> (backbone, head, sampling). S, B and L are those of AdaTAD on THUMOS-14 (768 frames of 160 pixels).
PRESETS: dict[str, tuple[BackboneConfig, HeadConfig, SamplingConfig]] = {
    "videomae-nano": (
        BackboneConfig(width=80, depth=12, heads=5, table_size=32, drop_path=0.0, branch_gain=3.0),
        _NANO_HEAD,
        SamplingConfig(window=64, frames_per_cell=2, snippet_stride=2, frame_size=32),
    ),
    "videomae-s": (BackboneConfig(width=384, depth=12, heads=6), HeadConfig(), SamplingConfig()),
    "videomae-b": (BackboneConfig(width=768, depth=12, heads=12), HeadConfig(), SamplingConfig()),
    "videomae-l": (BackboneConfig(width=1024, depth=24, heads=16), HeadConfig(), SamplingConfig()),
}


def preset(name: str, classes: Iterable[str]) -> DetectorConfig:
    """The architecture of this name for these classes.

    Raises:
        UserError: there is no such architecture.
    """
    if name not in PRESETS:
        raise UserError(f"unknown architecture {name!r}", fix=f"Choose one of {', '.join(PRESETS)}")
    backbone, head, sampling = PRESETS[name]
    return DetectorConfig(name=name, classes=tuple(classes), backbone=backbone, head=head, sampling=sampling)
