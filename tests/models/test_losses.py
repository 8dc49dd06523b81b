"""Targets and losses: worked out by hand, and against the numbers of OpenTAD."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tadshrink.models.config import HeadConfig
from tadshrink.models.detector import DetectorOutput
from tadshrink.models.losses import detection_losses, diou_loss, focal_loss, make_targets, match_points, point_table

GOLDEN = Path(__file__).parent / "golden"
TWO = HeadConfig(levels=2, regression_ranges=((0, 4), (4, 100)))


def golden(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(value) for key, value in arrays.items()}


def output_of(logits: list[Tensor], offsets: list[Tensor], masks: list[Tensor]) -> DetectorOutput:
    strides = [2**level for level in range(len(logits))]
    points = [torch.arange(len(mask[0])) * float(stride) for mask, stride in zip(masks, strides, strict=True)]
    return DetectorOutput(torch.zeros(0), logits, offsets, masks, points, strides)


def empty_output(batch: int, length: int, classes: int, levels: int = 2) -> DetectorOutput:
    lengths = [length >> level for level in range(levels)]
    return output_of(
        [torch.zeros(batch, n, classes) for n in lengths],
        [torch.zeros(batch, n, 2) for n in lengths],
        [torch.ones(batch, n, dtype=torch.bool) for n in lengths],
    )


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("losses_thumos", {}),
        ("losses_i3d", {}),
        ("losses_anet", {"label_smoothing": 0.1, "regression_weight": 2.0}),
    ],
)
def test_losses_of_the_reference(name: str, changes: dict[str, float]):
    data, config = golden(name), HeadConfig(**changes)
    levels = range(6)
    output = output_of(
        [data[f"cls_logit_l{level}"].transpose(1, 2) for level in levels],
        [data[f"reg_offset_l{level}"].transpose(1, 2) for level in levels],
        [data[f"mask_l{level}"] for level in levels],
    )
    segments, labels = ([data[f"gt_{kind}_b{b}"] for b in range(2)] for kind in ("segments", "labels"))
    cls, reg, cls_train, reg_train, before, after = data["expected"].float()
    running = before.clone()
    losses = detection_losses(output, segments, labels, running, config, training=False)
    torch.testing.assert_close((losses.cls, losses.reg), (cls, reg), atol=0, rtol=1e-6)
    assert running == before
    losses = detection_losses(output, segments, labels, running, config, training=True)
    torch.testing.assert_close((losses.cls, losses.reg), (cls_train, reg_train), atol=0, rtol=1e-6)
    torch.testing.assert_close(running, after)
    torch.testing.assert_close(losses.total, losses.cls + losses.reg)


def test_diou_and_focal_of_the_reference():
    data = golden("elementwise")
    diou = diou_loss(data["student_segments"], data["teacher_segments"])
    torch.testing.assert_close(diou, data["diou"].float(), atol=2e-6, rtol=1e-6)
    focal = focal_loss(data["student_logits"], data["cls_target"]).sum()
    torch.testing.assert_close(focal, data["focal_sum"].float(), atol=0, rtol=1e-6)


def test_diou_by_hand():
    predicted = torch.tensor([[0.0, 4.0], [0.0, 1.0], [2.0, 5.0]])
    target = torch.tensor([[2.0, 6.0], [3.0, 5.0], [2.0, 5.0]])
    # 1 - 2/6 + 2^2/6^2;  1 - 0 + 3.5^2/5^2;  0
    torch.testing.assert_close(diou_loss(predicted, target), torch.tensor([7 / 9, 1.49, 0.0]))


def test_focal_by_hand():
    logits = torch.tensor([0.0, 0.0, math.log(3)])  # probabilities 1/2, 1/2, 3/4
    expected = [0.25 * 0.25 * math.log(2), 0.75 * 0.25 * math.log(2), 0.25 * 0.0625 * math.log(4 / 3)]
    torch.testing.assert_close(focal_loss(logits, torch.tensor([1.0, 0.0, 1.0])), torch.tensor(expected))


numbers = st.floats(-50, 50, width=32)
segment = st.tuples(numbers, st.floats(0.125, 30, width=32)).map(lambda pair: [pair[0], pair[0] + pair[1]])


@given(segment, segment, numbers)
@settings(max_examples=50, deadline=None)
def test_diou_properties(first: list[float], second: list[float], shift: float):
    a, b = torch.tensor(first, dtype=torch.float64), torch.tensor(second, dtype=torch.float64)
    loss = diou_loss(a, b)
    assert -1e-9 <= loss.item() < 2
    torch.testing.assert_close(loss, diou_loss(b, a))
    torch.testing.assert_close(loss, diou_loss(a + shift, b + shift), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(diou_loss(a, a), torch.zeros((), dtype=torch.float64))


def test_match_by_hand():
    points = point_table(empty_output(1, 8, 1), TWO)
    match = match_points(points, torch.tensor([[1.0, 5.0], [0.0, 7.0]]), radius=1.5)
    # [1, 5], centre 3: inside 1.5..4.5 on level 0; on level 1 (points 0, 2, 4, 6) the reach is below 4 everywhere.
    assert match[:8, 0].tolist() == [False, False, True, True, True, False, False, False]
    assert not match[8:, 0].any()
    # [0, 7], centre 3.5: reach of points 2..5 is above 4 except for point 3 (4, inclusive); level 1: inside 0.5..6.5
    assert match[:8, 1].tolist() == [False, False, False, True, True, False, False, False]
    assert match[8:, 1].tolist() == [False, True, True, True]


def test_ends_are_outside():
    points = point_table(empty_output(1, 8, 1, levels=1), TWO.model_copy(update={"regression_ranges": ((0, 4),)}))
    match = match_points(points, torch.tensor([[2.0, 4.0]]), radius=1.5)[:, 0]
    assert match.nonzero().flatten().tolist() == [3]


def test_shortest_wins_and_equally_short_ones_share():
    segments = torch.tensor([[0.0, 8.0], [2.0, 6.0], [2.0, 6.0005], [1.0, 7.0]])
    config = TWO.model_copy(update={"regression_ranges": ((0, 100), (0, 100))})
    targets = make_targets(empty_output(1, 8, 5), [segments], [torch.tensor([0, 1, 3, 4])], config)
    assert targets.classes[0, 4].tolist() == [0, 1, 0, 1, 0]
    assert targets.segments[0, 4].tolist() == [2.0, 6.0]
    assert targets.positive[0, 4]


def test_same_class_twice_is_clamped():
    segments, labels = torch.tensor([[2.0, 6.0], [2.0, 6.0]]), torch.tensor([1, 1])
    targets = make_targets(empty_output(1, 8, 2), [segments], [labels], TWO)
    assert targets.classes.max() == 1


def test_padding_is_never_positive():
    output = empty_output(1, 8, 2)
    output.masks[0][0, 3:] = False
    targets = make_targets(output, [torch.tensor([[2.0, 6.0]])], [torch.tensor([1])], TWO)
    assert not targets.positive[0, 3:8].any()
    assert torch.equal(targets.valid, output.valid())


@given(st.permutations(range(4)))
@settings(max_examples=10, deadline=None)
def test_order_of_the_segments_does_not_matter(order: list[int]):
    segments, labels = torch.tensor([[0.0, 7.0], [2.0, 6.0], [4.0, 7.0], [1.0, 3.0]]), torch.tensor([0, 1, 2, 3])
    output = empty_output(1, 8, 4)
    expected = make_targets(output, [segments], [labels], TWO)
    found = make_targets(output, [segments[order]], [labels[order]], TWO)
    assert torch.equal(found.classes, expected.classes)
    assert torch.equal(found.segments, expected.segments)


def test_without_any_action():
    output = empty_output(2, 8, 3)
    nothing = [torch.zeros(0, 2)] * 2, [torch.zeros(0, dtype=torch.long)] * 2
    losses = detection_losses(output, *nothing, torch.tensor(100.0), TWO, training=False)
    assert losses.reg == 0
    assert not losses.targets.positive.any()
    # 24 points x 3 classes at probability 1/2, divided by max(0, 1)
    torch.testing.assert_close(losses.cls, torch.tensor(72 * 0.75 * 0.25 * math.log(2)))


def test_running_normaliser_by_hand():
    output, running = empty_output(1, 8, 1), torch.tensor(100.0)
    segments, labels = [torch.tensor([[1.0, 5.0]])], [torch.tensor([0])]
    losses = detection_losses(output, segments, labels, running, TWO, training=True)
    assert losses.targets.positive.sum() == 3
    assert running.item() == pytest.approx(90.3)
    # Zero-length predictions at 2, 3, 4 against [1, 5]: 1 + (distance to the centre / 4)^2
    assert losses.reg.item() == pytest.approx((1 + 1 / 16 + 1 + 1 + 1 / 16) / 90.3)


def test_regression_weight_that_balances():
    output = empty_output(1, 8, 1)
    target = [torch.tensor([[1.0, 5.0]])], [torch.tensor([0])]
    config = TWO.model_copy(update={"regression_weight": 0.0})
    losses = detection_losses(output, *target, torch.tensor(100.0), config, training=False)
    torch.testing.assert_close(losses.reg, losses.cls)


def test_padding_gets_no_gradient():
    output = empty_output(1, 8, 2)
    for tensor in (*output.cls_logits, *output.offsets):
        tensor.requires_grad_()
    output.masks[0][0, 5:] = False
    target = [torch.tensor([[2.0, 6.0]])], [torch.tensor([1])]
    detection_losses(output, *target, torch.tensor(100.0), TWO, training=False).total.backward()
    assert not output.cls_logits[0].grad[0, 5:].any()
    assert not output.offsets[0].grad[0, 5:].any()
    assert output.cls_logits[0].grad[0, :5].all()
