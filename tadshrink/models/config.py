"""What a detector is, as plain data: everything that is needed to build it again, and nothing about how it was trained."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tadshrink.errors import UserError


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BackboneConfig(_Config):
    """VideoMAE ViT run on short chunks of a clip (tubelets of 2 frames, square patches)."""

    width: int = 384
    depth: int = 12
    heads: int = 6
    mlp_ratio: int = 4
    patch_size: int = 16
    tubelet: int = 2
    chunk_frames: int = 16
    #: Side in pixels that the stored position table was made for; other sizes are interpolated.
    table_size: int = 224
    #: Factor on the first weights of each block's two output layers; matters only for training from scratch.
    branch_gain: float = 1.0
    #: Stochastic depth of the last block; grows linearly from 0 with the original block index.
    drop_path: float = 0.1


class HeadConfig(_Config):
    """ActionFormer: projection pyramid, per-level norms, shared classification and regression heads."""

    width: int = 512
    heads: int = 4
    embed_layers: int = 2
    stem_layers: int = 2
    levels: int = 6
    head_layers: int = 2
    mlp_ratio: int = 4
    #: Local attention window (odd, > 1), or 1 for global attention.
    attention_window: int = 1
    absolute_position: bool = False
    drop_path: float = 0.1
    input_dropout: float = 0.0
    prior_probability: float = 0.01
    #: (low, high) per level, in grid cells, on max(distance to start, distance to end); both ends inclusive.
    regression_ranges: tuple[tuple[float, float], ...] = ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000))
    center_radius: float = 1.5
    label_smoothing: float = 0.0
    regression_weight: float = 1.0


class SamplingConfig(_Config):
    """How frames become the model's input. One grid cell is ``snippet_stride`` frames of the video."""

    #: Grid cells per window (length of the head's finest level).
    window: int = 768
    #: Frames fed to the backbone per grid cell.
    frames_per_cell: int = 1
    #: Video frames per grid cell.
    snippet_stride: int = 4
    frame_size: int = 160
    #: Overlap of neighbouring windows in sliding-window inference.
    overlap: float = 0.5

    @property
    def frames(self) -> int:
        """Frames in one window as the backbone sees it."""
        return self.window * self.frames_per_cell


class PostprocessConfig(_Config):
    """From scores on the grid to a list of detections."""

    score_threshold: float = 0.001
    pre_nms_top_k: int = 2000
    nms_sigma: float = 0.7
    nms_min_score: float = 0.0
    max_detections: int = 2000


class DetectorConfig(_Config):
    """A whole detector. ``classes`` are label names in the order of the head's outputs."""

    name: str = "custom"
    classes: tuple[str, ...]
    backbone: BackboneConfig = BackboneConfig()
    head: HeadConfig = HeadConfig()
    sampling: SamplingConfig = SamplingConfig()
    postprocess: PostprocessConfig = PostprocessConfig()

    @classmethod
    def parse(cls, data: dict[str, Any], where: object) -> DetectorConfig:
        """Validate plain data; all problems are reported together in one :class:`UserError`."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise UserError(f"bad architecture: {describe(error)}", where=where, fix="Check the names and values") from error


def describe(error: ValidationError) -> str:
    """All problems that pydantic found, as one line: ``key: message; key: message``."""
    return "; ".join(f"{'.'.join(map(str, item['loc'])) or 'value'}: {item['msg']}" for item in error.errors())
