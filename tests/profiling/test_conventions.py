"""The other conventions by hand, on small models and at full size."""

from __future__ import annotations

import warnings
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from tadshrink.errors import UserError
from tadshrink.models.config import BackboneConfig, DetectorConfig, FeatureConfig, HeadConfig, SamplingConfig
from tadshrink.models.detector import Detector
from tadshrink.profiling.conventions import CONVENTIONS, find_convention
from tadshrink.profiling.macs import MacsReport, count_macs
from tadshrink.profiling.subject import Sketch, sketched
from tadshrink.profiling.tracing import _Bare, _without_data
from tadshrink.profiling.windows import blank_window

D = 8
CONFIG = DetectorConfig(
    classes=("a", "b", "c"),
    backbone=BackboneConfig(width=D, depth=3, heads=2, table_size=48, adapters=(1,), adapter_width=2),
    head=HeadConfig(width=4, heads=2, levels=2, regression_ranges=((0, 4), (4, 100))),
    sampling=SamplingConfig(window=16, frames_per_cell=2, frame_size=32),
)
#: 2 chunks, each of 8 x 2 x 2 tokens.
TOKENS = 2 * 32


def head_of_16_cells_and_8_channels() -> int:
    """Convolutions and LayerNorms (4 per number that comes in) of the head above, with no cell between the two levels."""
    width, cells = 4, (16, 8)
    embed = 16 * 3 * width * (D + width) + 4 * 2 * 16 * width
    blocks = sum(t * width * (3 * 3 + 4 * width + 8 * width) + 4 * width * (came + 4 * t) for came, t in ((16, 16), (16, 16), (16, 8)))
    neck = 4 * sum(cells) * width
    heads = sum(cells) * (3 * width * (4 * width + 3 + 2) + 4 * 4 * width)
    return embed + blocks + neck + heads


@cache
def counted(convention: str, config: DetectorConfig = CONFIG) -> MacsReport:
    """Of the detector with all blocks."""
    return count_macs(sketched(config, empty=True), *blank_window(config), convention)


def test_paper_by_hand() -> None:
    macs = counted("paper")
    assert macs.per_block == [TOKENS * (4 * D**2 + 8 * D)] * 3
    assert macs.head == head_of_16_cells_and_8_channels()
    assert (macs.backbone, macs.total) == (sum(macs.per_block), sum(macs.per_block) + macs.head)
    assert macs.parts == {"patch_embed": 0, "blocks": macs.backbone, "adapters": 0, "neck": 4 * 24 * 4,
                          "projection": macs.parts["projection"], "rpn_head": 24 * (3 * 4 * 21 + 64)}
    assert sum(macs.parts.values()) == macs.total
    # What it does not see: two matrices of every MLP, the patches, the products of attention, four layers of the adapter.
    assert macs.not_counted["linear in mlp"] == 6
    assert macs.not_counted["linear in patch_embed"] == 1
    assert macs.not_counted["scaled_dot_product_attention"] == 3 + 3
    assert macs.not_counted["linear in adapter"] == 3
    assert "layer_norm" not in macs.not_counted


class Wrapped(nn.Module):
    """A layer with a low-rank update under the names that peft gives."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.base_layer = layer
        self.lora_A, self.lora_B = nn.Linear(layer.in_features, 2), nn.Linear(2, layer.out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.base_layer(x) + self.lora_B(self.lora_A(x))


def test_paper_sees_no_lora() -> None:
    wrapped = Detector(CONFIG)
    for block in wrapped.blocks:
        block.attn.qkv, block.mlp.layers[1] = Wrapped(block.attn.qkv), Wrapped(block.mlp.layers[1])
    other = count_macs(wrapped, *blank_window(CONFIG), "paper")
    assert other.total == counted("paper").total
    # Those of the MLPs lie within what is left out anyway.
    assert (other.not_counted["linear in lora_A"], other.not_counted["linear in mlp"]) == (3, 3 * 4)
    assert count_macs(wrapped, *blank_window(CONFIG)).total - counted("full").total == 3 * TOKENS * 2 * (D + 3 * D + 4 * D + D)


def test_halves_and_blocks_that_are_gone_do_not_count() -> None:
    macs = counted("paper")
    detector = Detector(CONFIG, [0, "2.attention"])
    rest = count_macs(detector, *blank_window(CONFIG), "paper")
    assert rest.per_block == [macs.per_block[0], TOKENS * 4 * D]
    assert rest.head == macs.head


@pytest.mark.parametrize("config", [CONFIG, DetectorConfig(
    classes=("a", "b"), backbone=FeatureConfig(channels=6), sampling=SamplingConfig(window=32, mode="whole"),
    head=HeadConfig(width=8, heads=2, levels=2, attention_window=5, neck="fpn", regression_ranges=((0, 4), (4, 100))))])
def test_fvcore_is_what_fvcore_counts_by_itself(config: DetectorConfig) -> None:
    from fvcore.nn import FlopCountAnalysis  # What it warns of when it is first imported is caught in conventions.py.

    detector, window = sketched(config, empty=True), blank_window(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        analysis = FlopCountAnalysis(_Bare(_without_data(detector)), window).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        with torch.no_grad():
            expected = analysis.total()
    macs = counted("fvcore", config)
    assert macs.total == expected == sum(macs.parts.values())
    assert macs.not_counted["scaled_dot_product_attention"] > 0
    assert "layer_norm" not in macs.not_counted


def test_fvcore_of_a_block_by_hand() -> None:
    macs = counted("fvcore")
    assert macs.per_block[0] == TOKENS * 12 * D**2 + 2 * 5 * TOKENS * D


@cache
def published(arch: str, dropped: int) -> MacsReport:
    config = Sketch(arch).config()
    with torch.device("meta"):
        detector = Detector(config, range(dropped))
    return count_macs(detector, *blank_window(config), "paper")


@pytest.mark.parametrize(("arch", "dropped", "printed"), [
    ("videomae-s", 4, "195.2"),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in [
        ("videomae-s", 0, "286.3"), ("videomae-s", 1, "263.5"), ("videomae-s", 2, "240.8"), ("videomae-s", 3, "218.0"),
        ("videomae-l", 0, "3886.9"), ("videomae-l", 3, "3402.7"), ("videomae-l", 6, "2918.6")])])
def test_paper_gives_the_published_figures(arch: str, dropped: int, printed: str) -> None:
    """768 frames of 160 x 160, head for the 20 classes of THUMOS-14: H + kept (4 D^2 + 8 D) tokens, where H comes from the head."""
    macs = published(arch, dropped)
    assert f"{macs.total / 1e9:.1f}" == printed
    assert f"{macs.head / 1e9:.4f}" == {"videomae-s": "13.0907", "videomae-l": "13.8456"}[arch]


@pytest.mark.parametrize("name", CONVENTIONS)
def test_every_convention_says_what_it_counts(name: str) -> None:
    convention = find_convention(name)
    assert (convention.name, bool(convention.counts), bool(convention.leaves_out)) == (name, True, True)
    assert counted(name).to_json()["convention"] == name


def test_an_unknown_convention_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"unknown convention 'thop'.*full, fvcore, paper"):
        count_macs(sketched(CONFIG, empty=True), *blank_window(CONFIG), "thop")
