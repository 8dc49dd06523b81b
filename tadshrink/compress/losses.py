"""Losses that pull a student without some blocks to its uncompressed teacher (Progressive Block Drop, Cross-Depth Alignment)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from tadshrink.models.losses import diou_loss


def feature_loss(student: Mapping[int, Tensor], teacher: Mapping[int, Tensor]) -> Tensor:
    """Mean over the student's blocks of the squared error to the teacher's output of the block with the same original index.

    Args:
        student, teacher: outputs ``[n, tokens, D]`` by original block index; the teacher may have more blocks.
    """
    return torch.stack([functional.mse_loss(output.float(), teacher[index].float()) for index, output in student.items()]).mean()


def binary_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher, student) between the Bernoulli distributions of every class, summed over classes. Logits ``[..., K]`` -> ``[...]``.

    The head scores each class by its own sigmoid, so this is its natural distillation; it also works for one class,
    where the softmax form is constant.
    """
    target = torch.sigmoid(teacher)
    cross = functional.binary_cross_entropy_with_logits(student, target, reduction="none")
    entropy = functional.binary_cross_entropy_with_logits(teacher, target, reduction="none")
    return (cross - entropy).sum(-1)


def softmax_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """The published form: KL(teacher, student) between softmaxes over classes. Logits ``[..., K]`` -> ``[...]``."""
    ours, theirs = student.log_softmax(-1), teacher.log_softmax(-1)
    return (theirs.exp() * (theirs - ours)).sum(-1)


#: Class distillations by their name in the settings.
CLASS_KD: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"binary": binary_kl, "softmax": softmax_kl}


def class_kd(student: Tensor, teacher: Tensor, valid: Tensor, temperature: float, kind: str) -> Tensor:
    """KL of scores softened by ``temperature``, mean over valid points, times temperature squared; 0 without valid points.

    Args:
        student, teacher: logits ``[B, N, K]``.
        valid: bool ``[B, N]``.
        kind: a key of :data:`CLASS_KD`.
    """
    # Under autocast the logits may be bfloat16, in which the difference of two nearly equal entropies is noise.
    divergence = CLASS_KD[kind](student.float() / temperature, teacher.float() / temperature)
    return masked_mean(divergence, valid) * temperature**2


def boundary_kd(student: Tensor, teacher: Tensor, positive: Tensor) -> Tensor:
    """Mean DIoU loss between segments ``[B, N, 2]`` at the positive points (bool ``[B, N]``); 0 without any."""
    return masked_mean(diou_loss(student.float(), teacher.float()), positive)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask``, 0 if nowhere. A masked sum, since boolean indexing scatters in its backward pass."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)
