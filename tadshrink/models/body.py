"""Where the droppable blocks of a detector are, what goes into them, and what follows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from tadshrink.models.blocks import DroppableBlocks
from tadshrink.models.config import BackboneConfig, FeatureConfig

if TYPE_CHECKING:
    from tadshrink.models.detector import Detector


class Body(Protocol):
    """The part of a detector that is a run of blocks.

    Attributes:
        prefix: name of the blocks in state dicts.
        lora_targets: layers of a block that get a low-rank update.
    """

    prefix: str
    lora_targets: tuple[str, ...]

    def blocks(self, detector: Detector) -> DroppableBlocks:
        """The blocks."""

    def embed(self, detector: Detector, inputs: Tensor, masks: Tensor) -> Tensor:
        """What goes into the first block."""

    def context(self, detector: Detector, masks: Tensor) -> Any:
        """What each block takes beside its input."""

    def features(self, detector: Detector, tokens: Tensor, masks: Tensor) -> Tensor:
        """What the blocks make of the inputs, on the grid of the head: [B, channels, T]."""

    def pyramid(self, detector: Detector, features: Tensor, masks: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """From :meth:`features` to the levels of the pyramid and their masks."""


class VideoBody:
    """The blocks of the video backbone."""

    prefix = "backbone.model.backbone.blocks"
    lora_targets = ("qkv", "proj")

    def blocks(self, detector: Detector) -> DroppableBlocks:
        return detector.backbone.vit.blocks

    def embed(self, detector: Detector, inputs: Tensor, masks: Tensor) -> Tensor:
        return detector.backbone.tokens(inputs)

    def context(self, detector: Detector, masks: Tensor) -> int:
        return len(masks)

    def features(self, detector: Detector, tokens: Tensor, masks: Tensor) -> Tensor:
        return detector.backbone.pool(tokens, len(masks))

    def pyramid(self, detector: Detector, features: Tensor, masks: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return detector.projection(features, masks)


class FeatureBody:
    """The stem of a detector on features: transformer blocks at full temporal resolution, before the pyramid."""

    prefix = "projection.stem"
    lora_targets = ("query", "key", "value", "proj")

    def blocks(self, detector: Detector) -> DroppableBlocks:
        return detector.projection.stem

    def embed(self, detector: Detector, inputs: Tensor, masks: Tensor) -> Tensor:
        if detector.config.backbone.normalise:
            inputs = detector.standardise(inputs, masks)
        return detector.projection.enter(inputs, self.context(detector, masks))

    def context(self, detector: Detector, masks: Tensor) -> Tensor:
        return detector.projection.pad(masks)

    def features(self, detector: Detector, tokens: Tensor, masks: Tensor) -> Tensor:
        return tokens.transpose(1, 2)

    def pyramid(self, detector: Detector, features: Tensor, masks: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return detector.projection.pyramid(features.transpose(1, 2), self.context(detector, masks))


BODIES: dict[type[BackboneConfig | FeatureConfig], Body] = {BackboneConfig: VideoBody(), FeatureConfig: FeatureBody()}
