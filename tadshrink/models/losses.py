"""Targets and losses of the detector ("ActionFormer")."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tadshrink.distributed import world
from tadshrink.models.config import HeadConfig
from tadshrink.models.detector import DetectorOutput
from tadshrink.models.variants import VARIANTS, Variant
from tadshrink.training.parallel import total

#: Lengths this close to the shortest matching segment (in grid cells) count as equally short.
TIE = 1e-3
#: Momentum of the running number of positive points.
MOMENTUM = 0.9


@dataclass
class Targets:
    """What every point of every level (levels one after the other, fine to coarse) should say.

    Attributes:
        classes: multi-hot [B, N, K], zero where nothing matches.
        segments: the matched segment in grid cells [B, N, 2], zero where nothing matches.
        positive: bool [B, N], valid points with a match.
        valid: bool [B, N], points that are not padding.
    """

    classes: Tensor
    segments: Tensor
    positive: Tensor
    valid: Tensor


@dataclass
class DetectionLosses:
    """Both losses, normalised and weighted, and the targets they were computed with."""

    cls: Tensor
    reg: Tensor
    targets: Targets

    @property
    def total(self) -> Tensor:
        """Classification plus regression: what training minimises."""
        return self.cls + self.reg


def point_table(output: DetectorOutput, config: HeadConfig) -> Tensor:
    """All points as rows (position, stride, shortest reach, longest reach), in grid cells: [N, 4]."""
    rows = []
    for points, stride, (low, high) in zip(output.points, output.strides, config.regression_ranges, strict=True):
        limits = points.new_tensor([stride, low, high]).expand(len(points), 3)
        rows.append(torch.cat((points[:, None], limits), dim=1))
    return torch.cat(rows)


def match_points(points: Tensor, segments: Tensor, radius: float) -> Tensor:
    """Which point may be responsible for which segment: bool [N, n].

    The point lies strictly inside the segment and within ``radius`` strides of its centre, and its larger distance
    to start or end is in the reach of its level.

    Args:
        points: as from :func:`point_table`.
        segments: (start, end) in grid cells [n, 2].
    """
    position, stride, low, high = (column[:, None] for column in points.unbind(1))
    start, end = segments.unbind(1)
    centre, around = (start + end) * 0.5, stride * radius
    inside = (position > torch.maximum(start, centre - around)) & (position < torch.minimum(end, centre + around))
    reach = torch.maximum(position - start, end - position)
    return inside & (reach >= low) & (reach <= high)


def assign(
    points: Tensor, segments: Tensor, labels: Tensor, classes: int, radius: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Targets of one sample: multi-hot classes [N, K], segment [N, 2], matched bool [N].

    The shortest matching segment wins; segments as short (within :data:`TIE`) add their class.
    """
    if len(segments) == 0:
        empty = points.new_zeros(len(points), classes + 3)
        return empty[:, :classes], empty[:, classes:-1], empty[:, -1].bool()
    match = match_points(points, segments, radius)
    lengths = torch.where(match, segments[:, 1] - segments[:, 0], torch.inf)
    shortest, index = lengths.min(dim=1)
    tied = match & (lengths <= shortest[:, None] + TIE)
    one_hot = F.one_hot(labels.long(), classes).to(points.dtype)
    matched = match.any(dim=1)
    return (tied.to(points.dtype) @ one_hot).clamp(max=1), segments[index] * matched[:, None], matched


def make_targets(output: DetectorOutput, segments: list[Tensor], labels: list[Tensor], config: HeadConfig) -> Targets:
    """Targets of a batch; ``segments[b]`` [n, 2] in grid cells and ``labels[b]`` [n]."""
    points, classes = point_table(output, config), output.cls_logits[0].shape[-1]
    segments = [item.to(points).view(-1, 2) for item in segments]
    labels = [item.to(points.device) for item in labels]
    samples = [assign(points, *pair, classes, config.center_radius) for pair in zip(segments, labels, strict=True)]
    one_hot, targets, matched = (torch.stack(part) for part in zip(*samples, strict=True))
    valid = output.valid()
    return Targets(one_hot, targets, matched & valid, valid)


def focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Sigmoid focal loss per element (Lin et al. 2017); the targets may be soft."""
    probability = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    wrong = probability + targets - 2 * probability * targets
    return (alpha * targets + (1 - alpha) * (1 - targets)) * entropy * wrong**gamma


def diou_loss(predicted: Tensor, target: Tensor, eps: float = 1e-7) -> Tensor:
    """1 - IoU + (distance of centres / length of hull)^2 of paired segments [..., 2] -> [...] (Zheng et al. 2020)."""
    (start, end), (start_t, end_t) = predicted.unbind(-1), target.unbind(-1)
    overlap = (torch.minimum(end, end_t) - torch.maximum(start, start_t)).clamp(min=0)
    union = ((end - start) + (end_t - start_t) - overlap).clamp(min=eps)
    hull = torch.maximum(end, end_t) - torch.minimum(start, start_t)
    distance = 0.5 * (start + end - start_t - end_t)
    return 1 - overlap / union + distance**2 / (hull**2).clamp(min=eps)


@torch.no_grad()
def normaliser(running: Tensor, positives: Tensor, training: bool) -> Tensor:
    """What the summed losses are divided by: in training a moving average (updates ``running`` in place)."""
    count = positives.clamp(min=1).to(running.dtype)
    if not training:
        return count
    running.copy_(MOMENTUM * running + (1 - MOMENTUM) * count)
    return running.clone()


def _boundaries(output: DetectorOutput, targets: Targets, variant: Variant) -> tuple[Tensor, Tensor]:
    """Predicted and wanted (start, end) of every point, [B, N, 2] each, in cells, or in strides relative to the point."""
    if not variant.offset_loss:
        return output.segments().float(), targets.segments
    points = torch.cat(output.points)[:, None]
    strides = torch.cat([p.new_full((len(p), 1), s) for p, s in zip(output.points, output.strides, strict=True)])
    offsets = torch.cat(output.offsets, dim=1).float()
    return torch.stack((-offsets[..., 0], offsets[..., 1]), dim=-1), (targets.segments - points) / strides


def detection_losses(
    output: DetectorOutput,
    segments: list[Tensor],
    labels: list[Tensor],
    loss_normalizer: Tensor,
    config: HeadConfig,
    training: bool,
) -> DetectionLosses:
    """Focal loss over valid points and DIoU loss over positive ones.

    Args:
        segments: per sample, (start, end) in grid cells [n, 2]; n may be 0.
        labels: per sample, class index [n].
        loss_normalizer: the head's running number of positives; updated in place when it is used.
        training: divide by the running number, else by the number in this batch (ActionFormer itself always does the former).
    """
    variant = VARIANTS[config.variant]
    targets = make_targets(output, segments, labels, config)
    # In training, processes that share a batch divide by the number in all of it (see tadshrink.training.parallel).
    positives = total(targets.positive.sum()) if training else targets.positive.sum()
    count = normaliser(loss_normalizer, positives, training or variant.running_normaliser) / (world().size if training else 1)
    classes = targets.classes.shape[-1]
    smooth = targets.classes * (1 - config.label_smoothing) + config.label_smoothing / (classes + 1)
    # Masked sums, not boolean indexing: its backward pass would scatter, and padded points are finite anyway.
    cls = (focal_loss(output.logits().float(), smooth) * targets.valid[..., None]).sum() / count
    diou = diou_loss(*_boundaries(output, targets, variant), variant.loss_eps)
    reg = torch.where(targets.positive, diou, 0.0).sum() / count
    return DetectionLosses(cls, reg * _regression_weight(cls, reg, config, training), targets)


def _regression_weight(cls: Tensor, reg: Tensor, config: HeadConfig, training: bool) -> Tensor | float:
    """The configured one, or where that is 0 the ratio of the two losses."""
    if config.regression_weight > 0:
        return config.regression_weight
    ours, theirs = (total(loss.detach()) / world().size if training else loss.detach() for loss in (cls, reg))
    return ours / theirs.clamp(min=0.01)
