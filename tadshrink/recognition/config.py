"""What a recogniser is, as plain data: everything that is needed to build it again, and nothing about how it was trained."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tadshrink.errors import UserError
from tadshrink.models.config import BackboneConfig
from tadshrink.models.detector import backbone_rules
from tadshrink.models.vit import PIXEL_MEAN, PIXEL_STD
from tadshrink.settings import Count, Rate, problems_in

#: The stages of a slow-only network, in their order.
STAGES = ("res2", "res3", "res4", "res5")
#: In place of a number of views: the module's own clips, in one pass.
ONE_PASS = "sfc"
_BLOCK = re.compile(r"block:(0|[1-9]\d{0,3})", re.ASCII)
_Triple = tuple[float, float, float]


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ClipConfig(_Config):
    """What the network takes at once: ``frames`` frames, of which neighbours are ``stride`` frames of the video apart, with the short
    side scaled to ``size`` pixels, of which squares are cut out."""

    frames: Count = 16
    stride: Count = 4
    size: Count = 224

    @property
    def span(self) -> int:
        """Frames of the video from the first to the last one of a clip, both included."""
        return (self.frames - 1) * self.stride + 1


class SlowOnlyConfig(_Config):
    """3-D ResNet of bottlenecks that never strides in time ("Slow-only", R50 by default)."""

    #: Bottlenecks of res2 to res5.
    depths: tuple[Count, Count, Count, Count] = (3, 4, 6, 3)
    #: Channels of the stem; a stage gives 4, 8, 16 and 32 times as many.
    width: Count = 64
    #: Whether the first convolution of the stage's bottlenecks spans three steps of time.
    temporal: tuple[bool, bool, bool, bool] = (False, False, True, True)
    #: Share of the pooled features that training drops before the classification layer.
    dropout: Rate = 0.5


class SfcConfig(_Config):
    """Selective Feature Compression: where the network is split, and the module in between."""

    #: The last part of the head: a stage ("res3"), or a block by its original index ("block:4").
    split: str
    #: Clips that are spread over a video.
    clips: Count = 10
    #: Each clip is a square crop, of so many along the longer side in turn; 1 is the middle.
    crops: Annotated[int, Field(ge=1, le=9)] = 3
    #: Share of the steps of time that is left for the tail.
    ratio: Annotated[float, Field(gt=0, le=1)] = 0.1
    #: How queries come from the steps of a bin of time.
    pool: Literal["topk", "avg", "max", "none"] = "topk"
    #: Strongest values of a bin that "topk" takes the mean of; half of the bin by default.
    topk: Count | None = None
    #: Channels of keys and queries; a quarter of the features' by default.
    width: Count | None = None
    #: Kernel of both convolutions of the abstraction layer: time, height, width. One that spans space as well costs more than the tail:
    #: with 3x3x3 and half of the channels, one pass of R50 takes 2.5 times fewer multiply-adds than 30 views, and not 6.7 times.
    kernel: tuple[Count, Count, Count] = (3, 1, 1)
    #: What a query attends to: its own place in the crop of each clip, or all places.
    attention: Literal["time", "space-time"] = "time"

    def steps(self, steps: int) -> int:
        """How many of so many steps of time are left for the tail."""
        return max(1, round(self.ratio * steps))


class RecogniserConfig(_Config):
    """A whole recogniser. ``classes`` are label names in the order of its outputs."""

    kind: Literal["recogniser"] = "recogniser"
    name: str = "custom"
    classes: tuple[str, ...]
    backbone: BackboneConfig | SlowOnlyConfig = BackboneConfig()
    clip: ClipConfig = ClipConfig()
    #: Of the pixels, per channel (R, G, B), on the scale 0..255.
    mean: _Triple = PIXEL_MEAN
    std: _Triple = PIXEL_STD
    sfc: SfcConfig | None = None

    @property
    def block_count(self) -> int:
        """Droppable blocks of the uncompressed model; a slow-only network has none."""
        return self.backbone.depth if isinstance(self.backbone, BackboneConfig) else 0

    @property
    def compute_width(self) -> int:
        """Width of the matrices in which most of the time goes."""
        return self.backbone.width if isinstance(self.backbone, BackboneConfig) else 4 * self.backbone.width

    @classmethod
    def parse(cls, data: dict[str, Any], where: object) -> RecogniserConfig:
        """Validate plain data; all problems are reported together in one :class:`UserError`."""
        try:
            config = cls.model_validate(data)
        except ValidationError as error:
            raise UserError(f"bad architecture: {'; '.join(problems_in(error))}", where=where, fix="Check the names and values") from error
        check_sizes(config, where)
        return config


def is_recogniser(architecture: dict[str, Any]) -> bool:
    """Whether the architecture of a checkpoint is a recogniser's; detectors have no kind."""
    return architecture.get("kind") == "recogniser"


def split_place(backbone: BackboneConfig | SlowOnlyConfig, split: str) -> int | None:
    """The index of the last stage (0 is res2) or block of the head, or None where the network has no such place."""
    if isinstance(backbone, SlowOnlyConfig):
        return STAGES.index(split) if split in STAGES else None
    match = _BLOCK.fullmatch(split)
    return int(match[1]) if match and int(match[1]) < backbone.depth else None


def check_sizes(config: RecogniserConfig, where: object = None, fix: str | None = None) -> None:
    """Raise one :class:`UserError` that lists everything that does not fit together."""
    rules = {"there must be a class, and no class twice": 0 < len(config.classes) == len(set(config.classes)),
             "std must be positive": min(config.std) > 0}
    if isinstance(config.backbone, BackboneConfig):
        rules |= _vit_rules(config.backbone, config.clip)
    if config.sfc:
        rules |= _sfc_rules(config.backbone, config.sfc)
    if broken := [rule for rule, holds in rules.items() if not holds]:
        raise UserError(f"architecture {config.name!r} does not fit together: {'; '.join(broken)}", where=where, fix=fix)


def _vit_rules(vit: BackboneConfig, clip: ClipConfig) -> dict[str, bool]:
    return backbone_rules(vit) | {
        f"clip.frames must be backbone.chunk_frames ({vit.chunk_frames})": clip.frames == vit.chunk_frames,
        "clip.size must be a multiple of backbone.patch_size": clip.size % vit.patch_size == 0,
        "a recogniser's backbone has no adapters": not vit.adapters,
    }


def _sfc_rules(backbone: BackboneConfig | SlowOnlyConfig, sfc: SfcConfig) -> dict[str, bool]:
    places = f"block:0 to block:{backbone.depth - 1}" if isinstance(backbone, BackboneConfig) else ", ".join(STAGES)
    return {
        f"sfc.split {sfc.split!r} is none of {places}": split_place(backbone, sfc.split) is not None,
        "sfc.pool none needs sfc.ratio 1": sfc.pool != "none" or sfc.ratio == 1,
        "sfc.topk is only for sfc.pool topk": sfc.topk is None or sfc.pool == "topk",
        "sfc.kernel must be odd": all(size % 2 for size in sfc.kernel),
        "sfc.crops must not be more than sfc.clips, which take turns with them": sfc.crops <= sfc.clips,
    }
