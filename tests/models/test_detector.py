"""The whole detector: names, outputs, loading, determinism."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tadshrink.errors import UserError
from tadshrink.models.config import BackboneConfig, DetectorConfig, FeatureConfig, HeadConfig, SamplingConfig
from tadshrink.models.detector import Detector, DetectorOutput, build_detector, check_sizes
from tadshrink.models.losses import detection_losses
from tadshrink.models.presets import preset

TINY = DetectorConfig(
    classes=("run", "jump", "swim"),
    backbone=BackboneConfig(width=8, depth=3, heads=2, patch_size=4, chunk_frames=4, table_size=8, drop_path=0.5),
    head=HeadConfig(width=8, heads=2, levels=3, regression_ranges=((0, 4), (4, 8), (8, 99)), drop_path=0.5),
    sampling=SamplingConfig(window=8, frames_per_cell=2, frame_size=8),
)


def batch(size: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randint(0, 256, (size, 1, 3, 16, 8, 8), dtype=torch.uint8, generator=generator)
    masks = torch.ones(size, 8, dtype=torch.bool)
    masks[-1, 5:] = False
    return inputs, masks


def seeded(config: DetectorConfig = TINY) -> Detector:
    torch.manual_seed(0)
    return Detector(config)


def test_shapes_points_and_masks():
    output = seeded().eval()(*batch())
    assert output.features.shape == (2, 8, 8)
    assert [logits.shape for logits in output.cls_logits] == [(2, 8, 3), (2, 4, 3), (2, 2, 3)]
    assert [offsets.shape for offsets in output.offsets] == [(2, 8, 2), (2, 4, 2), (2, 2, 2)]
    assert [points.tolist() for points in output.points] == [list(range(8)), [0, 2, 4, 6], [0, 4]]
    assert output.strides == [1, 2, 4]
    assert [mask[1].tolist() for mask in output.masks] == [[True] * 5 + [False] * 3, [True] * 3 + [False], [True] * 2]


def test_segments_by_hand():
    output = DetectorOutput(
        features=torch.zeros(1, 1, 2),
        cls_logits=[torch.zeros(1, 2, 1), torch.zeros(1, 1, 1)],
        offsets=[torch.tensor([[[0.5, 1.0], [0.0, 2.0]]]), torch.tensor([[[1.0, 3.0]]])],
        masks=[torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 1, dtype=torch.bool)],
        points=[torch.tensor([0.0, 1.0]), torch.tensor([4.0])],
        strides=[1, 2],
    )
    assert output.segments().tolist() == [[[-0.5, 1.0], [1.0, 3.0], [2.0, 10.0]]]
    assert output.logits().shape == (1, 3, 1)
    assert output.valid().tolist() == [[True, True, False]]


def test_the_parts_make_the_whole():
    detector = seeded().eval()
    inputs, masks = batch()
    whole = detector(inputs, masks)
    half = detector.finish(detector.pool(detector.run_blocks(detector.embed(inputs, masks), masks), masks), masks)
    assert torch.equal(whole.logits(), half.logits())
    assert torch.equal(whole.segments(), half.segments())


def test_state_names_of_the_layout():
    names = set(Detector(TINY, dropped=(1,)).state_dict())
    expected = {
        "backbone.model.backbone.pos_embed", "backbone.model.backbone.blocks.2.attn.qkv.weight",
        "projection.embed.1.conv.weight", "projection.embed.1.norm.bias", "projection.stem.0.ln1.weight",
        "projection.stem.1.attn.query_conv.conv.weight", "projection.branch.1.attn.key_norm.bias",
        "projection.branch.0.attn.value.bias", "projection.branch.0.attn.proj.weight", "projection.branch.0.mlp.3.bias",
        "projection.branch.0.drop_path_attn.scale", "neck.fpn_norms.2.weight", "rpn_head.cls_convs.0.conv.weight",
        "rpn_head.reg_convs.1.norm.weight", "rpn_head.cls_head.bias", "rpn_head.reg_head.weight",
        "rpn_head.scale.2.scale", "rpn_head.loss_normalizer",
    }  # fmt: skip
    assert expected <= names
    assert not any(".blocks.1." in name or "mean" in name or "std" in name for name in names)


def test_build_gives_the_same_detector_in_eval_mode():
    original = Detector(TINY, dropped=(0,)).eval()
    rebuilt = build_detector(TINY, original.state_dict(), (0,), where="x.ckpt")
    assert not rebuilt.training
    assert rebuilt.blocks.indices == (1, 2)
    assert torch.equal(rebuilt(*batch()).logits(), original(*batch()).logits())


def test_integer_normaliser_is_accepted():
    state = Detector(TINY).state_dict()
    state["rpn_head.loss_normalizer"] = torch.tensor(134)
    normaliser = build_detector(TINY, state, (), where="x.ckpt").rpn_head.loss_normalizer
    assert (normaliser.dtype, normaliser.item()) == (torch.float32, 134.0)


def test_build_names_what_does_not_fit():
    state = Detector(TINY).state_dict()
    state["rpn_head.cls_head.bias"] = torch.zeros(7)
    state["rpn_head.extra"] = state.pop("rpn_head.reg_head.bias")
    with pytest.raises(UserError) as caught:
        build_detector(TINY, state, (2,), where="x.ckpt")
    message = str(caught.value)
    assert message.startswith("x.ckpt: weights do not fit the architecture: 1 missing (rpn_head.reg_head.bias), ")
    assert "14 left over (backbone.model.backbone.blocks.2.norm1.weight, " in message
    assert "1 of the wrong shape (rpn_head.cls_head.bias (7,) instead of (3,))" in message
    assert "\n" not in message


def test_sizes_that_do_not_fit_are_all_named():
    sampling = SamplingConfig(window=6, frames_per_cell=1, frame_size=10)
    with pytest.raises(UserError) as caught:
        check_sizes(TINY.model_copy(update={"sampling": sampling}))
    message = str(caught.value)
    assert "frame_size must be a multiple" in message
    assert "chunk_frames" in message
    assert "sampling.window must be a multiple of 4" in message


def one_step(detector: Detector) -> list[Tensor]:
    """Gradients of one training step, with stochastic depth."""
    torch.manual_seed(1)
    segments = [torch.tensor([[1.0, 6.0], [2.0, 4.0]]), torch.zeros(0, 2)]
    labels = [torch.tensor([0, 2]), torch.zeros(0, dtype=torch.long)]
    output = detector.train()(*batch())
    head = detector.rpn_head
    detection_losses(output, segments, labels, head.loss_normalizer, TINY.head, training=True).total.backward()
    return [parameter.grad for parameter in detector.parameters() if parameter.grad is not None]


def test_training_step_is_deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        first, second = one_step(seeded()), one_step(seeded())
    finally:
        torch.use_deterministic_algorithms(False)
    assert len(first) == len(second) > 100
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.isfinite(gradient).all() for gradient in first)


def test_a_few_steps_learn_one_sample():
    config = TINY.model_copy(
        update={
            "backbone": TINY.backbone.model_copy(update={"drop_path": 0.0}),
            "head": TINY.head.model_copy(update={"drop_path": 0.0}),
        }
    )
    detector = seeded(config).train()
    inputs, masks = batch()
    segments, labels = [torch.tensor([[1.0, 6.0]]), torch.tensor([[0.0, 3.0]])], [torch.tensor([0]), torch.tensor([2])]
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-2)
    totals = []
    for _ in range(40):
        losses = detection_losses(
            detector(inputs, masks), segments, labels, detector.rpn_head.loss_normalizer, config.head, training=False
        )
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        totals.append(losses.total.item())
    assert totals[-1] < 0.2 * totals[0]


@torch.no_grad()
def test_nano_runs():
    detector = Detector(preset("videomae-nano", ("a", "b"))).eval()
    output = detector(torch.zeros(1, 1, 3, 128, 48, 48, dtype=torch.uint8), torch.ones(1, 64, dtype=torch.bool))
    assert output.logits().shape == (1, 64 + 32 + 16 + 8, 2)
    torch.testing.assert_close(output.logits().sigmoid().mean().item(), 0.01, atol=0.01, rtol=0)


FEATURES = TINY.model_copy(update={"backbone": FeatureConfig(channels=5)})


def test_features_go_straight_to_the_head():
    torch.manual_seed(0)
    detector = Detector(FEATURES, dropped=(0,)).eval()
    names = detector.state_dict()
    assert not any(name.startswith(("backbone.", "projection.stem.0.")) for name in names)
    assert detector.blocks.indices == (1,)
    features, masks = torch.randn(2, 5, 7), torch.ones(2, 7, dtype=torch.bool)
    output = detector(features, masks)
    assert [logits.shape for logits in output.cls_logits] == [(2, 8, 3), (2, 4, 3), (2, 2, 3)]
    assert output.masks[0].sum().item() == 14
    again = build_detector(FEATURES, names, (0,), "x.pth")(features, masks)
    assert torch.equal(again.segments(), output.segments())


def test_a_dropped_stem_block_is_skipped():
    detector = Detector(FEATURES).eval()
    features, masks = torch.randn(1, 5, 7), torch.ones(1, 7, dtype=torch.bool)
    tokens = detector.embed(features, masks)
    skipped = detector.finish(detector.pool(detector.run_blocks(tokens, masks, first=1), masks), masks)
    detector.blocks.drop(0)
    assert torch.equal(detector(features, masks).logits(), skipped.logits())


def test_sizes_of_features_are_checked_without_those_of_a_backbone():
    check_sizes(FEATURES)
    broken = FEATURES.model_copy(update={"head": FEATURES.head.model_copy(update={"relative_position": True, "attention_window": 1})})
    with pytest.raises(UserError, match="relative_position needs an attention window"):
        check_sizes(broken)
