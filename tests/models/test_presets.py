"""Architectures by name."""

from __future__ import annotations

import pytest

from tadshrink.errors import UserError
from tadshrink.models.detector import check_sizes
from tadshrink.models.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_every_architecture_fits_together(name: str):
    config = preset(name, ["a", "b"])
    check_sizes(config)
    assert (config.name, config.classes) == (name, ("a", "b"))


@pytest.mark.parametrize(
    ("name", "width", "depth", "heads"),
    [("videomae-s", 384, 12, 6), ("videomae-b", 768, 12, 12), ("videomae-l", 1024, 24, 16)],
)
def test_published_sizes(name: str, width: int, depth: int, heads: int):
    config = preset(name, ["a"])
    assert (config.backbone.width, config.backbone.depth, config.backbone.heads) == (width, depth, heads)
    assert (config.head.width, config.head.levels, config.backbone.table_size) == (512, 6, 224)
    assert (config.sampling.frames, config.sampling.snippet_stride, config.sampling.frame_size) == (768, 4, 160)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"unknown architecture 'vit'\. Choose one of videomae-nano, videomae-s"):
        preset("vit", ["a"])
