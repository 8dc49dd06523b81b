from __future__ import annotations

import logging
import warnings
from functools import cache
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tadshrink.errors import UserError
from tadshrink.models.attention import DepthwiseConv
from tadshrink.models.config import BackboneConfig, DetectorConfig, HeadConfig, SamplingConfig
from tadshrink.models.detector import Detector
from tadshrink.models.presets import preset
from tadshrink.profiling.conventions import CONVENTIONS
from tadshrink.profiling.macs import DropPlan, MacsReport, closest_drop_count, count_macs, parameters, parameters_by_part
from tadshrink.profiling.tracing import trace, trace_without_data

D = 8
CONFIG = DetectorConfig(
    classes=("a", "b", "c"),
    backbone=BackboneConfig(width=D, depth=3, heads=2, table_size=48),
    head=HeadConfig(width=4, heads=2, levels=2, regression_ranges=((0, 4), (4, 100))),
    sampling=SamplingConfig(window=16, frames_per_cell=2, frame_size=32),
)
#: 32 frames are 2 chunks, each of 8 x 2 x 2 tokens.
CHUNKS, TOKENS = 2, 32


def window(config: DetectorConfig) -> tuple[Tensor, Tensor]:
    sampling = config.sampling
    shape = (1, 1, 3, sampling.frames, sampling.frame_size, sampling.frame_size)
    with torch.device("meta"):
        return torch.empty(shape, dtype=torch.uint8), torch.empty(1, sampling.window, dtype=torch.bool)


@cache
def report(config: DetectorConfig, dropped: tuple[int | str, ...] = ()) -> MacsReport:
    with torch.device("meta"):
        detector = Detector(config, dropped)
    return count_macs(detector, *window(config))


def test_backbone_by_hand() -> None:
    macs = report(CONFIG)
    block = CHUNKS * (TOKENS * 12 * D**2 + 2 * TOKENS * TOKENS * D)
    patch_embed = CHUNKS * TOKENS * D * (3 * 2 * 16 * 16)
    assert macs.per_block == [block] * 3
    assert macs.block_indices == [0, 1, 2]
    assert macs.parts["patch_embed"] == patch_embed
    assert macs.backbone == patch_embed + 3 * block


def test_head_by_hand() -> None:
    width, cells = 4, (16, 8)
    embed = 16 * 3 * D * width + 16 * 3 * width * width
    # Per transformer block: 3 depthwise convolutions, 4 projections, both attention products, and the MLP.
    blocks = [t * (3 * 3 * width + 4 * width**2 + 2 * t * width + 8 * width**2) for t in (16, 16, 8)]
    # The heads see both levels with a zero cell after each: 2 x 2 hidden layers, then 3 classes and 2 sides.
    heads = (sum(cells) + len(cells)) * 3 * width * (4 * width + 3 + 2)
    macs = report(CONFIG)
    assert (macs.parts["projection"], macs.parts["neck"]) == (embed + sum(blocks), 0)
    assert macs.parts["rpn_head"] == heads
    assert macs.head == embed + sum(blocks) + heads
    assert macs.total == macs.backbone + macs.head == sum(macs.parts.values())


def test_full_size_agrees_with_fvcore_on_opentads_own_model() -> None:
    """VideoMAE-S, 768 x 160 x 160, 20 classes, none of which needs any computing."""
    opentad, of_it_layer_norm = 854302040064, 1823846400
    fused_attention = 12 * 48 * 2 * 800 * 800 * 384
    # Our heads see one zero cell after each of the six levels: four hidden layers, 20 classes and 2 sides.
    zero_cells = 6 * 3 * 512 * (4 * 512 + 20 + 2)
    macs = report(preset("videomae-s", [str(index) for index in range(20)]))
    assert macs.total == opentad - of_it_layer_norm + fused_attention + zero_cells


def test_dropping_a_block_takes_exactly_its_share() -> None:
    full, dropped = report(CONFIG), report(CONFIG, (1,))
    assert dropped.block_indices == [0, 2]
    assert dropped.per_block == full.per_block[:2]
    assert full.total - dropped.total == full.per_block[1]
    assert dropped.head == full.head


def test_halves_by_hand_and_dropping_one_takes_exactly_its_share() -> None:
    full, dropped = report(CONFIG), report(CONFIG, ("1.mlp", 2))
    attention, mlp = CHUNKS * (TOKENS * 4 * D**2 + 2 * TOKENS * TOKENS * D), CHUNKS * TOKENS * 8 * D**2
    assert full.per_half == {"attention": [attention] * 3, "mlp": [mlp] * 3}
    assert dropped.per_half == {"attention": [attention] * 2, "mlp": [mlp]}
    assert dropped.per_block == [attention + mlp, attention]
    assert full.total - dropped.total == 2 * mlp + attention
    assert (full.costs("mlp"), full.costs("block")) == ([mlp] * 3, full.per_block)
    assert "per_half" not in full.to_json()


def test_drop_count_in_halves() -> None:
    halves = MacsReport(100, 80, 20, [20] * 4, [0, 1, 2, 3], {}, {}, {"attention": [8] * 4, "mlp": [12] * 4})
    assert closest_drop_count(halves, 0.25, kind="mlp") == DropPlan(2, 0.24, 0.36)
    assert closest_drop_count(halves, 0.25, kind="attention").count == 3
    with pytest.raises(UserError, match=r"without all but one of the MLP halves it is 36\.0%"):
        closest_drop_count(halves, 0.5, at_least=True, kind="mlp")


def test_what_is_not_counted_is_listed_by_name_and_times() -> None:
    skipped = report(CONFIG).not_counted
    # Two per backbone block, 5 per transformer block, one per level, one per convolution block.
    assert skipped["layer_norm"] == 2 * 3 + 5 * 3 + 2 + (2 + 2 * 2)
    assert skipped["gelu"] == 3 + 3
    assert "linear" not in skipped
    assert "unflatten" not in skipped


def test_it_prints_nothing_and_changes_nothing(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    detector = Detector(CONFIG)
    detector.neck.eval()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    inputs, masks = window(CONFIG)
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        count_macs(detector, torch.zeros_like(inputs, device="cpu"), torch.ones_like(masks, device="cpu"))
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert detector.training and not detector.neck.training
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in detector.modules())


class Toy(nn.Module):
    """Something else in the place of a detector: one block, and one layer after it."""

    def __init__(self, block: nn.Module, width: int = 4) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.model = nn.Module()
        self.backbone.model.backbone = nn.Module()
        self.backbone.model.backbone.blocks = nn.ModuleList([block, nn.Identity()])
        self.projection = nn.Linear(width, 2)

    def forward(self, inputs: Tensor, masks: Tensor) -> dict[str, list[Tensor]]:
        return {"levels": [self.projection(self.backbone.model.backbone.blocks[0](inputs))]}


class Shifted(nn.Module):
    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv = DepthwiseConv(4, stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x, torch.ones_like(x[:, :: self.conv.stride, :1]))


class Convolved(Shifted):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv.conv(x.transpose(1, 2)).transpose(1, 2)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", [Shifted, Convolved])
def test_a_depthwise_convolution_counts_the_same_however_it_is_written(kind: type[Shifted], stride: int) -> None:
    # A convolution with groups that is called as one cannot be traced without data as of torch 2.13.
    traced = trace(Toy(kind(stride)).eval(), (torch.zeros(1, 6, 4), torch.ones(1, 6)), CONVENTIONS["full"])
    assert traced.macs["backbone"] == 6 // stride * 4 * 3
    assert traced.macs["projection"] == 6 // stride * 4 * 2


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv1d(4, 6, 3, stride=2, padding=1), nn.Conv2d(4, 6, (1, 3), stride=(1, 2), bias=False)
        self.three = nn.Conv3d(4, 6, (1, 3, 2), stride=(2, 1, 3), padding=(0, 1, 2))

    def forward(self, x: Tensor, volume: Tensor) -> list[Tensor]:
        return [self.one(x), self.two(volume[:, :, 0]), self.three(volume)]


def test_convolutions_are_counted_without_data() -> None:
    network, inputs = Convolutions(), (torch.randn(2, 4, 9), torch.randn(2, 4, 5, 6, 7))
    without, computed = trace_without_data(network, inputs, CONVENTIONS["full"]), trace(network, inputs, CONVENTIONS["full"])
    assert without == computed
    outputs = network(*inputs)
    taps = {"one": 3 * 4, "two": 3 * 4, "three": 6 * 4}
    expected = {name: output.numel() * taps[name] for name, output in zip(taps, outputs, strict=True)}
    assert {name: without.macs[name] for name in taps} == expected
    assert torch.equal(network(*inputs)[2], outputs[2])


def test_nothing_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor with data reaches a layer, however large the input is."""
    seen: set[str] = set()
    linear = nn.Linear.forward

    def forward(layer: nn.Linear, x: Tensor) -> Tensor:
        seen.add(x.device.type)
        return linear(layer, x)

    monkeypatch.setattr(nn.Linear, "forward", forward)
    assert count_macs(Toy(nn.Linear(4, 4)), torch.zeros(1, 6, 4), torch.ones(1, 6)).per_block == [6 * 4 * 4]
    assert seen == {"meta"}


class Attention(nn.Module):
    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused, self.scale = fused, nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = x, x[:, :5], torch.cat((x[:, :5], x[:, :5, :1]), dim=-1)
        y = F.scaled_dot_product_attention(q, k, v) if self.fused else (q @ k.transpose(1, 2)).softmax(-1) @ v
        return y[..., :4]


@pytest.mark.parametrize("fused", [True, False])
def test_fused_and_plain_attention_count_the_same(fused: bool) -> None:
    macs = count_macs(Toy(Attention(fused)), torch.zeros(2, 7, 4), torch.ones(2, 7))
    assert macs.per_block == [2 * 7 * 5 * 4 + 2 * 7 * 5 * 5]


class Products(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.ones(3, 4, 4))

    def forward(self, x: Tensor) -> Tensor:
        broadcast = x @ self.table
        vector = x @ self.table[0, 0]
        flat = torch.mm(x[0], self.table[0]) + torch.addmm(x[0], x[0], self.table[0])
        return (broadcast * vector[..., None] + flat + torch.einsum("bnd,de->bne", x, self.table[0]))[0]


def test_every_kind_of_matrix_product_counts() -> None:
    macs = count_macs(Toy(Products()), torch.zeros(1, 7, 4), torch.ones(1, 7))
    assert macs.per_block == [3 * 7 * 16 + 7 * 4 + 2 * 7 * 16 + 7 * 16]
    assert macs.not_counted == {"add": 3, "mul": 1}


def test_parameters_count_shared_ones_once() -> None:
    layer = nn.Linear(4, 4)
    assert parameters(nn.Sequential(layer, nn.ReLU(), layer)) == 20


def made(total: int, per_block: list[int]) -> MacsReport:
    return MacsReport(total, sum(per_block), total - sum(per_block), per_block, list(range(len(per_block))), {}, {})


@pytest.mark.parametrize(
    ("fraction", "at_least", "plan"),
    [
        (0.0, False, DropPlan(0, 0.0, 0.2)),
        (0.29, False, DropPlan(1, 0.2, 0.4)),
        (0.31, False, DropPlan(2, 0.4, 0.6)),
        (0.3, False, DropPlan(1, 0.2, 0.4)),
        (0.3, True, DropPlan(2, 0.4, 0.6)),
        (0.2, True, DropPlan(1, 0.2, 0.4)),
        (0.6, True, DropPlan(3, 0.6, None)),
        (0.9, False, DropPlan(3, 0.6, None)),
    ],
)
def test_drop_count_by_hand(fraction: float, at_least: bool, plan: DropPlan) -> None:
    assert closest_drop_count(made(100, [20] * 4), fraction, at_least) == plan


@pytest.mark.parametrize(("fraction", "message"), [(0.61, "is 60.0%"), (1.0, "a fraction of 1.0"), (-0.1, "of -0.1")])
def test_a_saving_out_of_reach_is_a_user_error(fraction: float, message: str) -> None:
    with pytest.raises(UserError, match=message):
        closest_drop_count(made(100, [20] * 4), fraction, at_least=True)


@given(st.integers(1, 30), st.integers(1, 10**9), st.integers(0, 10**9), st.floats(0, 0.999))
def test_no_other_drop_count_is_closer(depth: int, block: int, rest: int, fraction: float) -> None:
    total = depth * block + rest
    plan = closest_drop_count(made(total, [block] * depth), fraction)
    errors = [abs(count * block / total - fraction) for count in range(depth)]
    assert errors[plan.count] <= min(errors) + 1e-12


@given(st.integers(2, 30), st.lists(st.floats(0, 0.999), min_size=2, max_size=5))
def test_a_larger_saving_never_drops_fewer(depth: int, fractions: list[float]) -> None:
    counts = [closest_drop_count(made(depth * 10 + 3, [10] * depth), value).count for value in sorted(fractions)]
    assert all(before <= after for before, after in pairwise(counts))


def test_adapters_are_a_part_of_their_own_and_of_their_blocks() -> None:
    backbone = CONFIG.backbone.model_copy(update={"adapters": (0, 2), "adapter_width": 2})
    plain, macs = report(CONFIG), report(CONFIG.model_copy(update={"backbone": backbone}))
    # Down and up, the depthwise convolution over time, and the pointwise one.
    adapter = CHUNKS * TOKENS * (2 * D * 2 + 3 * 2 + 2 * 2)
    assert macs.parts["adapters"] == 2 * adapter
    assert macs.parts["blocks"] == plain.parts["blocks"] == sum(plain.per_block)
    assert macs.per_block == [plain.per_block[0] + adapter, plain.per_block[1], plain.per_block[2] + adapter]
    assert sum(macs.parts.values()) == macs.total
    assert list(macs.parts) == ["patch_embed", "blocks", "adapters", "projection", "neck", "rpn_head"]


def test_parameters_by_part_by_hand() -> None:
    with torch.device("meta"):
        detector = Detector(CONFIG, ["1.mlp"])
    parts = parameters_by_part(detector)
    attention, mlp = 4 * D * D + 3 * D + 2 * D, 8 * D * D + 5 * D + 2 * D
    assert parts["patch_embed"] == D * (3 * 2 * 16 * 16) + D
    assert parts["blocks"] == 3 * attention + 2 * mlp
    assert parts["other"] == 2 * D  # The norm that is never applied.
    assert sum(parts.values()) == parameters(detector)
