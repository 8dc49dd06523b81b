"""The full count of the released sizes against formulas, at 160 x 160 pixels and the head for THUMOS-14."""

from __future__ import annotations

from functools import cache

import pytest

from tadshrink.profiling.macs import MacsReport, count_macs
from tadshrink.profiling.subject import Sketch, resized, sketched
from tadshrink.profiling.windows import blank_window

SIZES = {"videomae-s": (384, 12), "videomae-l": (1024, 24)}


@cache
def counted(arch: str, frames: int) -> MacsReport:
    config = resized(Sketch(arch).config(), frames, 160, arch)
    return count_macs(sketched(config, empty=True), *blank_window(config))


def hand(arch: str, frames: int) -> dict[str, int]:
    """Multiply-adds by part.

    A chunk is 16 frames in tubelets of 2 and patches of 16 x 16, so N = 8 * 10 * 10 = 800 tokens of width D; C = frames / 16 chunks.

        patch embedding   C N * (3 * 2 * 16 * 16) D
        block             C N * (3 D^2 [qkv] + D^2 [proj] + 2 * 4 D^2 [MLP]) + C * 2 N^2 D [q k^T and softmax v, heads together D wide]

    The head works on T cells (as many as frames), W = 512 wide, in levels of T, T/2, ... T/32 cells; K = 20 classes.

        embedding         T * 3 W (D + W)
        transformer       t * (3 * 3 W [depthwise, q k v] + 4 W^2 [q k v proj] + 8 W^2 [MLP]) + 2 t^2 W, for t = T, T and then each
                          coarser level
        heads             sum of the levels * 3 W (4 W + K + 2): two hidden layers each for classes and for sides, K and 2 outputs
    """
    (width, _), tokens, chunks = SIZES[arch], 800, frames // 16
    levels = [frames >> level for level in range(6)]
    transformer = sum(t * (9 * 512 + 12 * 512**2) + 2 * t * t * 512 for t in (frames, *levels))
    return {
        "patch_embed": chunks * tokens * 1536 * width,
        "block": chunks * (tokens * 12 * width**2 + 2 * tokens**2 * width),
        "projection": frames * 3 * 512 * (width + 512) + transformer,
        "rpn_head": sum(levels) * 3 * 512 * (4 * 512 + 22),
    }


@pytest.mark.parametrize(("arch", "frames"), [("videomae-s", 768), pytest.param("videomae-l", 768, marks=pytest.mark.slow),
                                              pytest.param("videomae-s", 256, marks=pytest.mark.slow),
                                              pytest.param("videomae-l", 256, marks=pytest.mark.slow)])
def test_the_count_is_the_derivation(arch: str, frames: int) -> None:
    """Exactly, but for the heads: they also see one zero cell after each level, which is 0.4 % of them at 768 frames."""
    macs, expected = counted(arch, frames), hand(arch, frames)
    depth = SIZES[arch][1]
    assert macs.per_block == [expected["block"]] * depth
    assert (macs.parts["patch_embed"], macs.parts["projection"]) == (expected["patch_embed"], expected["projection"])
    cells = sum(frames >> level for level in range(6))
    assert macs.parts["rpn_head"] == expected["rpn_head"] * (cells + 6) // cells
    total = sum(expected.values()) + (depth - 1) * expected["block"]
    assert macs.total == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize(("arch", "frames", "giga"), [
    ("videomae-s", 768, 1137.4),
    pytest.param("videomae-l", 768, 13191.5, marks=pytest.mark.slow),
    pytest.param("videomae-s", 256, 378.8, marks=pytest.mark.slow),
    pytest.param("videomae-l", 256, 4396.8, marks=pytest.mark.slow)])
def test_the_count_agrees_with_the_reference_implementation(arch: str, frames: int, giga: float) -> None:
    """Counted there by fvcore (with 5 for each number through a LayerNorm, which is the difference), attention products added."""
    assert counted(arch, frames).total / 1e9 == pytest.approx(giga, rel=0.005)


def test_fvcores_own_count_differs_from_that_of_the_reference_implementation_by_what_is_written_otherwise() -> None:
    """There the head's attention is plain products and its depthwise convolutions are convolutions, and no zero cells join the levels."""
    config = Sketch("videomae-s").config()
    macs = count_macs(sketched(config, empty=True), *blank_window(config), "fvcore")
    levels = [768 >> level for level in range(6)]
    products = sum(2 * t * t * 512 for t in (768, *levels))
    depthwise = sum(3 * 3 * t * 512 for t in (768, *levels))
    zero_cells = 6 * (3 * 512 * (4 * 512 + 22) + 4 * 5 * 512)
    assert macs.total == 854_302_040_064 - products - depthwise + zero_cells


def test_what_is_left_out_is_listed() -> None:
    left_out = counted("videomae-s", 768).not_counted
    assert left_out["layer_norm"] == 2 * 12 + 5 * 7 + 6 + 2 + 4
    assert left_out["gelu"] == 12 + 7
    assert {"upsample_bicubic2d", "upsample_linear1d", "max_pool1d"} <= left_out.keys()
