"""The whole detector: video backbone, projection, neck and head, with the parameter names of OpenTAD."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tadshrink.errors import UserError
from tadshrink.models.actionformer import Head, Neck, Projection, initialise, initialise_prior
from tadshrink.models.config import DetectorConfig
from tadshrink.models.vit import Recogniser, VideoViT


@dataclass
class DetectorOutput:
    """What the detector says about every cell of every pyramid level, fine to coarse.

    Attributes:
        features: backbone features on the grid [B, D, T].
        cls_logits: per level [B, T_l, K], before the sigmoid.
        offsets: per level [B, T_l, 2], distances (>= 0) to start and end in strides of the level.
        masks: per level bool [B, T_l], False in padding.
        points: per level [T_l], position in grid cells.
        strides: per level, grid cells between two points.
    """

    features: Tensor
    cls_logits: list[Tensor]
    offsets: list[Tensor]
    masks: list[Tensor]
    points: list[Tensor]
    strides: list[int]

    def segments(self) -> Tensor:
        """Predicted (start, end) of all points of all levels, in grid cells: [B, N, 2]."""
        levels = zip(self.points, self.offsets, self.strides, strict=True)
        sides = [(points, offsets * stride) for points, offsets, stride in levels]
        return torch.cat([torch.stack((p - o[..., 0], p + o[..., 1]), dim=-1) for p, o in sides], dim=1)

    def logits(self) -> Tensor:
        """Logits of all points of all levels: [B, N, K]."""
        return torch.cat(self.cls_logits, dim=1)

    def valid(self) -> Tensor:
        """Masks of all points of all levels: bool [B, N]."""
        return torch.cat(self.masks, dim=1)


class Detector(nn.Module):
    """Detects actions in a window of frames.

    Args:
        dropped: original indices of backbone blocks that do not exist any more.

    Raises:
        UserError: the sizes in ``config`` do not fit together.
    """

    def __init__(self, config: DetectorConfig, dropped: Iterable[int] = ()) -> None:
        super().__init__()
        check_sizes(config)
        self.config = config
        window = config.sampling.window
        self.backbone = Recogniser(config.backbone, window, dropped)
        self.projection = Projection(config.head, config.backbone.width, window)
        self.neck = Neck(config.head)
        self.rpn_head = Head(config.head, len(config.classes))
        for part in (self.projection, self.rpn_head):
            part.apply(initialise)
        initialise_prior(self.rpn_head, config.head.prior_probability)

    @property
    def vit(self) -> VideoViT:
        """The backbone with the blocks."""
        return self.backbone.vit

    def forward(self, inputs: Tensor, masks: Tensor) -> DetectorOutput:
        """uint8 RGB [B, 1, 3, F, H, W] and masks bool [B, window] of the grid cells that are not padding."""
        return self.head_outputs(self.backbone(inputs), masks)

    def head_outputs(self, features: Tensor, masks: Tensor) -> DetectorOutput:
        """Everything after the backbone: features [B, D, T] and masks bool [B, T]."""
        levels, level_masks = self.projection(features, masks)
        logits, offsets = self.rpn_head(self.neck(levels), level_masks)
        strides = [2**level for level in range(len(levels))]
        points = [
            torch.arange(level.shape[1], device=features.device, dtype=features.dtype) * stride
            for level, stride in zip(levels, strides, strict=True)
        ]
        return DetectorOutput(features, logits, offsets, [m[..., 0].bool() for m in level_masks], points, strides)


def check_sizes(config: DetectorConfig) -> None:
    """Raise one :class:`UserError` that lists every pair of sizes that do not fit together."""
    vit, head, sampling = config.backbone, config.head, config.sampling
    coarsest = 2 ** (head.levels - 1)
    rules = {
        "backbone.width must be a multiple of backbone.heads": vit.width % vit.heads == 0,
        "backbone.table_size must be a multiple of patch_size": vit.table_size % vit.patch_size == 0,
        "backbone.chunk_frames must be a multiple of tubelet": vit.chunk_frames % vit.tubelet == 0,
        "sampling.frame_size must be a multiple of backbone.patch_size": sampling.frame_size % vit.patch_size == 0,
        "window * frames_per_cell must be a multiple of chunk_frames": sampling.frames % vit.chunk_frames == 0,
        f"sampling.window must be a multiple of {coarsest}": sampling.window % coarsest == 0,
        "head.width must be a multiple of head.heads": head.width % head.heads == 0,
        f"head.regression_ranges must have {head.levels} entries": len(head.regression_ranges) == head.levels,
        "head.attention_window must be odd": head.attention_window % 2 == 1,
    }
    if broken := [rule for rule, holds in rules.items() if not holds]:
        raise UserError(f"architecture {config.name!r} does not fit together: {'; '.join(broken)}")


def build_detector(
    config: DetectorConfig, state: Mapping[str, Tensor], dropped: Iterable[int], where: object
) -> Detector:
    """A detector in eval mode with exactly these weights.

    Args:
        state: weights by OpenTAD name, without a ``module.`` prefix.
        where: named in errors, usually the path of the checkpoint.

    Raises:
        UserError: a weight is missing, left over or of another shape.
    """
    detector = Detector(config, dropped)
    expected = detector.state_dict()
    missing = [key for key in expected if key not in state]
    extra = [key for key in state if key not in expected]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    named = {"missing": missing, "left over": extra, "of the wrong shape": shapes}
    if problems := [f"{len(keys)} {name} ({_first(keys)})" for name, keys in named.items() if keys]:
        fix = "Give the architecture and the dropped blocks that these weights were made with"
        raise UserError(f"weights do not fit the architecture: {', '.join(problems)}", where=where, fix=fix)
    detector.load_state_dict(dict(state))
    return detector.eval()


def _first(keys: list[str], count: int = 3) -> str:
    """The first few names, and dots if there are more."""
    return ", ".join(keys[:count]) + (", ..." if len(keys) > count else "")
