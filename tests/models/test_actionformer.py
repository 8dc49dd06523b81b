"""The projection, neck and head: by hand, against plain convolutions, and against pieces of OpenTAD models."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tadshrink.models.actionformer import (
    ConvBlock,
    Head,
    Neck,
    Projection,
    PyramidNeck,
    initialise,
    initialise_prior,
    join_levels,
    split_levels,
)
from tadshrink.models.attention import MaskedAttention, TransformerBlock
from tadshrink.models.config import HeadConfig
from tadshrink.models.convolution import TemporalConv
from tadshrink.models.vit import sinusoid_table

GOLDEN = Path(__file__).parent / "golden"
SMALL = HeadConfig(width=32)
TINY = HeadConfig(width=8, heads=2, levels=3, regression_ranges=((0, 4), (4, 8), (8, 99)))


def golden(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(value) for key, value in arrays.items()}


def weights(data: dict[str, Tensor], prefix: str = "w.") -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in data.items() if key.startswith(prefix)}


def two_levels() -> tuple[Projection, Neck, Head]:
    """The finest two levels of a six-level model of OpenTAD; the coarser ones have no influence on them."""
    config = SMALL.model_copy(update={"levels": 2, "regression_ranges": SMALL.regression_ranges[:2]})
    parts = Projection(config, inputs=96, window=64), Neck(config), Head(config, classes=5)
    data = golden("head_weights")
    for part, name in zip(parts, ("projection", "neck", "rpn_head"), strict=True):
        part.load_state_dict(weights(data, f"{name}."))
        part.eval()
    return parts


@torch.no_grad()
def test_two_levels_of_the_reference():
    projection, neck, head = two_levels()
    data = golden("head_case")
    levels, masks = projection(data["features"], data["masks"])
    normed = neck(levels, masks)
    logits, offsets = head(normed, masks)
    found = {"proj_feat": levels, "neck_feat": normed, "cls_logit": logits, "reg_offset": offsets}
    for name, values in found.items():
        for level, value in enumerate(values):
            torch.testing.assert_close(value.transpose(1, 2), data[f"{name}_l{level}"], atol=5e-6, rtol=1e-5)


@torch.no_grad()
def test_local_attention_of_the_reference():
    data = golden("local_attention")
    block = TransformerBlock(SMALL.model_copy(update={"attention_window": 5}), stride=2).eval()
    block.load_state_dict(weights(data))
    y = block(data["x"].transpose(1, 2), data["mask"][:, ::2, None].float())
    torch.testing.assert_close(y.transpose(1, 2), data["y"], atol=5e-6, rtol=1e-5)
    assert not data["mask"].all()


@torch.no_grad()
def test_absolute_positions_of_the_reference():
    data = golden("absolute_position")
    config = SMALL.model_copy(update={"absolute_position": True, "levels": 1, "regression_ranges": ((0, 9),)})
    projection = Projection(config, inputs=48, window=32).eval()
    projection.load_state_dict(weights(data))
    levels, _ = projection(data["features"], data["masks"])
    torch.testing.assert_close(levels[0].transpose(1, 2), data["y"], atol=5e-6, rtol=1e-5)


def test_absolute_positions_stretch_with_a_longer_input():
    projection = Projection(TINY.model_copy(update={"absolute_position": True}), inputs=3, window=8)
    table = sinusoid_table(8, 8)[None] / math.sqrt(8)
    torch.testing.assert_close(projection._position(8), table)
    # Cell j of 16 lies at j / 2 - 0.25 of 8: cell 1 at 0.25, cell 5 at 2.25, cell 9 at 4.25.
    between = 0.75 * table[:, 0:-2:2] + 0.25 * table[:, 1:-1:2]
    torch.testing.assert_close(projection._position(16)[:, 1:12:4], between)
    assert "positions" not in projection.state_dict()


def attention_by_loops(layer: MaskedAttention, x: Tensor, mask: Tensor) -> Tensor:
    """Attention with the band and the mask written out, one query at a time."""
    query, key, value = (layer._heads(name, x, mask) for name in ("query", "key", "value"))
    batch, heads, length, size = query.shape
    out = torch.zeros(batch, length, heads, size)
    for b in range(batch):
        for i in (t for t in range(length) if mask[b, t]):
            keys = [j for j in range(length) if mask[b, j] and (layer.window <= 1 or abs(i - j) <= layer.window // 2)]
            for h in range(heads):
                scores = torch.stack([query[b, h, i] @ key[b, h, j] / size**0.5 for j in keys]).softmax(0)
                out[b, i, h] = sum(score * value[b, h, j] for score, j in zip(scores, keys, strict=True))
    return layer.proj(out.flatten(2)) * mask


@pytest.mark.parametrize("window", [1, 3, 5])
@torch.no_grad()
def test_attention_written_out(window: int):
    layer = MaskedAttention(TINY.model_copy(update={"attention_window": window}), stride=1)
    mask = torch.ones(2, 6, 1)
    mask[1, 3:] = 0
    x = torch.randn(2, 6, 8)
    torch.testing.assert_close(layer(x, mask), attention_by_loops(layer, x, mask), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("window", [1, 5])
def test_nothing_valid_gives_zeros_not_nan(window: int):
    layer = MaskedAttention(TINY.model_copy(update={"attention_window": window}), stride=1)
    x = torch.randn(1, 4, 8, requires_grad=True)
    y = layer(x, torch.zeros(1, 4, 1))
    y.sum().backward()
    assert not y.any()
    assert torch.isfinite(x.grad).all()


def test_block_without_path_drop_has_no_scale():
    assert "drop_path_mlp.scale" in TransformerBlock(TINY, 1).state_dict()
    names = TransformerBlock(TINY.model_copy(update={"drop_path": 0.0}), 1).state_dict()
    assert not any("drop_path" in name for name in names)


def test_block_starts_as_the_shortcut():
    block = TransformerBlock(TINY, stride=2).eval()
    for path in (block.drop_path_attn, block.drop_path_mlp):
        nn.init.zeros_(path.scale)
    x = torch.tensor([0.0, 5.0, 1.0, 2.0, -4.0, -3.0, -2.0, 9.0])[None, :, None].expand(1, 8, 8)
    coarse = torch.tensor([1.0, 1, 1, 0])[None, :, None]
    assert block(x, coarse)[0, :, 0].tolist() == [5.0, 5.0, 2.0, 0.0]  # maximum of neighbours 2i-1, 2i, 2i+1, then the mask


def test_conv_block_masks_before_and_after():
    block = ConvBlock(8, TINY)
    nn.init.ones_(block.norm.bias)
    mask = torch.tensor([1.0, 1, 0])[None, :, None]
    y = block(torch.randn(1, 3, 8), mask, mask)
    assert not y[0, 2].any()
    assert y[0, :2].any()


@pytest.mark.parametrize(
    ("window", "levels", "length", "expected"),
    [(1, 6, 40, 256), (1, 6, 256, 256), (1, 6, 257, 288), (5, 6, 300, 384), (19, 6, 300, 576), (1, 3, 257, 260)],
)
def test_padded_length(window: int, levels: int, length: int, expected: int):
    config = SMALL.model_copy(update={"attention_window": window, "levels": levels})
    assert Projection(config, inputs=4, window=256).padded_length(length) == expected


@torch.no_grad()
def test_short_input_is_zero_padded():
    projection = Projection(TINY, inputs=3, window=16).eval()
    features, masks = torch.randn(1, 3, 10), torch.ones(1, 10, dtype=torch.bool)
    padded = projection(F.pad(features, (0, 6)), F.pad(masks, (0, 6)))
    for short, long in zip(projection(features, masks), padded, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(short, long, strict=True))
    assert [level.shape[1] for level in padded[0]] == [16, 8, 4]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_joined_levels_convolve_like_single_ones(lengths: list[int]):
    conv = TemporalConv(4, 4)
    levels = [torch.randn(2, length, 4) for length in lengths]
    joined = split_levels(conv(join_levels(levels)), lengths)
    for level, found in zip(levels, joined, strict=True):
        torch.testing.assert_close(found, conv(level), atol=1e-6, rtol=1e-5)


def test_input_dropout_drops_channels_in_training_only():
    projection = Projection(TINY.model_copy(update={"input_dropout": 0.5}), inputs=6, window=8)
    seen: list[Tensor] = []
    projection.embed[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    features, masks = torch.ones(4, 6, 8), torch.ones(4, 8, dtype=torch.bool)
    torch.manual_seed(0)
    projection(features, masks)
    projection.eval()(features, masks)
    assert set(seen[0].unique().tolist()) == {0.0, 2.0}
    assert torch.equal(seen[0][:, 0], seen[0][:, -1])
    assert torch.equal(seen[1], torch.ones(4, 8, 6))


def test_initial_probability_and_biases():
    head = Head(TINY, classes=3)
    head.apply(initialise)
    initialise_prior(head, 0.01)
    torch.testing.assert_close(head.cls_head.bias.sigmoid(), torch.full((3,), 0.01))
    assert head.reg_head.bias.tolist() == [1, 1]


@pytest.mark.parametrize("seed", range(20))
def test_both_boundaries_can_be_learned_from_the_first_step(seed: int) -> None:
    torch.manual_seed(seed)
    head = Head(TINY, classes=3)
    head.apply(initialise)
    initialise_prior(head, 0.01)
    levels = [torch.randn(1, length, 8) for length in (8, 4, 2)]
    _, offsets = head(levels, [torch.ones(1, length, 1) for length in (8, 4, 2)])
    assert (torch.cat(offsets, 1) > 0).any(1).all()


def test_scale_then_relu():
    head = Head(TINY, classes=3).eval()
    nn.init.zeros_(head.reg_head.weight)
    head.reg_head.bias.data = torch.tensor([2.0, -1.0])
    head.scale[1].scale.data.fill_(3.0)
    levels = [torch.randn(1, length, 8) for length in (8, 4, 2)]
    _, offsets = head(levels, [torch.ones(1, length, 1) for length in (8, 4, 2)])
    assert [offset[0, 0].tolist() for offset in offsets] == [[2.0, 0.0], [6.0, 0.0], [2.0, 0.0]]


@torch.no_grad()
def test_relative_positions_are_added_by_distance():
    config = TINY.model_copy(update={"attention_window": 3, "relative_position": True})
    layer = MaskedAttention(config, stride=1)
    nn.init.normal_(layer.rel_pe, std=3.0)
    x, mask = torch.randn(1, 4, 8), torch.tensor([1.0, 1, 1, 0])[None, :, None]
    query, key, value = (layer._heads(name, x, mask) for name in ("query", "key", "value"))
    expected = torch.zeros(1, 2, 4, 4)
    for head in range(2):
        for i, keys in {0: [0, 1], 1: [0, 1, 2], 2: [1, 2]}.items():
            scores = torch.stack([query[0, head, i] @ key[0, head, j] / 2 + layer.rel_pe[0, 0, head, j - i + 1] for j in keys])
            expected[0, head, i] = scores.softmax(0) @ value[0, head, keys]
    expected = layer.proj(expected.transpose(1, 2).flatten(2)) * mask
    torch.testing.assert_close(layer(x, mask), expected, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_pyramid_neck_sums_coarse_levels_into_fine_ones():
    neck = PyramidNeck(TINY.model_copy(update={"levels": 2}))
    for lateral, conv in zip(neck.lateral_convs, neck.fpn_convs, strict=True):
        nn.init.eye_(lateral.conv.weight)
        conv.conv.weight.copy_(torch.tensor([1.0, 1.0, 0.0]).expand(8, 1, 3))  # This cell and the one before it.
    neck.fpn_norms = nn.ModuleList(nn.Identity() for _ in range(2))
    fine, coarse = torch.tensor([1.0, 2, 3, 4]), torch.tensor([10.0, 20])
    masks = [torch.tensor([1.0, 1, 1, 0])[None, :, None], torch.tensor([1.0, 1])[None, :, None]]
    levels = [level[None, :, None].expand(1, -1, 8) for level in (fine, coarse)]
    found = neck(levels, masks)
    # Fine: 1+10, 2+10, 3+20, masked 0 + 20; then the sum with the cell before, then the mask.
    assert found[0][0, :, 5].tolist() == [11, 23, 35, 0]
    assert found[1][0, :, 5].tolist() == [10, 30]
    names = set(PyramidNeck(TINY).state_dict())
    assert {"lateral_convs.0.conv.weight", "fpn_convs.2.conv.weight", "fpn_norms.1.weight"} <= names
    assert not any("conv.bias" in name for name in names)


def test_padding_leaks_in_the_original_and_not_in_opentad():
    for variant, clean in (("opentad", True), ("actionformer", False)):
        torch.manual_seed(0)
        config = TINY.model_copy(update={"variant": variant})
        head = Head(config, classes=2).eval()
        for module in head.modules():
            if isinstance(module, nn.LayerNorm):
                nn.init.ones_(module.bias)
        level, mask = torch.randn(1, 6, 8), torch.tensor([1.0, 1, 1, 1, 0, 0])[None, :, None]
        longer = [torch.cat((level, torch.zeros(1, 4, 8)), 1), F.pad(mask, (0, 0, 0, 4))]
        rest = [torch.zeros(1, 2, 8)] * 2, [torch.zeros(1, 2, 1)] * 2
        alone = head([level[:, :4], *rest[0]], [mask[:, :4], *rest[1]])[0][0]
        padded = head([longer[0] * longer[1], *rest[0]], [longer[1], *rest[1]])[0][0]
        assert torch.allclose(alone, padded[:, :4], atol=1e-6) == clean
        assert bool(padded[:, 4:].any()) == clean  # The original zeroes the outputs of padding.
