from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from tadshrink.compress.alignment import AlignmentLosses, AlignSettings, make_student, run_with_blocks
from tadshrink.data.loader import Batch, TrainingSet
from tadshrink.data.sources import open_source
from tadshrink.models.detector import Detector, build_detector
from tadshrink.models.losses import detection_losses

NAMES = ["feature", "cls_kd", "reg_kd", "cls", "reg"]


@pytest.fixture(scope="module")
def batch(tiny) -> Batch:
    return next(TrainingSet(tiny.data, "train", open_source(tiny.data, tiny.config.sampling)).epoch(0, 4, 0))


def detector(tiny, dropped: tuple[int, ...] = (), drop_path: float = 0.0) -> Detector:
    """The tiny detector, by default without the noise of stochastic depth."""
    state = {name: value for name, value in tiny.opened().detector.state_dict().items()
             if not any(f".blocks.{block}." in name for block in dropped)}
    made = build_detector(tiny.config, state, dropped, "test")
    for module in made.modules():
        if hasattr(module, "drop_path"):
            module.drop_path = drop_path
    return made


def taught(losses: AlignmentLosses, batch: Batch) -> dict[str, torch.Tensor]:
    return losses(losses.lesson(batch))


def test_student_trains_updates_norms_patch_embedding_and_head(tiny) -> None:
    student = detector(tiny, (1,))
    assert make_student(student, AlignSettings()) == (4, 4.0)
    trained = {name for name, value in student.named_parameters() if value.requires_grad}
    vit = "backbone.model.backbone."
    blocks = {f"{vit}blocks.{block}.{name}" for block in (0, 2, 3) for name in (
        "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "attn.qkv.lora_A.default.weight", "attn.qkv.lora_B.default.weight",
        "attn.proj.lora_A.default.weight", "attn.proj.lora_B.default.weight")}
    head = {name for name, _ in student.named_parameters() if not name.startswith("backbone.")}
    assert trained == blocks | head | {f"{vit}patch_embed.projection.weight", f"{vit}patch_embed.projection.bias"}


@pytest.mark.parametrize(("rank", "want"), [(None, (4, 4.0)), (3, (3, 3.0))])
def test_rank_is_a_quarter_of_the_width_unless_given(tiny, rank: int | None, want: tuple[int, float]) -> None:
    assert make_student(detector(tiny), AlignSettings(rank=rank)) == want


def test_a_student_equal_to_its_teacher_has_only_the_task_losses(tiny, batch: Batch) -> None:
    student, teacher = detector(tiny), detector(tiny)
    losses = taught(AlignmentLosses(student, teacher, AlignSettings()), batch)
    assert list(losses) == NAMES
    assert losses["feature"].item() == losses["cls_kd"].item() == 0
    twin = detector(tiny)
    output = twin(batch.inputs, batch.masks)
    task = detection_losses(output, batch.segments, batch.labels, twin.rpn_head.loss_normalizer, twin.config.head, training=True)
    assert losses["cls"].item() == pytest.approx(task.cls.item(), rel=1e-6)
    assert losses["reg"].item() == pytest.approx(task.reg.item(), rel=1e-6)
    # As published: two segments without length count 1 (and, coming out of a ReLU at 0, give no gradient).
    positive = task.targets.positive
    pointlike = (output.segments()[..., 0] == output.segments()[..., 1]) & positive
    assert losses["reg_kd"].item() == pytest.approx((pointlike.sum() / positive.sum()).item(), abs=1e-6)
    assert pointlike.sum() < positive.sum()


def test_a_student_without_a_block_is_pulled_by_every_loss(tiny, batch: Batch) -> None:
    losses = taught(AlignmentLosses(detector(tiny, (1,)), detector(tiny), AlignSettings()), batch)
    assert all(value.item() > 0 for value in losses.values())


def test_feature_loss_pairs_blocks_by_their_original_index(tiny, batch: Batch) -> None:
    student, teacher = detector(tiny, (1,)), detector(tiny)
    ours, _ = run_with_blocks(student, batch.inputs, batch.masks)
    theirs, _ = run_with_blocks(teacher, batch.inputs, batch.masks)
    assert list(ours) == [0, 2, 3]
    assert torch.equal(ours[0], theirs[0])
    want = sum((ours[block] - theirs[block]).square().mean() for block in (2, 3)) / 3
    assert taught(AlignmentLosses(student, teacher, AlignSettings()), batch)["feature"].item() == pytest.approx(want.item(), rel=1e-5)


def test_gradients_reach_everything_that_is_trained_and_nothing_else(tiny, batch: Batch) -> None:
    student, teacher = detector(tiny, (1,)), detector(tiny)
    make_student(student, AlignSettings())
    losses = taught(AlignmentLosses(student, teacher, AlignSettings()), batch)
    torch.stack(list(losses.values())).sum().backward()
    assert all(value.grad is None and not value.requires_grad for value in teacher.parameters())
    for name, value in student.named_parameters():
        assert (value.grad is not None) == value.requires_grad, name
        assert value.grad is None or bool(torch.isfinite(value.grad).all()), name


def test_teacher_judges_in_eval_mode_and_the_student_learns_in_train_mode(tiny, batch: Batch) -> None:
    student, teacher = detector(tiny, (1,), 0.5), detector(tiny, (), 0.5).train()
    losses = AlignmentLosses(student, teacher, AlignSettings())
    losses(losses.lesson(batch))
    assert student.training
    assert not any(module.training for module in teacher.modules())


@pytest.mark.parametrize(("weight", "silent"), [
    ("feature_weight", {"feature"}), ("cls_kd_weight", {"cls_kd"}), ("reg_kd_weight", {"reg_kd"}), ("task_weight", {"cls", "reg"})])
def test_weights_scale_their_loss(tiny, batch: Batch, weight: str, silent: set[str]) -> None:
    def losses(**weights: float) -> dict[str, float]:
        found = taught(AlignmentLosses(detector(tiny, (1,)), detector(tiny), AlignSettings(**weights)), batch)
        return {name: value.item() for name, value in found.items()}

    plain, doubled = losses(), losses(**{weight: 2.0})
    for name in NAMES:
        assert doubled[name] == pytest.approx(plain[name] * (2 if name in silent else 1), rel=1e-5)
    assert {name for name, value in losses(**{weight: 0.0}).items() if value == 0} == silent


def test_the_published_class_distillation_can_be_chosen(tiny, batch: Batch) -> None:
    binary, softmax = (taught(AlignmentLosses(detector(tiny, (1,)), detector(tiny), AlignSettings(cls_kd=kind)), batch)
                       for kind in ("binary", "softmax"))
    assert binary["cls_kd"].item() != softmax["cls_kd"].item()
    assert binary["feature"].item() == softmax["feature"].item()


@pytest.mark.parametrize("wrong", [{"lr": 0}, {"epochs": -1}, {"cls_kd": "cosine"}, {"rank": 0}, {"temperature": 0}, {"what": 1}])
def test_settings_refuse_nonsense(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AlignSettings(**wrong)
