"""What ONNX Runtime computes with a file, beside what torch computes with the detector."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tadshrink.errors import UserError
from tadshrink.evaluation.candidates import Scored, choose, scored
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.nms import nms_many
from tadshrink.models.config import PostprocessConfig
from tadshrink.models.detector import Detector
from tadshrink.onnx_export.precision import Precision, Windows
from tadshrink.onnx_export.runtime import OnnxDetector

#: Detections per window that NMS in the graph must leave as our own does, and how many of them may differ: ties in IoU and score.
BEST, APART = 200, 0.01


@dataclass(frozen=True)
class Difference:
    """Between two models over all points that are not padding.

    Attributes:
        scores, boundaries: largest differences of a probability, and of a boundary in strides of its level.
        outside: share of the points that differ by more than is allowed.
    """

    scores: float
    boundaries: float
    outside: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"largest difference {self.scores:.1e} in score, {self.boundaries:.1e} strides in boundaries"


@torch.inference_mode()
def compare(detector: Detector, found: OnnxDetector, windows: Windows, precision: Precision) -> Difference:
    """Run both on the windows, one by one."""
    device, pairs = next(detector.parameters()).device, zip(*windows, strict=True)
    parts = []
    for inputs, masks in pairs:
        ours = scored(detector(inputs[None].to(device), masks[None].to(device)))
        parts.append(_apart(ours, found(inputs[None], masks[None])))
    scores, boundaries = (torch.cat(part) for part in zip(*parts, strict=True))
    # What is not a number is outside of every limit.
    inside = (scores <= precision.scores) & (boundaries <= precision.boundaries)
    return Difference(float(scores.max()), float(boundaries.max()), 1 - float(inside.double().mean()))


def _apart(ours: Scored, theirs: Scored) -> tuple[Tensor, Tensor]:
    """Per valid point: largest difference of a score, and of a boundary in strides."""
    strides = torch.cat([torch.full((length,), 2.0**level) for level, length in enumerate(ours.lengths)])
    valid = ours.valid.cpu()
    if not torch.equal(valid, theirs.valid):
        return torch.tensor([torch.inf]), torch.tensor([torch.inf])
    scores = (ours.scores.cpu() - theirs.scores).abs().amax(-1)
    boundaries = (ours.segments.cpu() - theirs.segments).abs().amax(-1) / strides
    return scores[valid], boundaries[valid]


def check(difference: Difference, precision: Precision, where: Path) -> None:
    """Raise a :class:`UserError` if the outputs are further apart than is allowed."""
    if not difference.outside <= 1 - precision.share:
        raise UserError(f"the ONNX file's outputs are not those of the model ({difference}, {100 * difference.outside:.2f} % of the points "
                        f"outside; {precision.limits()}): nothing was written", where=where,
                        fix="Try another precision, or other windows (--dataset)")


def check_nms(plain: OnnxDetector, suppressed: OnnxDetector, windows: Windows, where: Path) -> None:
    """Compare NMS in the graph with our own hard NMS on the same points.

    Raises:
        UserError: they leave other detections.
    """
    config = suppressed.config.postprocess
    for inputs, masks in zip(*windows, strict=True):
        expected, = nms_many(choose(plain(inputs[None], masks[None]), config), config)
        found, = suppressed(inputs[None], masks[None])
        # Both ways: what it should have suppressed is as wrong as what it should have left.
        share = max(_missing(found, expected.take(slice(BEST)), config), _missing(expected, found.take(slice(BEST)), config))
        if share > APART:
            raise UserError(f"NMS in the graph leaves other detections than hard NMS ({100 * share:.1f} % of the best {BEST}): "
                            "nothing was written", where=where, fix="Export without --with-nms")


def _missing(found: Detections, expected: Detections, config: PostprocessConfig) -> float:
    """Share of the expected detections that are not among those found."""
    if not len(expected):
        return float(len(found) > 0)
    near = found.labels[:, None] == expected.labels
    near &= np.abs(found.scores[:, None] - expected.scores) <= 1e-5
    near &= np.abs(found.segments[:, None] - expected.segments).max(-1) <= 1e-3
    return 1 - float(near.any(0).mean())
