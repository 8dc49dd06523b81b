"""Losses that pull a student without some blocks to its uncompressed teacher (Progressive Block Drop, Cross-Depth Alignment)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from tadshrink.models.losses import diou_loss

#: Weight of the other classes in decoupled distillation.
OTHERS = 6.0
#: Least probability of which a logarithm is taken.
TINY = 1e-30


def relation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared difference of the products between all tokens of a sample, summed; mean over samples. ``[n, tokens, D]``."""
    ours, theirs = ((tokens @ tokens.transpose(1, 2)) / tokens.shape[1] ** 2 for tokens in (student, teacher))
    return ((ours - theirs) ** 2).sum((1, 2)).mean()


#: Comparisons of two block outputs by their name in the settings; the published configurations take the squared error.
FEATURE_KD: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": functional.mse_loss, "relation": relation_loss}


def feature_loss(student: Mapping[int, Tensor], teacher: Mapping[int, Tensor], kind: str = "mse") -> Tensor:
    """Mean over the student's blocks of the error to the teacher's output of the block with the same original index.

    Args:
        student, teacher: outputs ``[n, tokens, D]`` by original block index; the teacher may have more blocks.
        kind: a key of :data:`FEATURE_KD`.
    """
    return torch.stack([FEATURE_KD[kind](output.float(), teacher[index].float()) for index, output in student.items()]).mean()


def binary_kl(student: Tensor, teacher: Tensor, classes: Tensor) -> Tensor:
    """KL(teacher, student) between the Bernoulli distributions of every class, summed over classes. Logits ``[..., K]`` -> ``[...]``.

    The head scores each class by its own sigmoid, so this is its natural distillation; it also works for one class,
    where the softmax form is constant.
    """
    target = torch.sigmoid(teacher)
    cross = functional.binary_cross_entropy_with_logits(student, target, reduction="none")
    entropy = functional.binary_cross_entropy_with_logits(teacher, target, reduction="none")
    return (cross - entropy).sum(-1)


def softmax_kl(student: Tensor, teacher: Tensor, classes: Tensor) -> Tensor:
    """The published form: KL(teacher, student) between softmaxes over classes. Logits ``[..., K]`` -> ``[...]``."""
    return _kl(student.log_softmax(-1), teacher.log_softmax(-1))


def _kl(ours: Tensor, theirs: Tensor) -> Tensor:
    return (theirs.exp() * (theirs - ours)).sum(-1)


def decoupled_kl(student: Tensor, teacher: Tensor, classes: Tensor) -> Tensor:
    """Decoupled distillation (Zhao et al. 2022): KL of the true classes' total plus :data:`OTHERS` times KL among the others.

    Points of no class count 0. ``classes`` is multi-hot ``[..., K]``.
    """
    true = classes > 0
    totals = [_log_totals(logits.softmax(-1), true) for logits in (student, teacher)]
    others = [logits.masked_fill(true, -1000.0).log_softmax(-1) for logits in (student, teacher)]
    return (_kl(*totals) + OTHERS * _kl(*others)) * true.any(-1)


def _log_totals(probabilities: Tensor, true: Tensor) -> Tensor:
    """Logarithm of the probability of all true and of all other classes, ``[..., 2]``."""
    return torch.stack([(probabilities * mask).sum(-1) for mask in (true, ~true)], dim=-1).clamp(min=TINY).log()


#: Class distillations by their name in the settings: of logits ``[..., K]`` and, where needed, the true classes.
CLASS_KD: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"binary": binary_kl, "softmax": softmax_kl, "decoupled": decoupled_kl}


def class_kd(student: Tensor, teacher: Tensor, valid: Tensor, temperature: float, kind: str, classes: Tensor) -> Tensor:
    """KL of scores softened by ``temperature``, mean over valid points, times temperature squared; 0 without valid points.

    Args:
        student, teacher: logits ``[B, N, K]``.
        valid: bool ``[B, N]``.
        kind: a key of :data:`CLASS_KD`.
        classes: true classes, multi-hot ``[B, N, K]``; needed by "decoupled".
    """
    # Under autocast the logits may be bfloat16, in which the difference of two nearly equal entropies is noise.
    divergence = CLASS_KD[kind](student.float() / temperature, teacher.float() / temperature, classes)
    return masked_mean(divergence, valid) * temperature**2


def boundary_kd(student: Tensor, teacher: Tensor, positive: Tensor) -> Tensor:
    """Mean DIoU loss between segments ``[B, N, 2]`` at the positive points (bool ``[B, N]``); 0 without any."""
    return masked_mean(diou_loss(student.float(), teacher.float()), positive)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask``, 0 if nowhere. A masked sum, since boolean indexing scatters in its backward pass."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)
