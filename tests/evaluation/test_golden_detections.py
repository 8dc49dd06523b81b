"""Logits and offsets that the reference programs computed, turned into detections, against the detections they made."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tadshrink.evaluation.candidates import decode
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.fusion import VideoScores, read_video_scores
from tadshrink.evaluation.postprocess import merge_videos, window_detections
from tadshrink.models.config import DetectorConfig, PostprocessConfig, SamplingConfig
from tadshrink.models.detector import DetectorOutput

STORED = np.load(Path(__file__).parent / "golden" / "detections.npz")
SHARED = Path(os.environ.get("TADSHRINK_SHARED", Path(__file__).parents[3] / "shared")) / "reference" / "golden"
FIELDS = ("segments", "scores", "labels")
STRIDES = [1, 2, 4, 8, 16, 32]

FEATURES = SamplingConfig(mode="whole", window=256, snippet_stride=4, offset_frames=8)
#: Family -> (sampling, post-processing).
FAMILIES: dict[str, tuple[SamplingConfig, PostprocessConfig]] = {
    "anet": (SamplingConfig(mode="resize", window=32),
             PostprocessConfig(nms_sigma=0.7, max_detections=100, nms_min_score=0.001, multiclass=False, voting_iou=0.9, nms_on="grid")),
    "opentad_features": (FEATURES, PostprocessConfig(nms_sigma=0.5, nms_min_score=0.001, nms_on="grid")),
    "actionformer": (FEATURES, PostprocessConfig(nms_sigma=0.5, nms_min_score=0.001, max_detections=200, top_k_per_level=True,
                                                 min_length=0.05, nms_on="grid", rounded=False, voting="actionformer")),
    "sliding": (SamplingConfig(mode="sliding", window=64), PostprocessConfig(nms_sigma=0.7)),
}


@dataclass
class Place:
    video: str
    start_frame: int
    fps: float
    duration: float


@dataclass
class Case:
    """One call of the head, and what became of it per video."""

    family: str
    output: DetectorOutput
    windows: list[Place]
    expected: dict[str, Detections]
    scores: VideoScores | None = None

    def config(self) -> DetectorConfig:
        sampling, postprocess = FAMILIES[self.family]
        classes = tuple(map(str, range(self.output.cls_logits[0].shape[-1])))
        return DetectorConfig(classes=classes, sampling=sampling, postprocess=postprocess)

    def detections(self) -> dict[str, Detections]:
        config, by_video = self.config(), {}
        for window, found in zip(self.windows, window_detections(self.output, self.windows, config, self.scores), strict=True):
            by_video.setdefault(window.video, []).append(found)
        return dict(zip(by_video, merge_videos(list(by_video.values()), config), strict=True))


def head_output(arrays: Mapping[str, Any], name: Callable[[str, int], str]) -> DetectorOutput:
    def levels(field: str) -> list[torch.Tensor]:
        return [torch.from_numpy(arrays[name(field, level)]) for level in range(len(STRIDES))]

    masks = [mask.flatten(1) for mask in levels("mask")]
    logits, offsets = ([level.transpose(1, 2) for level in levels(field)] for field in ("cls_logit", "reg_offset"))
    return DetectorOutput(torch.zeros(len(masks[0]), 1, masks[0].shape[1]), logits, offsets, masks, [], STRIDES)


def places(metas: list[dict]) -> list[Place]:
    return [Place(meta.get("video_name") or meta["video_id"], meta.get("window_start_frame", 0), meta["fps"], meta["duration"])
            for meta in metas]


def from_items(results: dict[str, list[dict]], classes: list[str]) -> dict[str, Detections]:
    return {video: Detections([item["segment"] for item in items], [item["score"] for item in items],
                              [classes.index(item["label"]) for item in items]) for video, items in results.items()}


def stored(family: str) -> Case:
    windows = places(json.loads(str(STORED[f"{family}/windows"])))
    expected = {window.video: Detections(*(STORED[f"{family}/final/{window.video}/{field}"] for field in FIELDS)) for window in windows}
    external = json.loads(str(STORED["anet/external"]))
    scores = VideoScores(tuple(external["class"]), {video: np.array(row) for video, row in external["results"].items()})
    output = head_output(STORED, lambda field, level: f"{family}/{field}/{level}")
    return Case(family, output, windows, expected, scores if family == "anet" else None)


def reference(family: str, folder: str, arrays: str, detections: str) -> Case:
    root = SHARED / folder
    case = json.loads((root / "case.json").read_text())
    results, data = json.loads((root / detections).read_text()), np.load(root / arrays)
    scores = read_video_scores(root / "external_cls.json") if family == "anet" else None
    classes = list(scores.classes) if scores else case["classes"]
    return Case(family, head_output(data, "{}_l{}".format), places(results.get("metas", case["metas"])),
                from_items(results["final"], classes), scores)


def reference_actionformer(folder: str, length: int) -> Case:
    meta = json.loads((SHARED / folder / "case.json").read_text())["metas"][f"len{length}"]
    data = np.load(SHARED / folder / f"infer_len{length}_ema.npz")
    expected = {f"len{length}": Detections(*(data[f"final_{field}"] for field in FIELDS))}
    return Case("actionformer", head_output(data, "{}_l{}".format), places([meta]), expected)


def compare(case: Case) -> None:
    """Same order where scores differ by more than 1e-6, times within 1e-2 s, scores within 1e-4."""
    found = case.detections()
    assert found.keys() == case.expected.keys()
    for video, expected in case.expected.items():
        ours = found[video]
        assert len(ours) == len(expected)
        np.testing.assert_allclose(ours.scores, expected.scores, rtol=0, atol=1e-4)
        key = np.round(expected.scores.astype(np.float64), 6)
        a, b = (part.take(np.lexsort((part.segments[:, 1].round(2), part.segments[:, 0].round(2), part.labels, place_of(key))))
                for part in (ours, expected))
        np.testing.assert_array_equal(a.labels, b.labels)
        np.testing.assert_allclose(a.segments, b.segments, rtol=0, atol=1e-2)


def place_of(scores: np.ndarray) -> np.ndarray:
    """Number of the run of equal scores that each place belongs to; within a run the order is free."""
    return np.cumsum(np.diff(scores, prepend=scores[:1]) != 0)


@pytest.mark.parametrize("family", ["anet", "opentad_features", "actionformer"])
def test_stored(family):
    compare(stored(family))


def test_stored_candidates_of_actionformer():
    case = stored("actionformer")
    output = case.output
    (found,) = decode(output.cls_logits, output.offsets, output.masks, output.strides, case.config().postprocess)
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(found, field), STORED[f"actionformer/candidates/{field}"])


SLIDING = ("01_adatad_adapter", "01b_adatad_adapter_partial", "01c_adatad_adapter_224", "02_adatad_fullft", "02b_adatad_frozen",
           "03_pbd_student", "04_pbd_uncompressed_lora", "04b_pbd_uncompressed_merged")
CASES: dict[str, Callable[[], Case]] = {
    **{name: lambda name=name: reference("sliding", name, "outputs_ema.npz", "detections_ema.json") for name in SLIDING},
    "01d_adatad_anet_resize": lambda: reference("anet", "01d_adatad_anet_resize", "outputs_ema.npz", "detections_ema.json"),
    "05_opentad_actionformer_i3d": lambda: reference("opentad_features", "05_opentad_actionformer_i3d", "outputs_ema.npz",
                                                     "detections_ema.json"),
    **{f"05_opentad_actionformer_i3d/{length}": lambda length=length: reference(
        "opentad_features", "05_opentad_actionformer_i3d", f"varlen_{length}.npz", f"varlen_{length}_detections.json")
       for length in (100, 256, 300, 515)},
    **{f"06_actionformer_original/{length}": lambda length=length: reference_actionformer("06_actionformer_original", length)
       for length in (100, 256, 300, 515)},
}


@pytest.mark.parametrize("name", CASES)
def test_reference(name):
    if not (SHARED / name.split("/")[0]).exists():
        pytest.skip("not among the reference data")
    compare(CASES[name]())
