"""Where the droppable blocks of a detector are, what goes into them, and what follows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import torch
from pydantic import BaseModel
from torch import Tensor

from tadshrink.models.attention import TransformerBlock
from tadshrink.models.blocks import DroppableBlocks, HalvedBlock
from tadshrink.models.config import BackboneConfig, FeatureConfig, Kept
from tadshrink.models.units import Left, Unit, split_unit, without
from tadshrink.models.vit import Block

if TYPE_CHECKING:
    from tadshrink.models.detector import Detector

Config = TypeVar("Config", bound=BaseModel)
#: Bytes of a CPU's cache that the widest activations of a group of chunks may fill. Two to four chunks of VideoMAE-S were best.
CACHE = 16 << 20


_VIT_LAYERS = {"qkv": ("qkv",), "proj": ("proj",), "fc1": ("layers.0.0",), "fc2": ("layers.1",)}


class Body(Protocol):
    """The part of a detector that is a run of blocks.

    Attributes:
        prefix: name of the blocks in state dicts.
        block: what they are.
        entry: how the names of what is before the blocks begin.
        layers: ends of the names of a block's matrices, by what they are called in settings.
        idle: how the names of weights begin that are in every checkpoint, but never applied.
        part: the part of a configuration that says what was pruned of the blocks.
    """

    prefix: str
    block: type[HalvedBlock]
    entry: str
    layers: dict[str, tuple[str, ...]]
    idle: tuple[str, ...]
    part: str

    def blocks(self, detector: Detector) -> DroppableBlocks:
        """The blocks."""

    def embed(self, detector: Detector, inputs: Tensor, masks: Tensor) -> Tensor:
        """What goes into the first block."""

    def context(self, detector: Detector, masks: Tensor) -> Any:
        """What each block takes beside its input."""

    def groups(self, detector: Detector, tokens: Tensor) -> Sequence[Tensor]:
        """Samples that go through all blocks before the next ones do."""

    def content(self, detector: Detector, masks: Tensor) -> Tensor | None:
        """Which tokens are no padding, bool [n, tokens]; ``None`` where all of them count."""

    def features(self, detector: Detector, tokens: Tensor, masks: Tensor) -> Tensor:
        """What the blocks make of the inputs, on the grid of the head: [B, channels, T]."""

    def pyramid(self, detector: Detector, features: Tensor, masks: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """From :meth:`features` to the levels of the pyramid and their masks."""


class VideoBody:
    """The blocks of the video backbone."""

    prefix = "backbone.model.backbone.blocks"
    block = Block
    entry = "backbone.model.backbone.patch_embed."
    layers: ClassVar = _VIT_LAYERS
    idle = ("backbone.model.backbone.fc_norm.",)
    part = "backbone"

    def blocks(self, detector: Detector) -> DroppableBlocks:
        return detector.backbone.vit.blocks

    def embed(self, detector: Detector, inputs: Tensor, masks: Tensor) -> Tensor:
        return detector.backbone.tokens(inputs)

    def context(self, detector: Detector, masks: Tensor) -> int:
        return masks.shape[0]

    def content(self, detector: Detector, masks: Tensor) -> None:
        return None

    def groups(self, detector: Detector, tokens: Tensor) -> Sequence[Tensor]:
        """On a CPU, so many chunks that what a block makes of them fits its cache: an eighth faster at VideoMAE-S, and less memory."""
        vit = detector.config.backbone
        # Adapters look at all chunks of a clip; and a graph that is traced or compiled would have each block once for every group.
        if vit.adapters or tokens.device.type != "cpu" or torch.is_grad_enabled() or _traced():
            return [tokens]
        widest = int(tokens[0].nbytes * vit.mlp_ratio)
        return tokens.tensor_split(-(-len(tokens) // max(1, CACHE // widest)))

    def features(self, detector: Detector, tokens: Tensor, masks: Tensor) -> Tensor:
        return detector.backbone.pool(tokens, masks.shape[0])

    def pyramid(self, detector: Detector, features: Tensor, masks: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return detector.projection(features, masks)


class FeatureBody:
    """The stem of a detector on features: transformer blocks at full temporal resolution, before the pyramid."""

    prefix = "projection.stem"
    block = TransformerBlock
    entry = "projection.embed."
    layers: ClassVar = {"qkv": ("query", "key", "value"), "proj": ("proj",), "fc1": ("mlp.0",), "fc2": ("mlp.3",)}
    idle = ()
    part = "head"

    def blocks(self, detector: Detector) -> DroppableBlocks:
        return detector.projection.stem

    def embed(self, detector: Detector, inputs: Tensor, masks: Tensor) -> Tensor:
        if detector.config.backbone.normalise:
            inputs = detector.standardise(inputs, masks)
        return detector.projection.enter(inputs, self.context(detector, masks))

    def context(self, detector: Detector, masks: Tensor) -> Tensor:
        return detector.projection.pad(masks)

    def content(self, detector: Detector, masks: Tensor) -> Tensor:
        return self.context(detector, masks)[..., 0].bool()

    def groups(self, detector: Detector, tokens: Tensor) -> Sequence[Tensor]:
        return [tokens]

    def features(self, detector: Detector, tokens: Tensor, masks: Tensor) -> Tensor:
        return tokens.transpose(1, 2)

    def pyramid(self, detector: Detector, features: Tensor, masks: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return detector.projection.pyramid(features.transpose(1, 2), self.context(detector, masks))


def _traced() -> bool:
    return torch.compiler.is_compiling() or torch.compiler.is_exporting()


def unit_prefixes(body: Body, left: Left, unit: Unit) -> tuple[str, ...]:
    """How the names of a unit's weights begin, where ``left`` is what there was before it went."""
    index, halves = split_unit(unit)
    if index not in without(left, unit):
        return (f"{body.prefix}.{index}.",)
    return tuple(f"{body.prefix}.{index}.{name}." for half in halves for name in body.block.parts[half])


class ClipBody:
    """Names and layers of the blocks of a recogniser of trimmed videos, which does the rest itself."""

    prefix = "backbone.blocks"
    block = Block
    entry = "backbone.patch_embed."
    layers: ClassVar = _VIT_LAYERS
    idle = ()
    part = "backbone"

    def context(self, recogniser: object, masks: Tensor) -> int:
        """How many videos there are."""
        return len(masks)

    def content(self, recogniser: object, masks: Tensor) -> None:
        """No clip is padding."""
        return None


CLIP_BODY = ClipBody()
BODIES: dict[type[BackboneConfig | FeatureConfig], Body] = {BackboneConfig: VideoBody(), FeatureConfig: FeatureBody()}


def block_sizes(model: Detector, index: int) -> tuple[int, int]:
    """Heads and hidden units of a block of a model as its configuration says them, by its original index."""
    return getattr(model.config, model.body.part).sizes(index)


def narrowed(body: Body, config: Config, kept: Kept) -> Config:
    """The configuration of a model with so many heads and hidden units left of each block; ``()`` is all of them."""
    part = getattr(config, body.part)
    return config.model_copy(update={body.part: part.model_copy(update={"kept": kept})})
