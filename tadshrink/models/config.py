"""What a detector is, as plain data: everything that is needed to build it again, and nothing about how it was trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from tadshrink.errors import UserError
from tadshrink.settings import AnyCount, Count, NotNegative, Positive, Rate, Share, problems_in


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


#: What channel pruning left of each block, by its original index: attention heads and hidden units; empty where nothing was pruned.
Kept = tuple[tuple[int, int], ...]


class BackboneConfig(_Config):
    """VideoMAE ViT run on short chunks of a clip (tubelets of 2 frames, square patches)."""

    width: Count = 384
    depth: AnyCount = 12
    heads: Count = 6
    mlp_ratio: Positive = 4
    patch_size: Count = 16
    tubelet: Count = 2
    chunk_frames: Count = 16
    #: Side in pixels that the stored position table was made for; other sizes are interpolated.
    table_size: Count = 224
    #: Factor on the first weights of each block's two output layers; matters only for training from scratch.
    branch_gain: Positive = 1.0
    #: Stochastic depth of the last block; grows linearly from 0 with the original block index.
    drop_path: Rate = 0.1
    #: Original indices of the blocks that end in a temporal adapter (AdaTAD), and the adapters' inner width.
    adapters: tuple[AnyCount, ...] = ()
    adapter_width: AnyCount = 0
    kept: Kept = ()

    def sizes(self, index: int) -> tuple[int, int]:
        """Heads and hidden units of a block, by its original index."""
        return self.kept[index] if self.kept else (self.heads, round(self.width * self.mlp_ratio))


class FeatureConfig(_Config):
    """No backbone: the detector takes a sequence of features that were extracted before."""

    channels: Count
    #: Bring each channel to mean 0 and deviation 1 first, with numbers that are kept with the weights.
    normalise: bool = False


#: How the two kinds of inputs are called in the place of an error; it says nothing to a reader.
_VIDEO, _FEATURES = "video", "features"


def _kind(value: Any) -> str:
    is_features = "channels" in value if isinstance(value, dict) else isinstance(value, FeatureConfig)
    return _FEATURES if is_features else _VIDEO


#: Told apart by what is there, so that only the problems of the right one are told.
_Inputs = Annotated[Annotated[BackboneConfig, Tag(_VIDEO)] | Annotated[FeatureConfig, Tag(_FEATURES)], Discriminator(_kind)]


class HeadConfig(_Config):
    """ActionFormer: projection pyramid, per-level norms, shared classification and regression heads."""

    #: The code base whose arithmetic is followed, see :data:`tadshrink.models.variants.VARIANTS`.
    variant: Literal["opentad", "actionformer"] = "opentad"
    width: Count = 512
    heads: Count = 4
    embed_layers: AnyCount = 2
    stem_layers: AnyCount = 2
    levels: Count = 6
    head_layers: AnyCount = 2
    mlp_ratio: Count = 4
    #: Local attention window (odd, > 1), or 1 for global attention.
    attention_window: Count = 1
    absolute_position: bool = False
    #: A learned number per head and distance within the local attention window.
    relative_position: bool = False
    #: One norm per level, or a feature pyramid network that also sums coarse levels into fine ones.
    neck: Literal["identity", "fpn"] = "identity"
    drop_path: Rate = 0.1
    input_dropout: Rate = 0.0
    prior_probability: Annotated[float, Field(gt=0, lt=1)] = 0.01
    #: (low, high) per level, in grid cells, on max(distance to start, distance to end); both ends inclusive.
    regression_ranges: tuple[tuple[float, float], ...] = ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000))
    center_radius: Positive = 1.5
    label_smoothing: Rate = 0.0
    regression_weight: NotNegative = 1.0
    #: Number of positive points that the running normaliser of the losses starts from.
    loss_normalizer: Positive = 100.0
    #: Of the blocks of the stem.
    kept: Kept = ()

    def sizes(self, index: int | None = None) -> tuple[int, int]:
        """Heads and hidden units of a block of the stem, by its original index, or of any other block (``None``)."""
        return self.kept[index] if self.kept and index is not None else (self.heads, self.width * self.mlp_ratio)


class SamplingConfig(_Config):
    """How a video becomes the model's input. One grid cell is ``snippet_stride`` frames of the video.

    ``mode``: "sliding" takes overlapping windows; "resize" spreads one window evenly over the whole video (ActivityNet), so a
    cell is a share of the duration; "whole" gives all cells of a video at once (features).
    """

    mode: Literal["sliding", "resize", "whole"] = "sliding"
    #: Grid cells per window (length of the head's finest level).
    window: Count = 768
    #: Frames fed to the backbone per grid cell.
    frames_per_cell: Count = 1
    #: Video frames per grid cell.
    snippet_stride: Count = 4
    frame_size: Count = 160
    #: Overlap of neighbouring windows in sliding-window inference.
    overlap: Rate = 0.5
    #: Frames per second of the videos that the model was trained on, where they had one rate; ``detect`` takes others as if they had it.
    fps: Positive | None = None
    #: Where cell 0 lies: frames from the start of the video (or window) to the centre of the first feature.
    offset_frames: float = 0.0

    @property
    def frames(self) -> int:
        """Frames in one window as the backbone sees it."""
        return self.window * self.frames_per_cell


class PostprocessConfig(_Config):
    """From scores on the grid to a list of detections in seconds."""

    score_threshold: Share = 0.001
    pre_nms_top_k: Count = 2000
    #: The top k and the threshold apply to each pyramid level on its own (ActionFormer), not to all of them together (OpenTAD).
    top_k_per_level: bool = False
    #: Shorter candidates are left out; in grid cells.
    min_length: NotNegative = 0.0
    #: See :data:`tadshrink.evaluation.nms.METHODS`.
    nms: Literal["gaussian", "linear", "soft_hard", "gated", "hard", "none"] = "gaussian"
    nms_sigma: Positive = 0.7
    #: tIoU from which "linear", "soft_hard" and "hard" act.
    nms_iou: Share = 0.1
    #: tIoU from which "gated" acts, and what each cell (or second) of the length of the segment that is kept adds to it.
    nms_gate: tuple[float, float] = (0.0, 0.0)
    nms_min_score: NotNegative = 0.0
    max_detections: Count = 2000
    #: NMS within each class; otherwise all classes compete.
    multiclass: bool = True
    #: tIoU from which suppressed segments vote on a kept one's boundaries; 0 is off. Only without ``multiclass``, as in both code bases.
    voting_iou: Share = 0.0
    #: Votes count by score ("opentad") or by score times tIoU ("actionformer").
    voting: Literal["opentad", "actionformer"] = "opentad"
    #: Whether NMS runs on the grid before conversion to seconds, or on seconds over all windows of a video. Sliding windows, which
    #: overlap, always have the latter.
    nms_on: Literal["seconds", "grid"] = "seconds"
    #: Round seconds to 2 and scores to 4 decimals before and after NMS on seconds, and at the end (OpenTAD).
    rounded: bool = True
    #: How scores of a video-level classifier join those of class-agnostic proposals, and of how many classes.
    fusion: Literal["product", "sqrt", "normalised"] = "product"
    fusion_top_k: Count = 2


class DetectorConfig(_Config):
    """A whole detector. ``classes`` are label names in the order of the head's outputs."""

    name: str = "custom"
    classes: tuple[str, ...]
    backbone: _Inputs = BackboneConfig()
    head: HeadConfig = HeadConfig()
    sampling: SamplingConfig = SamplingConfig()
    postprocess: PostprocessConfig = PostprocessConfig()

    @property
    def nms_on_grid(self) -> bool:
        """Whether NMS is done window by window, on the grid."""
        return self.postprocess.nms_on == "grid" and self.sampling.mode != "sliding"

    @property
    def inputs(self) -> int:
        """Channels of the features that the head sees."""
        return self.backbone.channels if isinstance(self.backbone, FeatureConfig) else self.backbone.width

    @property
    def block_count(self) -> int:
        """Droppable blocks of the uncompressed model: the backbone's, or the stem's where features come from outside."""
        return self.head.stem_layers if isinstance(self.backbone, FeatureConfig) else self.backbone.depth

    @property
    def compute_width(self) -> int:
        """Width of the matrices in which most of the time goes."""
        return self.head.width if isinstance(self.backbone, FeatureConfig) else self.backbone.width

    @classmethod
    def parse(cls, data: dict[str, Any], where: object) -> DetectorConfig:
        """Validate plain data; all problems are reported together in one :class:`UserError`."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            problems = problems_in(error, lambda place: ".".join(str(part) for part in place if part not in (_VIDEO, _FEATURES)))
            raise UserError(f"bad architecture: {'; '.join(problems)}", where=where, fix="Check the names and values") from error
