"""Losses that pull a student without some blocks to its uncompressed teacher (Progressive Block Drop, Cross-Depth Alignment)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from tadshrink.models.losses import diou_loss
from tadshrink.training.parallel import divisor

#: Weight of the other classes in decoupled distillation.
OTHERS = 6.0
#: Least probability of which a logarithm is taken.
TINY = 1e-30


def mse_loss(student: Tensor, teacher: Tensor, content: Tensor | None = None) -> Tensor:
    """Mean squared difference of tokens ``[n, tokens, D]``, of those alone that are content."""
    if content is None:
        return functional.mse_loss(student, teacher)
    return masked_mean((student - teacher).square().mean(-1), content)


def relation_loss(student: Tensor, teacher: Tensor, content: Tensor | None = None) -> Tensor:
    """Squared difference of the products between all tokens ``[n, tokens, D]`` of a sample that are content, each divided by the square of
    their number; summed, and the mean over samples."""
    counts: Tensor | int = student.shape[1]
    if content is not None:
        student, teacher = (torch.where(content[..., None], tokens, 0.0) for tokens in (student, teacher))
        counts = content.sum(1).clamp(min=1)[:, None, None]
    ours, theirs = ((tokens @ tokens.transpose(1, 2)) / counts**2 for tokens in (student, teacher))
    return ((ours - theirs) ** 2).sum((1, 2)).mean()


#: Comparisons of tokens ``[n, tokens, D]`` of two models by name.
COMPARISONS: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {"mse": mse_loss, "relation": relation_loss}


def feature_loss(student: Mapping[int, Tensor], teacher: Mapping[int, Tensor], kind: str = "mse", shared: int = 0,
                 content: Tensor | None = None) -> Tensor:
    """Mean over the student's blocks of the error to the teacher's tokens at the block with the same original index.

    Args:
        student, teacher: tokens ``[n, tokens, D]`` by original block index; the teacher may have more blocks.
        kind: a key of :data:`COMPARISONS`.
        shared: blocks more, which the two have in common and which are off by nothing.
        content: which tokens are no padding, bool ``[n, tokens]``; by default all count.
    """
    # Autocast would take products of tokens in its own dtype again, in which their small differences are noise.
    with torch.autocast(next(iter(student.values())).device.type, enabled=False):
        errors = torch.stack([COMPARISONS[kind](output.float(), teacher[index].float(), content) for index, output in student.items()])
    return errors.sum() / (len(errors) + shared)


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


def giou_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - IoU + share of the hull that neither covers, of paired segments [..., 2] -> [...] (Rezatofighi et al. 2019)."""
    (start, end), (start_t, end_t) = predicted.unbind(-1), target.unbind(-1)
    overlap = (torch.minimum(end, end_t) - torch.maximum(start, start_t)).clamp(min=0)
    union = (end - start) + (end_t - start_t) - overlap
    hull = (torch.maximum(end, end_t) - torch.minimum(start, start_t)).clamp(min=1e-7)
    # The small numbers are those of the published code: they decide the value for segments without length.
    return 1 - overlap / union.clamp(min=1e-6) + (hull - union) / (hull + 1e-6)


#: Comparisons of segments by their name in the settings; the published configurations take the first.
BOUNDARY_KD: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"diou": diou_loss, "giou": giou_loss}


def boundary_kd(student: Tensor, teacher: Tensor, positive: Tensor, kind: str = "diou") -> Tensor:
    """Mean loss between segments ``[B, N, 2]`` at the positive points (bool ``[B, N]``); 0 without any. ``kind``: see :data:`BOUNDARY_KD`."""
    return masked_mean(BOUNDARY_KD[kind](student.float(), teacher.float()), positive)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask``, 0 if nowhere. A masked sum, since boolean indexing scatters in its backward pass.

    Where several processes share a batch, their results average to the mean over all of it.
    """
    return torch.where(mask, values, 0.0).sum() / divisor(mask.sum())
