"""What the released configurations of the code bases say that a checkpoint's tensors cannot, as tables of settings.

A preset states only what its configuration does; the rest comes from the defaults of the same kind of model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tadshrink.errors import check_known

#: THUMOS-14, in the order of the label numbers.
THUMOS_CLASSES = (
    "BaseballPitch", "BasketballDunk", "Billiards", "CleanAndJerk", "CliffDiving", "CricketBowling", "CricketShot", "Diving",
    "FrisbeeCatch", "GolfSwing", "HammerThrow", "HighJump", "JavelinThrow", "LongJump", "PoleVault", "Shotput", "SoccerPenalty",
    "TennisSwing", "ThrowDiscus", "VolleyballSpiking",
)  # fmt: skip

#: Sizes of VideoMAE: letter -> (width, blocks, heads). The heads of H and g are not the usual width / 64.
VIDEOMAE_SIZES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "H": (1280, 32, 16), "g": (1408, 40, 16)}


@dataclass(frozen=True)
class Preset:
    """One configuration.

    Attributes:
        settings: by the names of :class:`~tadshrink.checkpoint.foreign.settings.LoadSettings`.
        expects: sizes that the tensors must have, by the names of :class:`~tadshrink.checkpoint.foreign.shapes.Shapes`.
        caution: what the configuration has and this version does not follow.
    """

    settings: dict[str, Any]
    expects: dict[str, Any] = field(default_factory=dict)
    caution: str | None = None


#: End to end on THUMOS-14 (OpenTAD's AdaTAD, and its Progressive-Block-Drop fork).
ADATAD_THUMOS: dict[str, Any] = {
    "mode": "sliding", "window": 768, "frames_per_cell": 1, "snippet_stride": 4, "offset_frames": 0, "frame_size": 160, "clip_frames": 16,
    "overlap": 0.5, "head_heads": 4, "attention_window": 1, "absolute_position": False, "score_threshold": 0.001, "pre_nms_top_k": 2000,
    "nms": "gaussian", "nms_on": "seconds", "nms_sigma": 0.7, "nms_min_score": 0.0, "max_detections": 2000, "multiclass": True,
    "rounded": True, "loss_normalizer": 100,
}  # fmt: skip

#: The same on ActivityNet-1.3: one window per video, one class, scores of an external classifier.
ADATAD_ANET: dict[str, Any] = ADATAD_THUMOS | {
    "mode": "resize", "window": 192, "frames_per_cell": 4, "absolute_position": True, "nms_on": "grid", "nms_min_score": 0.001,
    "max_detections": 100, "multiclass": False, "voting_iou": 0.9, "voting": "opentad", "fusion": "product", "fusion_top_k": 2,
    "label_smoothing": 0.1, "regression_weight": 2, "loss_normalizer": 200,
}  # fmt: skip

#: OpenTAD's ActionFormer on I3D features of THUMOS-14. The features are centred on half of 16 frames.
OPENTAD_I3D: dict[str, Any] = {
    "mode": "whole", "window": 2304, "snippet_stride": 4, "offset_frames": 8, "head_heads": 4, "attention_window": 19,
    "absolute_position": False, "score_threshold": 0.001, "pre_nms_top_k": 2000, "nms": "gaussian", "nms_on": "grid", "nms_sigma": 0.5,
    "nms_min_score": 0.001, "max_detections": 2000, "multiclass": True, "rounded": True, "input_dropout": 0.2, "loss_normalizer": 100,
}  # fmt: skip

#: The original ActionFormer on the same features.
ACTIONFORMER_I3D: dict[str, Any] = OPENTAD_I3D | {
    "top_k_per_level": True, "min_length": 0.05, "max_detections": 200, "voting": "actionformer", "rounded": False, "input_dropout": 0,
}  # fmt: skip

#: What a frozen ViT changes in these two, by whether there is one class.
FROZEN: dict[bool, dict[str, Any]] = {
    False: {"nms_sigma": 0.5, "nms_min_score": 0.001, "input_dropout": 0.2},
    True: {"input_dropout": 0.2},
}  # fmt: skip
#: VideoMAE v2 has patches of 14 pixels; the released configuration feeds it 1536 frames of 224 pixels.
_GIANT = {"frames_per_cell": 2, "snippet_stride": 4, "frame_size": 224}
_PER_LEVEL = "the configuration attends globally at the coarsest level and within {} cells elsewhere; here all levels take {}"
_ACTIONFORMER_ANET: dict[str, Any] = ACTIONFORMER_I3D | {
    "snippet_stride": 16, "absolute_position": True, "max_detections": 100, "multiclass": False, "label_smoothing": 0.1,
}  # fmt: skip
_EPIC: dict[str, Any] = ACTIONFORMER_I3D | {
    "attention_window": 9, "snippet_stride": 16, "offset_frames": 16, "pre_nms_top_k": 5000, "nms_sigma": 0.4, "max_detections": 2000,
    "loss_normalizer": 250, "regression_ranges": ((0, 4), (2, 8), (4, 16), (8, 32), (16, 64), (32, 10000)),
}  # fmt: skip


def _video(size: str, base: dict[str, Any], head: int, **more: Any) -> Preset:
    width, depth, heads = VIDEOMAE_SIZES[size]
    return Preset(base | {"heads": heads, "depth": depth} | more, {"width": width, "head_width": head, "features": False})


def _features(base: dict[str, Any], channels: int, head: int, variant: str, caution: str | None = None, **more: Any) -> Preset:
    return Preset(base | more, {"channels": channels, "head_width": head, "features": True, "variant": variant}, caution)


PRESETS: dict[str, Preset] = {
    **{f"adatad-thumos-videomae-{size.lower()}": _video(size, ADATAD_THUMOS, 512, classes=THUMOS_CLASSES) for size in "SBLH"},
    "adatad-thumos-videomae-g": _video("g", ADATAD_THUMOS | _GIANT, 512, classes=THUMOS_CLASSES),
    **{f"adatad-anet-videomae-{size.lower()}": _video(size, ADATAD_ANET, 256) for size in "SBLH"},
    **{f"frozen-thumos-videomae-{size.lower()}": _video(size, ADATAD_THUMOS | FROZEN[False], 512, classes=THUMOS_CLASSES) for size in "SBLH"},
    **{f"pbd-thumos-videomae-{size.lower()}": _video(size, ADATAD_THUMOS, 512, classes=THUMOS_CLASSES) for size in "SL"},
    "opentad-actionformer-thumos-i3d": _features(OPENTAD_I3D, 2048, 512, "opentad", classes=THUMOS_CLASSES),
    "actionformer-thumos-i3d": _features(ACTIONFORMER_I3D, 2048, 512, "actionformer", classes=THUMOS_CLASSES),
    "actionformer-anet-i3d": _features(
        _ACTIONFORMER_ANET, 2048, 256, "actionformer", _PER_LEVEL.format(7, 7) + ", and features are resampled to 192 cells before",
        window=192, attention_window=7, nms_sigma=0.75, voting_iou=0.9, min_length=0.001, regression_weight=2, loss_normalizer=200,
    ),
    "actionformer-anet-tsp": _features(
        _ACTIONFORMER_ANET, 512, 256, "actionformer", _PER_LEVEL.format(25, 25),
        window=768, attention_window=25, nms_sigma=0.8, voting_iou=0.85, min_length=0.1, loss_normalizer=400,
    ),
    "actionformer-epic-verb": _features(_EPIC, 2304, 512, "actionformer"),
    "actionformer-epic-noun": _features(_EPIC, 2304, 512, "actionformer"),
}  # fmt: skip


def preset_named(name: str) -> Preset:
    """The preset of this name.

    Raises:
        UserError: there is none.
    """
    check_known("preset", name, PRESETS)
    return PRESETS[name]
