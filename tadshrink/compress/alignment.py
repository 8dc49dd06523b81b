"""Cross-Depth Alignment (Progressive Block Drop): heal a model after a drop, by LoRA, against the uncompressed teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from tadshrink.compress.lora import add_lora, heal_parameters
from tadshrink.compress.losses import boundary_kd, class_kd, feature_loss
from tadshrink.data.loader import Batch
from tadshrink.models.detector import Detector, DetectorOutput
from tadshrink.models.losses import detection_losses
from tadshrink.training.settings import TrainSettings


class AlignSettings(TrainSettings):
    """Training settings of one alignment, and what is specific to it."""

    epochs: int = Field(3, ge=0)
    lr: float = Field(5e-4, gt=0)
    #: Rank of the updates; ``None`` is a quarter of the backbone's width. Alpha equals the rank: the scale is 1.
    rank: int | None = Field(None, gt=0)
    temperature: float = Field(3.5, gt=0)
    cls_kd: Literal["binary", "softmax", "decoupled"] = "binary"
    feature_kd: Literal["mse", "relation"] = "mse"
    #: Weights of the losses; 0 switches one off.
    feature_weight: float = Field(1.0, ge=0)
    cls_kd_weight: float = Field(1.0, ge=0)
    reg_kd_weight: float = Field(1.0, ge=0)
    task_weight: float = Field(1.0, ge=0)


def make_student(detector: Detector, settings: AlignSettings) -> tuple[int, float]:
    """Add LoRA to ``detector`` in place and choose what is trained: updates, the blocks' norms, and all that is not a block.

    Returns:
        rank and alpha of the updates.
    """
    rank = settings.rank or max(1, detector.config.compute_width // 4)
    add_lora(detector, rank, float(rank), detector.body.lora_targets, settings.seed)
    for parameter in heal_parameters(detector):
        parameter.requires_grad_(True)
    return rank, float(rank)


@dataclass(frozen=True)
class Lesson:
    """A batch on the device, and what the teacher makes of it: every block's output by original index, and its output."""

    batch: Batch
    inputs: Tensor
    masks: Tensor
    blocks: dict[int, Tensor]
    target: DetectorOutput


class AlignmentLosses:
    """The losses of one batch, as called by the training loop."""

    def __init__(self, student: Detector, teacher: Detector, settings: AlignSettings) -> None:
        self.student, self.teacher, self.settings = student, teacher.eval().requires_grad_(False), settings

    @torch.no_grad()
    def lesson(self, batch: Batch) -> Lesson:
        """The batch with the teacher's outputs; may run in another thread, ahead of the student."""
        device = next(self.teacher.parameters()).device
        inputs, masks = batch.inputs.to(device), batch.masks.to(device)
        return Lesson(batch, inputs, masks, *run_with_blocks(self.teacher, inputs, masks))

    def __call__(self, lesson: Lesson) -> dict[str, Tensor]:
        """Weighted losses by name: feature, cls_kd, reg_kd, cls, reg (the last two against the annotations)."""
        settings, batch, target = self.settings, lesson.batch, lesson.target
        inputs, masks = lesson.inputs, lesson.masks
        self.student.train()
        blocks, output = run_with_blocks(self.student, inputs, masks)
        head = self.student.rpn_head
        task = detection_losses(output, batch.segments, batch.labels, head.loss_normalizer, self.student.config.head, training=True)
        kd = class_kd(output.logits(), target.logits(), output.valid(), settings.temperature, settings.cls_kd, task.targets.classes)
        boundary = boundary_kd(output.segments(), target.segments(), task.targets.positive)
        feature = feature_loss(blocks, lesson.blocks, settings.feature_kd)
        return {"feature": settings.feature_weight * feature, "cls_kd": settings.cls_kd_weight * kd,
                "reg_kd": settings.reg_kd_weight * boundary, "cls": settings.task_weight * task.cls, "reg": settings.task_weight * task.reg}


def run_with_blocks(detector: Detector, inputs: Tensor, masks: Tensor) -> tuple[dict[int, Tensor], DetectorOutput]:
    """Every block's output by original index, and the detector's output."""
    outputs: dict[int, Tensor] = {}
    tokens = detector.run_blocks(detector.embed(inputs, masks), masks, outputs=outputs)
    return outputs, detector.finish(detector.pool(tokens, masks), masks)

