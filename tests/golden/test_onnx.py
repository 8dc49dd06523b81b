"""Every kind of model that loads, as an ONNX file: the same detections as torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tadshrink.compress.lora import merged_copy
from tadshrink.evaluation.detections import Detections
from tadshrink.evaluation.postprocess import Output, merge_videos, window_detections
from tadshrink.onnx_export.runtime import OnnxDetector
from tadshrink.onnx_export.settings import OnnxSettings
from tadshrink.onnx_export.writing import write_onnx
from tests.golden import compact, shared
from tests.golden.cases import Call, Case, Models

#: Detections of a video that are compared, and how far they may be apart: seconds and scores.
BEST, TIME, SCORE = 200, 1e-2, 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", [*compact.families(), *shared.families()])
def test_the_best_detections_are_those_of_torch(models: Models, name: str, tmp_path: Path) -> None:
    case, detector = models.case(name), merged_copy(models.detector(name, "ema"))
    window = detector.config.sampling.window
    calls = {key: call for key, call in case.calls.items() if call.places and call.masks.shape[-1] <= window}
    assert calls
    call = next(iter(calls.values()))
    write_onnx(detector, "0", tmp_path / "a.onnx", OnnxSettings(provider="cpu"), (call.inputs[:2], call.masks[:2]))
    exported = OnnxDetector.open(tmp_path / "a.onnx", "cpu")
    for key, call in calls.items():
        ours = _by_video(case, call, detector, models.output(name, key, "ema"))
        theirs = _by_video(case, call, detector, exported(call.inputs, call.masks))
        for video, expected in ours.items():
            assert_same(theirs[video].take(slice(2 * BEST)), expected.take(slice(BEST)))


def _by_video(case: Case, call: Call, detector: torch.nn.Module, output: Output) -> dict[str, Detections]:
    parts: dict[str, list[Detections]] = {}
    for place, found in zip(call.places, window_detections(output, call.places, detector.config, case.scores), strict=True):
        parts.setdefault(place.video, []).append(found)
    return dict(zip(parts, merge_videos(list(parts.values()), detector.config), strict=True))


def assert_same(found: Detections, expected: Detections) -> None:
    """Every expected detection has its own partner among those found."""
    near = found.labels[:, None] == expected.labels
    near &= np.abs(found.segments[:, None] - expected.segments).max(-1) <= TIME + 1e-5
    near &= np.abs(found.scores[:, None] - expected.scores) <= SCORE + 1e-6
    free = np.ones(len(found), dtype=bool)
    for index in range(len(expected)):
        places = np.flatnonzero(near[:, index] & free)
        assert len(places), f"no partner for detection {index}: {expected.segments[index]}, {expected.scores[index]}"
        free[places[0]] = False


def test_the_comparison_can_fail() -> None:
    one = Detections(np.array([[1.0, 2.0]]), np.array([0.5]), np.array([0]))
    assert_same(one, one)
    for other in (Detections([[1.0, 2.02]], [0.5], [0]), Detections([[1.0, 2.0]], [0.502], [0]), Detections([[1.0, 2.0]], [0.5], [1])):
        with pytest.raises(AssertionError, match="no partner"):
            assert_same(other, one)
