"""Architectures by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tadshrink.errors import UserError
from tadshrink.models.detector import check_sizes
from tadshrink.models.presets import PRESETS, architecture, preset


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


def test_a_file_changes_a_preset_section_by_section(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("preset: actionformer-nano\nhead: {stem_layers: 20, width: 32}\npostprocess: {nms_sigma: 0.3}\n")
    config, base = architecture(str(path), ["a"]), preset("actionformer-nano", ["a"])
    assert (config.name, config.classes, config.block_count, config.head.width) == ("deep", ("a",), 20, 32)
    assert config.head.attention_window == base.head.attention_window
    assert config.postprocess == base.postprocess.model_copy(update={"nms_sigma": 0.3})
    assert config.backbone == base.backbone
    assert architecture("videomae-s", ["a"]) == preset("videomae-s", ["a"])


@pytest.mark.parametrize(("text", "message"), [
    ("head: {stem_layer: 20}\nbackbone: {width: x}", r"bad architecture: .*width.*head\.stem_layer"),
    ("[1]", "not an architecture"),
    ("a: [", "not valid YAML"),
    ("preset: [videomae-nano]", r"a\.yaml: preset: \['videomae-nano'\] is not a name"),
    ("preset:", "preset: None is not a name"),
    ("backbone: {heads: 0, patch_size: 0}\nhead: {width: -64}\nsampling: {overlap: 1}",
     r"backbone\.heads: .*backbone\.patch_size: .*head\.width: .*sampling\.overlap: "),
    ("preset: vit", "unknown architecture 'vit'"),
    ("head: 3", "bad architecture: head"),
])
def test_files_that_hold_no_architecture(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        architecture(str(path), ["a"])
    assert "\n" not in str(caught.value)
