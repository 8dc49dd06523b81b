"""Architectures of recognisers by name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tadshrink.errors import check_known
from tadshrink.models.config import BackboneConfig
from tadshrink.models.presets import PRESETS as DETECTORS
from tadshrink.recognition.config import ClipConfig, RecogniserConfig, SlowOnlyConfig

#: name -> what differs from the defaults, which are VideoMAE-S on clips of 16 x 4 frames of 224 pixels.
PRESETS: dict[str, dict[str, Any]] = {
    "recogniser-nano": {"backbone": DETECTORS["videomae-nano"]["backbone"], "clip": ClipConfig(stride=2, size=32)},
    "slowonly-nano": {"backbone": SlowOnlyConfig(depths=(1, 1, 1, 1), width=16, dropout=0.0), "clip": ClipConfig(frames=8, stride=4, size=32)},
    "videomae-s": {},
    "videomae-b": {"backbone": BackboneConfig(width=768, depth=12, heads=12)},
    "videomae-l": {"backbone": BackboneConfig(width=1024, depth=24, heads=16)},
    "slowonly-r50": {"backbone": SlowOnlyConfig(), "clip": ClipConfig(frames=8, stride=8, size=256)},
}


def preset(name: str, classes: Iterable[str]) -> RecogniserConfig:
    """The architecture of this name for these classes.

    Raises:
        UserError: there is no such architecture.
    """
    check_known("architecture", name, PRESETS)
    return RecogniserConfig(name=name, classes=tuple(classes), **PRESETS[name])
