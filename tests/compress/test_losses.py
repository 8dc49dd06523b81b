from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tadshrink.compress.losses import (
    BOUNDARY_KD,
    CLASS_KD,
    COMPARISONS,
    binary_kl,
    boundary_kd,
    class_kd,
    feature_loss,
    masked_mean,
    softmax_kl,
)

GOLDEN = Path(__file__).parent / "golden"
#: For the kinds that do not look at the true classes.
NO_CLASSES = torch.zeros(0)


@pytest.fixture(scope="module")
def golden() -> tuple[dict[str, Tensor], dict]:
    """Inputs, and what the published code makes of them."""
    arrays = np.load(GOLDEN / "distill.npz")
    return {name: torch.from_numpy(arrays[name]) for name in arrays}, json.loads((GOLDEN / "distill.json").read_text())


def everywhere(logits: Tensor) -> Tensor:
    return torch.ones(logits.shape[:-1], dtype=torch.bool)


def gradient_norm(loss: Tensor, wrt: Tensor) -> float:
    return float(torch.autograd.grad(loss, wrt)[0].norm())


@pytest.mark.parametrize("temperature", [1.0, 3.5, 4.0])
def test_softmax_distillation_is_the_published_one(golden: tuple[dict[str, Tensor], dict], temperature: float) -> None:
    inputs, values = golden
    student = inputs["student_logits"].clone().requires_grad_()
    loss = class_kd(student[None], inputs["teacher_logits"][None], everywhere(student[None]), temperature, "softmax", NO_CLASSES)
    assert loss.item() == pytest.approx(values[f"kl_T{temperature}"]["value"], rel=1e-5)
    assert gradient_norm(loss, student) == pytest.approx(values[f"kl_T{temperature}"]["grad_l2_wrt_first_input"], rel=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 3.5, 4.0])
def test_decoupled_distillation_is_the_published_one(golden: tuple[dict[str, Tensor], dict], temperature: float) -> None:
    inputs, values = golden
    student = inputs["student_logits"].clone().requires_grad_()
    teacher, classes = inputs["teacher_logits"][None], inputs["cls_target"][None]
    loss = class_kd(student[None], teacher, everywhere(student[None]), temperature, "decoupled", classes)
    assert loss.item() == pytest.approx(values[f"dkd_T{temperature}"]["value"], rel=1e-5)
    assert gradient_norm(loss, student) == pytest.approx(values[f"dkd_T{temperature}"]["grad_l2_wrt_first_input"], rel=1e-4)


def test_relations_between_tokens_are_the_published_ones(golden: tuple[dict[str, Tensor], dict]) -> None:
    inputs, values = golden
    student = inputs["student_feature"].clone().requires_grad_()
    loss = feature_loss({0: student}, {0: inputs["teacher_feature"]}, "relation")
    assert loss.item() == pytest.approx(values["feature_relation"]["value"], rel=1e-5)
    assert gradient_norm(loss, student) == pytest.approx(values["feature_relation"]["grad_l2_wrt_first_input"], rel=1e-4)


@pytest.mark.parametrize("kind", BOUNDARY_KD)
def test_boundary_distillation_is_the_published_one(golden: tuple[dict[str, Tensor], dict], kind: str) -> None:
    inputs, values = golden
    student, teacher = inputs["student_segments"][None].clone().requires_grad_(), inputs["teacher_segments"][None]
    loss = boundary_kd(student, teacher, torch.ones(1, 25, dtype=torch.bool), kind)
    assert loss.item() == pytest.approx(values[f"{kind}_mean"]["value"], rel=1e-5)
    assert gradient_norm(loss, student) == pytest.approx(values[f"{kind}_mean"]["grad_l2_wrt_first_input"], rel=1e-4)
    singly = [boundary_kd(student, teacher, torch.arange(25)[None] == number, kind).item() for number in range(25)]
    assert singly == pytest.approx(values[f"{kind}_none"], abs=1e-5)


def test_boundary_distillation_is_zero_without_a_positive_point(golden: tuple[dict[str, Tensor], dict]) -> None:
    inputs, values = golden
    none = boundary_kd(inputs["student_segments"][None], inputs["teacher_segments"][None], torch.zeros(1, 25, dtype=torch.bool))
    assert none.item() == values["diou_mean_no_positive"] == 0


def test_feature_loss_is_the_published_one(golden: tuple[dict[str, Tensor], dict]) -> None:
    inputs, values = golden
    student = inputs["student_feature"].clone().requires_grad_()
    loss = feature_loss({0: student}, {0: inputs["teacher_feature"]})
    assert loss.item() == pytest.approx(values["feature_mse"]["value"], rel=1e-5)
    assert gradient_norm(loss, student) == pytest.approx(values["feature_mse"]["grad_l2_wrt_first_input"], rel=1e-4)


@pytest.mark.parametrize("kind", COMPARISONS)
def test_padding_is_no_part_of_feature_losses(kind: str) -> None:
    torch.manual_seed(0)
    ours, theirs, content = torch.randn(2, 9, 4), torch.randn(2, 9, 4), torch.arange(9) < torch.tensor([[9], [5]])
    longer = [torch.cat([tokens, 7 * torch.randn(2, 6, 4)], dim=1) for tokens in (ours, theirs)]
    padded = torch.cat([content, torch.zeros(2, 6, dtype=torch.bool)], dim=1)
    loss = feature_loss({0: longer[0]}, {0: longer[1]}, kind, content=padded)
    torch.testing.assert_close(loss, feature_loss({0: ours}, {0: theirs}, kind, content=content))
    alone = [feature_loss({0: ours[row:row + 1, :size]}, {0: theirs[row:row + 1, :size]}, kind) for row, size in ((0, 9), (1, 5))]
    weights = (9 / 14, 5 / 14) if kind == "mse" else (1 / 2, 1 / 2)
    torch.testing.assert_close(loss, sum(weight * value for weight, value in zip(weights, alone, strict=True)))


def test_feature_loss_compares_blocks_of_the_same_original_index() -> None:
    teacher = {0: torch.full((1, 1, 2), 10.0), 1: torch.full((1, 1, 2), 50.0), 2: torch.zeros(1, 1, 2)}
    student = {0: torch.full((1, 1, 2), 11.0), 2: torch.full((1, 1, 2), 3.0)}
    # Block 0 is off by 1, block 2 by 3; block 1 was dropped, and the divisor is the student's number of blocks.
    assert feature_loss(student, teacher).item() == (1 + 9) / 2


def test_binary_distillation_by_hand() -> None:
    teacher, student = 0.75, 0.5
    want = teacher * math.log(teacher / student) + (1 - teacher) * math.log((1 - teacher) / (1 - student))
    logit = math.log(teacher / (1 - teacher))
    assert binary_kl(torch.tensor([[0.0]]), torch.tensor([[logit]]), NO_CLASSES).item() == pytest.approx(want, rel=1e-5)
    # Summed over classes.
    assert binary_kl(torch.tensor([0.0, 0.0]), torch.tensor([logit, logit]), NO_CLASSES).item() == pytest.approx(2 * want, rel=1e-5)


def test_softmax_distillation_by_hand() -> None:
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]])
    want = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert softmax_kl(student, teacher, NO_CLASSES).item() == pytest.approx(want, rel=1e-5)


def test_with_one_class_only_the_binary_form_says_something(golden: tuple[dict[str, Tensor], dict]) -> None:
    inputs, values = golden
    student, teacher = inputs["student_logits"][None, :, :1].clone().requires_grad_(), inputs["teacher_logits"][None, :, :1]
    published = class_kd(student, teacher, everywhere(student), 3.5, "softmax", NO_CLASSES)
    assert published.item() == values["kl_T3.5_one_class"]["value"] == 0
    assert gradient_norm(published, student) == 0
    ours = class_kd(student, teacher, everywhere(student), 3.5, "binary", NO_CLASSES)
    assert ours.item() > 0
    assert gradient_norm(ours, student) > 0


@pytest.mark.parametrize("kind", CLASS_KD)
def test_class_distillation_is_zero_for_equal_scores_and_positive_for_others(kind: str) -> None:
    logits = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)) * 30
    classes = torch.eye(3).expand(2, 3, 3)[:, [0, 1, 2, 0, 1]]
    assert class_kd(logits, logits, everywhere(logits), 2.0, kind, classes).item() == pytest.approx(0, abs=1e-4)
    assert class_kd(logits, logits.flip(-1), everywhere(logits), 2.0, kind, classes).item() > 1


@pytest.mark.parametrize("kind", CLASS_KD)
def test_class_distillation_looks_at_valid_points_only(kind: str) -> None:
    student, teacher = torch.randn(2, 1, 4, 3, generator=torch.Generator().manual_seed(0))
    valid = torch.tensor([[True, True, False, False]])
    classes = torch.tensor([[[1.0, 0, 0], [0, 1, 1], [0, 0, 1], [0, 1, 0]]])
    loss = class_kd(student, teacher, valid, 2.0, kind, classes)
    assert loss.item() == pytest.approx(class_kd(student[:, :2], teacher[:, :2], valid[:, :2], 2.0, kind, classes[:, :2]).item())
    assert class_kd(student, teacher, torch.zeros_like(valid), 2.0, kind, classes).item() == 0


def test_points_of_no_class_are_left_out_by_decoupled_distillation_alone() -> None:
    student, teacher = torch.randn(2, 1, 1, 3, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(1, 1, 3)
    assert class_kd(student, teacher, everywhere(student), 2.0, "decoupled", nothing).item() == 0
    assert class_kd(student, teacher, everywhere(student), 2.0, "softmax", nothing).item() > 0


def test_class_distillation_of_bfloat16_scores_is_computed_in_float32() -> None:
    student = torch.randn(1, 50, 3, generator=torch.Generator().manual_seed(0)).bfloat16()
    teacher = (student.float() + 0.02).bfloat16()
    loss = class_kd(student, teacher, everywhere(student), 3.5, "binary", NO_CLASSES)
    assert loss.dtype == torch.float32
    exact = class_kd(student.double(), teacher.double(), everywhere(student), 3.5, "binary", NO_CLASSES)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-2)
    assert loss.item() > 0


def test_masked_mean_ignores_what_is_masked_in_value_and_gradient() -> None:
    values = torch.tensor([1.0, 3.0, torch.inf], requires_grad=True)
    mean = masked_mean(values, torch.tensor([True, True, False]))
    assert mean.item() == 2
    assert torch.autograd.grad(mean, values)[0].tolist() == [0.5, 0.5, 0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_relations_are_compared_in_float32_under_autocast(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = ({0: 24 * torch.randn(2, 64, 384, generator=generator)} for _ in range(2))
    plain = feature_loss(ours, theirs, "relation")
    with torch.autocast("cpu", dtype=dtype):
        assert feature_loss(ours, theirs, "relation").item() == plain.item()
