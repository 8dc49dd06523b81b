"""The whole detector: video backbone, projection, neck and head, with the parameter names of OpenTAD."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from tadshrink.errors import UserError
from tadshrink.models.actionformer import NECKS, Head, Projection, initialise, initialise_prior
from tadshrink.models.blocks import DroppableBlocks
from tadshrink.models.body import BODIES
from tadshrink.models.config import BackboneConfig, DetectorConfig, Kept, SamplingConfig
from tadshrink.models.standardise import Standardise
from tadshrink.models.units import Unit
from tadshrink.models.vit import Recogniser

Model = TypeVar("Model", bound=nn.Module)


@dataclass
class DetectorOutput:
    """What the detector says about every cell of every pyramid level, fine to coarse.

    Attributes:
        features: what the head saw: features of the backbone on the grid, or those that were given, [B, D, T].
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

    def window(self, place: int) -> DetectorOutput:
        """What it says about one window of the batch, as a batch of one."""
        one = slice(place, place + 1)
        levels = ([level[one] for level in part] for part in (self.cls_logits, self.offsets, self.masks))
        return DetectorOutput(self.features[one], *levels, self.points, self.strides)

    def valid(self) -> Tensor:
        """Masks of all points of all levels: bool [B, N]."""
        return torch.cat(self.masks, dim=1)


class Detector(nn.Module):
    """Detects actions in a window of frames, or in a sequence of features.

    Args:
        dropped: units that do not exist any more: blocks by their original indices, or halves of them.

    Raises:
        UserError: the sizes in ``config`` do not fit together.
    """

    def __init__(self, config: DetectorConfig, dropped: Iterable[Unit] = ()) -> None:
        super().__init__()
        check_sizes(config)
        self.config, self.body = config, BODIES[type(config.backbone)]
        window = config.sampling.window
        if isinstance(config.backbone, BackboneConfig):
            self.backbone = Recogniser(config.backbone, window)
        elif config.backbone.normalise:
            self.standardise = Standardise(config.backbone.channels)
        self.projection = Projection(config.head, config.inputs, window)
        self.neck = NECKS[config.head.neck](config.head)
        self.rpn_head = Head(config.head, len(config.classes))
        for part in (self.projection, self.rpn_head):
            part.apply(initialise)
        initialise_prior(self.rpn_head, config.head.prior_probability)
        for unit in dropped:
            self.blocks.drop(unit)

    @property
    def blocks(self) -> DroppableBlocks:
        """The droppable blocks: the backbone's, or the stem's where features are given."""
        return self.body.blocks(self)

    def embed(self, inputs: Tensor, masks: Tensor) -> Tensor:
        """What goes into the first block; see :meth:`forward` for the arguments."""
        return self.body.embed(self, inputs, masks)

    def run_blocks(self, tokens: Tensor, masks: Tensor, first: int = 0, last: int | None = None, skipped: Collection[Unit] = ()) -> Tensor:
        """:meth:`DroppableBlocks.run` on the output of :meth:`embed` or of a block."""
        context = self.body.context(self, masks)
        done = [self.blocks.run(group, context, first, last, skipped) for group in self.body.groups(self, tokens)]
        return done[0] if len(done) == 1 else torch.cat(done)

    def pool(self, tokens: Tensor, masks: Tensor) -> Tensor:
        """What the blocks made of the inputs, on the grid of the head: [B, channels, T]."""
        return self.body.features(self, tokens, masks)

    def finish(self, features: Tensor, masks: Tensor) -> DetectorOutput:
        """Everything after :meth:`pool`."""
        levels, level_masks = self.body.pyramid(self, features, masks)
        logits, offsets = self.rpn_head(self.neck(levels, level_masks), level_masks)
        strides = [2**level for level in range(len(levels))]
        points = [
            torch.arange(level.shape[1], device=features.device, dtype=features.dtype) * stride
            for level, stride in zip(levels, strides, strict=True)
        ]
        return DetectorOutput(features, logits, offsets, [m[..., 0].bool() for m in level_masks], points, strides)

    def forward(self, inputs: Tensor, masks: Tensor) -> DetectorOutput:
        """Detect in a batch of windows.

        Args:
            inputs: uint8 RGB [B, 1, 3, F, H, W], or features [B, C, T].
            masks: bool [B, window] or [B, T], the grid cells that are not padding.
        """
        return self.finish(self.pool(self.run_blocks(self.embed(inputs, masks), masks), masks), masks)


def check_sizes(config: DetectorConfig) -> None:
    """Raise one :class:`UserError` that lists every pair of sizes that do not fit together."""
    head, sampling = config.head, config.sampling
    coarsest = 2 ** (head.levels - 1)
    rules = {
        f"sampling.window must be a multiple of {coarsest}": sampling.window % coarsest == 0,
        "head.width must be a multiple of head.heads": head.width % head.heads == 0,
        f"head.regression_ranges must have {head.levels} entries": len(head.regression_ranges) == head.levels,
        "head.attention_window must be odd": head.attention_window % 2 == 1,
        "head.relative_position needs an attention window": head.attention_window > 1 or not head.relative_position,
        "head.kept must be empty, or have heads and hidden units of every block of the stem": _sound(head.kept, head.stem_layers, head.heads),
        # Each head has numbers of its own, and nothing says which of them stay.
        "head.kept and head.relative_position exclude each other": not (head.kept and head.relative_position),
    }
    if isinstance(config.backbone, BackboneConfig):
        rules |= _backbone_rules(config.backbone, sampling)
    if broken := [rule for rule, holds in rules.items() if not holds]:
        raise UserError(f"architecture {config.name!r} does not fit together: {'; '.join(broken)}")


def _sound(kept: Kept, blocks: int, heads: int) -> bool:
    """Whether what pruning left can be: at least one of each, and no more heads than there were."""
    return not kept or (len(kept) == blocks and all(0 < there <= heads and hidden > 0 for there, hidden in kept))


def backbone_rules(vit: BackboneConfig) -> dict[str, bool]:
    """What must hold of a ViT, whatever it is part of."""
    return {
        "backbone.depth must be positive": vit.depth > 0,
        "backbone.width must be a multiple of backbone.heads": vit.width % vit.heads == 0,
        "backbone.table_size must be a multiple of patch_size": vit.table_size % vit.patch_size == 0,
        "backbone.chunk_frames must be a multiple of tubelet": vit.chunk_frames % vit.tubelet == 0,
        "backbone.kept must be empty, or have heads and hidden units of every block": _sound(vit.kept, vit.depth, vit.heads),
    }


def _backbone_rules(vit: BackboneConfig, sampling: SamplingConfig) -> dict[str, bool]:
    return backbone_rules(vit) | {
        "sampling.frame_size must be a multiple of backbone.patch_size": sampling.frame_size % vit.patch_size == 0,
        "window * frames_per_cell must be a multiple of chunk_frames": sampling.frames % vit.chunk_frames == 0,
        "backbone.adapter_width must be positive where there are adapters": vit.adapter_width > 0 or not vit.adapters,
        f"backbone.adapters must be below {vit.depth}": all(index < vit.depth for index in vit.adapters),
    }


def build_detector(
    config: DetectorConfig, state: Mapping[str, Tensor], dropped: Iterable[Unit], where: object
) -> Detector:
    """A detector in eval mode with exactly these weights.

    Args:
        state: weights by OpenTAD name, without a ``module.`` prefix.
        where: named in errors, usually the path of the checkpoint.

    Raises:
        UserError: a weight is missing, left over or of another shape.
    """
    return load_exactly(Detector(config, dropped), state, where)


def load_exactly(model: Model, state: Mapping[str, Tensor], where: object) -> Model:
    """A model with exactly these weights, in eval mode.

    Raises:
        UserError: a weight is missing, left over or of another shape.
    """
    if problems := weight_problems(model.state_dict(), state):
        fix = "Give the architecture and the dropped blocks that these weights were made with"
        raise UserError(f"weights do not fit the architecture: {problems}", where=where, fix=fix)
    model.load_state_dict(dict(state))
    return model.eval()


def weight_problems(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """What keeps the names and shapes of ``state`` from being those of ``expected``, as a phrase; empty if nothing does."""
    missing = [key for key in expected if key not in state]
    extra = [key for key in state if key not in expected]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    named = {"missing": missing, "left over": extra, "of the wrong shape": shapes}
    return ", ".join(f"{len(keys)} {name} ({_first(keys)})" for name, keys in named.items() if keys)


def _first(keys: list[str], count: int = 3) -> str:
    """The first few names, and dots if there are more."""
    return ", ".join(keys[:count]) + (", ..." if len(keys) > count else "")
